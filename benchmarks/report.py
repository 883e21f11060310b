"""Makes docs/performance.md and its figures from the files in benchmarks/results, and from nothing else.

examples:
  python benchmarks/report.py
  python benchmarks/report.py --results trial --output trial/performance.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import report_load as load
import report_sections as sections
from common import RESULTS
from facts import ROOT, portable
from report_text import circumstances, claims_table, ranged, table

from pyserini_sdr.core.errors import DataError, SdrError
from pyserini_sdr.core.files import atomic_file, read_object, require_directory
from pyserini_sdr.core.progress import note

Section = Callable[[Mapping[str, Any], sections.Figures], str]

SECTIONS: dict[str, tuple[str, Section]] = {
    "encode_cpu": ("Encoding on a CPU", sections.encode_cpu),
    "encode_gpu": ("Encoding on a GPU", sections.encode_gpu),
    "memory_growth": ("Memory while encoding", sections.memory_growth),
    "search": ("Exact search", sections.search),
    "index_types": ("Types of index", sections.index_types),
    "training_step": ("A training step", sections.training_step),
    "growth": ("How cost grows", sections.growth),
    "load_vectors": ("Load: a million vectors", load.load_vectors),
    "load_queries": ("Load: 100,000 queries in one run", load.load_queries),
    "load_run": ("Load: a run of 20 million lines", load.load_run),
}

HEAD = """# Performance

Made by `python benchmarks/report.py` from the files in `benchmarks/results/`; do not edit it. Each section comes from
one run of one script, in which the arms took turns (A B C A B C …). Ratios are taken round by round; given are their
median and, in brackets, the least and the greatest. Memory is peak resident memory of a process. Numbers hold for the
machine that is named with them.
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/report.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: benchmarks/results")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "docs" / "performance.md", help="default: docs/performance.md"
    )
    args = parser.parse_args()
    try:
        write_report(args.results, args.output)
    except SdrError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


def write_report(results: Path, output: Path) -> None:
    """Writes the page, and its figures into `figures/` beside it.

    Raises:
        DataError: no results, or a file that is none.
    """
    found = {}
    for name in SECTIONS:
        path = require_directory(results, "directory of results") / f"{name}.json"
        if path.exists():
            found[name] = read_object(path)
    if not found:
        raise DataError(results, "holds no results", remedy="run the scripts in benchmarks/ first")
    figures = sections.Figures(output.parent / "figures")
    parts: list[str] = []
    aims: list[list[str]] = []
    for name, (title, section) in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        if name not in found:
            why = " No GPU was at hand." if name == "encode_gpu" else ""
            parts.append(f"Not measured yet: `python benchmarks/{name}.py --help`.{why}\n")
            continue
        result = found[name]
        if result.get("quick"):
            parts.append("**A trial (`--quick`), no measurement.**\n")
        try:
            aims += _aims(title, result)
            parts += [section(result, figures), claims_table(claims) if (claims := result.get("claims")) else ""]
            parts.append(f"How: {circumstances(result)}")
        except (KeyError, TypeError, IndexError) as error:
            path = results / f"{name}.json"
            raise DataError(path, f"is no result of {name}.py ({error!r})", remedy=f"run {name}.py again") from error
    summary = table(["aim", "median [least, greatest]", "wanted", "reached"], aims) if aims else ""
    with atomic_file(output) as page:
        page.write("\n".join(part.rstrip("\n") + "\n" for part in (HEAD, summary, *parts) if part))
    note(f"written: {portable(output)}, {len(figures.names)} figures")


def _aims(title: str, result: Mapping[str, Any]) -> list[list[str]]:
    """Rows for what has an aim in a result."""
    trial = " (a trial)" if result.get("quick") else ""
    return [
        [
            f"{title}{': ' + group if group else ''}: {claim['what']}{trial}",
            f"{ranged(claim['value'])} {claim['unit']}".rstrip(),
            f"{'≤' if claim['at_most'] else '≥'} {claim['aim']:g} {claim['unit']}".rstrip(),
            "yes" if claim["reached"] else "**no**",
        ]
        for group, claims in _all_claims(result)
        for claim in claims
        if claim["aim"] is not None
    ]


def _all_claims(result: Mapping[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Claims of a result by group (a corpus, a size of encoder; empty for the whole)."""
    groups = [(str(group.get("corpus", group.get("size"))), group["claims"]) for group in result.get("groups", ())]
    return [*groups, ("", result.get("claims", []))]


if __name__ == "__main__":
    main()
