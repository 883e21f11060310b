"""What each type of index costs and gives: build time and memory, size, recall, queries per second.

Claim: none of a number; the table shows what is paid for what. Every type of `index build --type` is built with its
default settings from one flat index, then all are searched in turn, each by a process that has it loaded. Recall@k is
the share of the k best documents of exact search that are among the k found.

examples:
  python benchmarks/index_types.py --index wiki.index --topics ../shared/data/wiki-union/topics.test.squad.tsv
  python benchmarks/index_types.py --index wiki.index --topics topics.tsv --types flat hnsw sq8 --hits 100
  python benchmarks/index_types.py --index wiki.index --topics topics.tsv --quick
"""

from __future__ import annotations

import contextlib
import typing
from pathlib import Path
from typing import Any

import search_arms
from common import Benchmark, interleave, paired_ratio, show, spread
from facts import portable
from material import draw_topics
from processes import Finished, run_ours
from worker import Worker

from pyserini_sdr.core.errors import SdrError, UsageError, unknown
from pyserini_sdr.core.files import require_directory
from pyserini_sdr.core.progress import warn
from pyserini_sdr.index.options import BuildOptions
from pyserini_sdr.trec.topics import read_topics

FLAT = "flat"
DEPTHS = (10, 100)
INDEX_FILES = ("index", "docid")


def types() -> list[str]:
    """The types that `index build --type` knows, exact search first."""
    names = list(typing.get_args(typing.get_type_hints(BuildOptions)["type"]))
    return [FLAT, *(name for name in names if name != FLAT)]


def main() -> None:
    benchmark = Benchmark("index_types", __doc__)
    add = benchmark.parser.add_argument
    add("--index", type=Path, required=True, metavar="DIR", help="flat index that tells its encoder")
    add("--topics", type=Path, required=True, metavar="FILE", help="topics that queries are drawn from")
    add("--queries", type=int, default=1000, help="drawn by the seed (default: 1000)")
    add("--hits", type=int, default=100, help="documents per query (default: 100)")
    add("--types", nargs="+", default=types(), metavar="TYPE", help=f"default: {' '.join(types())}")
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    source, folder = require_directory(args.index, "index directory"), benchmark.folder
    for name in args.types:
        if name not in types():
            raise UsageError(f"--types: {unknown('type of index', name, types())}")
    if args.hits < max(DEPTHS):
        raise UsageError(f"--hits {args.hits}: recall is measured at {max(DEPTHS)}")
    if args.quick:
        args.queries = min(args.queries, 50)
    names = [FLAT, *(name for name in args.types if name != FLAT)]
    queries = draw_topics(read_topics(args.topics), args.queries, args.seed, folder / "topics.tsv")
    vectors = str(folder / "queries.npy")

    def build(name: str) -> Finished:
        flags = ("--input", source, "--output", folder / name, "--type", name, "--seed", args.seed)
        return run_ours("index", "build", *flags, "--eval-queries", 0)  # measured here, the same for all

    built: dict[str, Finished] = {}
    refused: dict[str, str] = {}
    for name in names:
        try:
            built |= {key: value for key, (value,) in interleave({name: lambda name=name: build(name)}, 1).items()}
        except SdrError as error:  # a type that these vectors do not allow; the others are measured all the same
            if name == FLAT:
                raise
            warn(f"{name}: not built: {error}")
            refused[name] = str(error)
    names = list(built)
    with contextlib.ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker("search_arms:ours", index=str(folder / name), encoder=None))
            for name in names
        }
        workers[FLAT]("encode", list(queries.values()), vectors)
        found = {name: worker("rankings", vectors, max(DEPTHS)) for name, worker in workers.items()}  # and warm-up
        arms = {name: (lambda worker=worker: worker("vectors", vectors, args.hits)) for name, worker in workers.items()}
        seconds = interleave(arms, args.rounds)
        memory = {name: worker.peak_memory_bytes() for name, worker in workers.items()}
    records: dict[str, dict[str, Any]] = {}
    for name in names:
        records[name] = {
            "build_seconds": built[name].seconds,
            "build_peak_memory_bytes": built[name].peak_memory_bytes,
            "bytes": sum(
                (folder / name / file).stat().st_size for file in INDEX_FILES if (folder / name / file).exists()
            ),
            "search_peak_memory_bytes": memory[name],
            "recall": {str(depth): search_arms.recall(found[name], found[FLAT], depth) for depth in DEPTHS},
            "queries_per_second": spread([args.queries / value for value in seconds[name]]),
            "over_flat": paired_ratio(seconds[FLAT], seconds[name]),
        }
        shown = " ".join(f"recall@{depth} {value:.4f}" for depth, value in records[name]["recall"].items())
        size = records[name]["bytes"] / 1e6
        show(name, records[name]["queries_per_second"], f"queries/s  {shown}  {size:.1f} MB")
    return {
        "index": {"name": portable(source)},
        "queries": args.queries,
        "hits": args.hits,
        "types": records,
        "not_built": refused,
        "claims": [],
    }


if __name__ == "__main__":
    main()
