"""`run pool`: the pool as a file of judgements, and a table of what each run brings."""

from __future__ import annotations

from dataclasses import asdict

from ..core.errors import DataError, UsageError
from ..core.files import require_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..core.tables import markdown_table
from ..trec.pool import Pool, make_pool, run_names
from ..trec.qrels import read_qrels, write_qrels
from .command import PoolOptions


def run_pool(options: PoolOptions) -> None:
    """Writes the pool with its manifest, and prints the table."""
    runs = dict(zip(run_names(options.runs), options.runs, strict=True))
    if len(runs) < len(options.runs):
        raise UsageError("--runs: the same file twice")
    for path in options.runs:
        require_file(path, "run file")
    qrels = read_qrels(options.qrels) if options.qrels else None
    pool = make_pool(runs, options.depth, qrels, options.relevance_level)
    if qrels is not None and not qrels.keys() & pool.documents.keys():
        raise DataError(options.qrels, "judges no topic of the runs", remedy="are both of the same topics?")
    content = pool.qrels(qrels, holes_only=options.holes_only)
    write_qrels(options.output, content)
    write_manifest(
        options.output.with_name(options.output.name + ".json"),
        "pool",
        config=as_dict(options),
        inputs=[*options.runs, *([options.qrels] if options.qrels else [])],
        topics=len(pool.documents),
        pool=asdict(pool.total),
        runs={name: asdict(share) for name, share in pool.shares.items()},
    )
    print(pool_table(pool))
    sizes = [len(docids) for docids in pool.documents.values()]
    mean = sum(sizes) / len(sizes)
    print(f"\n{len(sizes)} topics, {mean:.1f} documents each (at least {min(sizes)}, at most {max(sizes)})")
    if pool.total.judged is not None:
        holes = pool.total.documents - pool.total.judged
        print(f"holes: {holes:,} of {pool.total.documents:,} are not judged ({_percent(holes, pool.total.documents)})")
    lines = sum(map(len, content.values()))
    note(f"{options.output}: {lines:,} documents for {len(content)} topics")


def pool_table(pool: Pool) -> str:
    """Markdown: a row per run, then the pool."""
    judged = pool.total.judged is not None
    header = ["run", "documents", "of the pool", "alone", *(["judged", "relevant", "relevant alone"] if judged else [])]
    rows = []
    for name, share in [*pool.shares.items(), ("pool", pool.total)]:
        part = _percent(share.documents, pool.total.documents)
        row = [name, f"{share.documents:,}", part, f"{share.alone:,}"]
        if share.judged is not None:
            row += [
                f"{share.judged:,} ({_percent(share.judged, share.documents)})",
                f"{share.relevant:,}",
                f"{share.relevant_alone:,}",
            ]
        rows.append(row)
    return markdown_table(header, rows)


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
