"""The work of `mine`: rankings in, training groups out, streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note, warn
from ..data.collection import Collection
from ..data.group import Group
from ..data.groups import write_groups
from ..data.sampling import sample_positions
from ..data.store import DocumentStore
from ..encode.engine import MANIFEST, encode_corpus, load_encoder
from ..encode.options import EncodeOptions, EncoderOptions, InputOptions, OutputOptions
from ..model.encoder import BiEncoder
from ..model.names import resolve_encoder
from ..model.spec import is_raw_backbone
from ..search.searcher import Searcher
from .dark import Darkener
from .filters import Filters
from .options import MineOptions
from .pools import Pool, from_groups, merge
from .ranks import RankFilter
from .sampling import draw
from .sources import open_sources

_LISTED = 100
"""Queries with too few negatives that a manifest names."""


def mine(options: MineOptions) -> None:
    """Writes training groups and their manifest."""
    if options.output.exists() and not options.overwrite:
        raise DataError(options.output, "already exists", remedy="give another file or --overwrite")
    collection = Collection.open(options.collection)
    if options.groups is None:
        mine_with(options, collection, None)
        return
    known: dict[str, set[str]] = {}
    if collection.has_pairs(options.split):
        known = known_positives(collection, options.split, training_positives(collection, options.split)[0])
    _write(options, from_groups(options), None, known, collection, None)


def mine_with(
    options: MineOptions, collection: Collection, searcher: Searcher | None, texts: DocumentStore | None = None
) -> None:
    """`mine` of runs and indexes, with what a caller has open already.

    Args:
        searcher: of `options.index`; None opens it.
        texts: store of the collection's corpus; None opens it where it is needed.
    """
    positives, topics = training_positives(collection, options.split, options.max_queries, options.seed)
    known = known_positives(collection, options.split, positives)
    if options.index is not None and searcher is None:
        searcher = _open_searcher(options, collection)
    with ExitStack() as stack:
        sources = open_sources(options, topics, positives, searcher, stack)
        pools = merge(sources, topics, positives, options)
        _write(options, pools, len(topics), known, collection, texts)


def training_positives(
    collection: Collection, split: str, max_queries: int | None = None, seed: int = 0
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Query id → positives, and query id → text, of a training split (a random part of its queries if wanted)."""
    positives: dict[str, list[str]] = {}
    for qid, docid in collection.pairs(split):
        positives.setdefault(qid, []).append(docid)
    topics = collection.topics(split)
    lacking = next((qid for qid in positives if qid not in topics), None)
    if lacking is not None:
        raise DataError(collection.topics_path(split), f"lacks the query {lacking!r} of a training pair")
    if max_queries is not None and max_queries < len(positives):
        qids = list(positives)
        chosen = sample_positions(len(qids), max_queries, np.random.default_rng(seed))
        positives = {qids[i]: positives[qids[i]] for i in chosen}
    return positives, {qid: topics[qid] for qid in positives}


def known_positives(collection: Collection, split: str, positives: Mapping[str, Sequence[str]]) -> dict[str, set[str]]:
    """Query id → every document that pairs or the split's qrels call relevant."""
    known = {qid: set(docids) for qid, docids in positives.items()}
    if (collection.path / f"qrels.{split}.txt").exists():
        for qid, grades in collection.qrels(split).items():
            if qid in known:
                known[qid].update(docid for docid, grade in grades.items() if grade > 0)
    return known


def ensure_index(corpus: Path, index: Path, encoder: EncoderOptions) -> None:
    """Encodes a corpus into an index directory, unless a finished index is there."""
    if (index / MANIFEST).exists():
        return
    options = EncodeOptions(InputOptions(corpus=corpus), OutputOptions(embeddings=index, to_faiss=True), encoder)
    encode_corpus(load_encoder(options), options)


