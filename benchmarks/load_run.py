"""Memory and time of evaluating, checking and fusing a run of 20 million lines.

Claim: each command takes at most 4 GB, all its processes together, and at most 0.5 GB more for ten times as many
topics, because runs are read topic by topic. Synthetic runs: 20,000 topics of 1,000 documents each, two runs that share
about half of a topic's documents, 10 documents judged per topic. Every command runs once, as a process of its own, on a
tenth of the topics and on all; about 8 GB of disk are needed.

examples:
  python benchmarks/load_run.py
  python benchmarks/load_run.py --topics 100k --scratch /large/disk
  python benchmarks/load_run.py --quick
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Benchmark
from load_material import write_runs
from load_stages import Stage, add_jobs, memory_claims, planned, side_by_side
from material import whole_numbers

METRICS = ("ndcg_cut_10", "map", "recall_100", "recip_rank", "P_10")


def main() -> None:
    benchmark = Benchmark("load_run", __doc__)
    add = benchmark.parser.add_argument
    add("--topics", type=whole_numbers, default=20_000, metavar="N", help="default: 20k")
    add("--depth", type=whole_numbers, default=1000, metavar="N", help="documents per topic (default: 1000)")
    add_jobs(benchmark.parser)
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    args.rounds = 1
    if args.quick:
        args.topics, args.depth = 100, 50
    calls: dict[str, Callable[[], Stage]] = {}
    for topics in (max(args.topics // 10, 1), args.topics):
        folder = benchmark.folder / str(topics)
        runs = [folder / f"{name}.trec" for name in ("first", "second")]
        write_runs(runs, folder / "qrels.txt", topics, args.depth, args.seed)
        calls |= commands(folder, runs, topics)
    found = side_by_side(args.jobs, calls)
    stages = list(found.values())
    return {
        "topics": args.topics,
        "depth": args.depth,
        "lines": args.topics * args.depth,
        "bytes": runs[0].stat().st_size,
        "metrics": METRICS,
        "jobs": args.jobs,
        "missing": [name for name in calls if name not in found],
        "stages": stages,
        "claims": memory_claims(stages, "topics"),
    }


def commands(folder: Path, runs: list[Path], topics: int) -> dict[str, Callable[[], Stage]]:
    """Every command once."""
    judged = ("evaluate", "--qrels", folder / "qrels.txt", "--runs", runs[0], "--metrics", *METRICS)
    return {
        **planned("evaluate", topics, *judged),
        **planned("evaluate --per-query", topics, *judged, "--per-query", "--format", "csv"),
        **planned("run check", topics, "run", "check", "--run", runs[0]),
        **planned("run fuse", topics, "run", "fuse", "--runs", *runs, "--output", folder / "fused.trec"),
    }


if __name__ == "__main__":
    main()