def _open_searcher(options: MineOptions, collection: Collection) -> Searcher:
    assert options.index is not None
    if options.encoder:
        if not (options.index / MANIFEST).exists():
            _refuse_raw(options.encoder)
        encoder = EncoderOptions(encoder=options.encoder, device=options.device, max_length=options.max_length)
        ensure_index(collection.corpus, options.index, encoder)
    overrides = {
        "query_prefix": options.query_prefix,
        "query_max_length": options.query_max_length,
        "document_max_length": options.max_length,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    searcher = Searcher(options.index, options.encoder, device=options.device, **given)
    if isinstance(searcher.encoder, BiEncoder):
        searcher.encoder.query_dtype = searcher.encoder.document_dtype
    return searcher


def _refuse_raw(name: str) -> None:
    """Raises a `UsageError` if an encoder does not tell how it pools: there is no flag for that here."""
    directory = resolve_encoder(name).directory
    if is_raw_backbone(directory):
        raise UsageError(
            f"--encoder {name}: {directory} tells no pooling and similarity; encode the corpus into --index with "
            "python -m pyserini_sdr.encode, which has --pooling and --l2-norm, and leave --encoder out"
        )


def _write(
    options: MineOptions,
    pools: Iterable[Pool],
    total: int | None,
    known: Mapping[str, set[str]],
    collection: Collection,
    texts: DocumentStore | None,
) -> None:
    """Filters, draws, writes the groups and their manifest, and tells what came of it."""
    kept: dict[str, int] = {}
    dark = Darkener.of(options)
    if dark is not None and texts is None:
        texts = DocumentStore(collection.corpus)
    filters = Filters(options, known, collection.corpus, texts)
    ranks = RankFilter(options.teacher_ranks, options.source_rank, options.output)
    filtered = filters.apply(ranks.apply(bar(pools, total=total, unit="query", desc="mine")))
    drawn = _drawn(filtered, options, kept)
    if dark is not None:
        assert texts is not None
        drawn = dark.apply(drawn, texts)
    short: dict[str, int] = {}

    def record(count: int) -> None:
        short.update((qid, number) for qid, number in kept.items() if number < options.negatives)
        facts: dict[str, Any] = {
            "groups": count,
            "queries": len(kept),
            "without_negatives": len(kept) - count,
            **({"queries_read": ranks.read, "positive_ranks": ranks.facts()} if ranks.found else {}),
            "dropped": dict(filters.dropped),
            "unscored_positives": dict(filters.unscored),
            "negatives_per_query": {str(n): times for n, times in sorted(Counter(kept.values()).items())},
            "short": {"queries": len(short), "first": dict(list(short.items())[:_LISTED])},
            **({"dark": dark.facts()} if dark is not None else {}),
        }
        inputs = [*(options.runs or ()), *([options.groups] if options.groups else [])]
        path = options.output.with_name(options.output.name + ".json")
        write_manifest(path, "groups", config=as_dict(options), inputs=inputs, **facts)

    count = write_groups(options.output, drawn, record)
    if ranks.found:
        note(f"queries kept by the rank of their best positive: {ranks.kept:,} of {ranks.read:,} ({ranks.summary()})")
    if dark is not None:
        note(dark.summary())
    _tell(options, filters, count, len(kept), short)


def _drawn(pools: Iterable[Pool], options: MineOptions, kept: dict[str, int]) -> Iterator[Group]:
    """Yields the group of every query that has a negative; `kept` gets the number of all.

    Raises:
        DataError: no query has one.
    """
    for pool in pools:
        chosen = draw(pool, options)
        kept[pool.query_id] = len(chosen)
        if chosen:
            yield pool.group(chosen)
    if not any(kept.values()):
        raise DataError(
            options.output,
            f"not written: none of {len(kept)} queries has a negative",
            remedy="widen the window (--last-rank) or loosen the filters",
        )


def _tell(options: MineOptions, filters: Filters, count: int, queries: int, short: Mapping[str, int]) -> None:
    note(f"{options.output}: {count:,} groups of {queries:,} queries")
    dropped = {name: number for name, number in filters.dropped.items() if number}
    if dropped:
        note("dropped: " + ", ".join(f"{number:,} by {name.replace('_', ' ')}" for name, number in dropped.items()))
    for kind, number in filters.unscored.items():
        note(f"queries without a {kind} score of a positive: {number:,} ({_instead(options, kind)})")
    if filters.unjudged:
        warn(f"documents without a score of {options.teacher_scores!r}, which were kept: {filters.unjudged:,}")
    if short:
        first = ", ".join([*(f"{qid} {number}" for qid, number in list(short.items())[:3]), *["…"][: len(short) > 3]])
        note(f"queries with fewer than {options.negatives} negatives: {len(short):,} ({first})")


def _instead(options: MineOptions, kind: str) -> str:
    """What becomes of queries whose positives have no score of a kind."""
    if options.unscored_positive == "drop":
        return "dropped"
    filtered = ["not filtered by it"] if kind == "teacher" or options.by_margin else []
    drawn = ["the best candidate stands for it"] if kind == "source" and options.sampling == "simans" else []
    return "; ".join(filtered + drawn)
