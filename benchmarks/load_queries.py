"""Memory and time of 100,000 queries in one batch run: dense, BM25, hybrid, and the fusion of two such runs.

Claim: each command takes at most 4 GB, all its processes together, and at most 0.5 GB more for ten times as many
topics, because results are written as they are found. Topics are drawn from files (what they lack is made of halves of
two of them), 100 documents per topic. The dense index has 100,000 vectors, means of three vectors each of a flat index
of real texts; BM25's is that of the collection, so the two runs that are fused share no document. Every command runs
once, as a process of its own, on a tenth of the topics and on all. `search hybrid`, which does the work of both
searches again, has its own number of topics.

examples:
  python benchmarks/load_queries.py --index indexes/wiki-union --collection ../shared/data/wiki-union \\
    --topics ../shared/data/wiki-union/topics.*.tsv
  python benchmarks/load_queries.py --index wiki.index --collection wiki --topics topics.tsv --hits 1000
  python benchmarks/load_queries.py --index wiki.index --collection wiki --topics topics.tsv --quick
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import Benchmark
from facts import portable
from load_material import encoder_of, first_topics, gather_topics, write_mixed_index
from load_stages import Stage, memory_claims, stage
from material import whole_numbers

from pyserini_sdr.anserini.bm25_index import MANIFEST
from pyserini_sdr.core.files import read_object


def main() -> None:
    benchmark = Benchmark("load_queries", __doc__)
    add = benchmark.parser.add_argument
    add("--index", type=Path, required=True, metavar="DIR", help="flat index that tells its encoder")
    add("--collection", type=Path, required=True, metavar="PATH", help="collection or corpus, for BM25")
    add("--topics", type=Path, required=True, nargs="+", metavar="FILE", help="topics that queries are drawn from")
    add("--vectors", type=whole_numbers, default=100_000, metavar="N", help="of the dense index (default: 100k)")
    add("--queries", type=whole_numbers, default=100_000, metavar="N", help="default: 100k")
    add("--hybrid-queries", type=whole_numbers, default=100_000, metavar="N", help="of search hybrid (default: 100k)")
    add("--hits", type=int, default=100, help="documents per query (default: 100)")
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args, folder = benchmark.args, benchmark.folder
    args.rounds = 1
    if args.quick:
        args.vectors, args.queries = min(args.vectors, 1000), min(args.queries, 100)
        args.hybrid_queries = min(args.hybrid_queries, 50)
    made = write_mixed_index(folder / "dense", args.index, args.vectors, args.seed)
    dense = ("--index", made, "--encoder", encoder_of(args.index))
    every = gather_topics(args.topics, max(args.queries, args.hybrid_queries), args.seed, folder / "all.tsv")
    indexed = stage("index bm25", 1, "index", "bm25", "--input", args.collection, "--index", folder / "bm25")
    stages = [indexed | {"size": read_object(folder / "bm25" / MANIFEST)["documents"]}]
    for count in sizes(args.queries):
        topics = first_topics(every, count, folder / f"topics{count}.tsv")
        stages += searches(folder, dense, topics, count, args.hits)
    for count in sizes(args.hybrid_queries):
        topics = first_topics(every, count, folder / f"topics{count}.tsv")
        both = (*dense, "--bm25-index", folder / "bm25", "--topics", topics, "--hits", args.hits)
        stages.append(stage("search hybrid", count, "search", "hybrid", *both, "--output", folder / "hybrid.trec"))
    return {
        "index": {"name": portable(args.index)},
        "vectors": args.vectors,
        "collection": portable(args.collection),
        "queries": args.queries,
        "hybrid_queries": args.hybrid_queries,
        "hits": args.hits,
        "stages": stages,
        "claims": memory_claims(stages, "topics"),
    }


def sizes(count: int) -> list[int]:
    """A tenth, and all."""
    return [max(count // 10, 1), count]


def searches(folder: Path, dense: Sequence[object], topics: Path, count: int, hits: int) -> list[Stage]:
    """Both searches, and their fusion; `dense` tells index and encoder."""
    runs = folder / "dense.trec", folder / "bm25.trec"
    wanted = ("--topics", topics, "--hits", hits)
    return [
        stage("search dense", count, "search", "dense", *dense, *wanted, "--output", runs[0]),
        stage("search bm25", count, "search", "bm25", "--index", folder / "bm25", *wanted, "--output", runs[1]),
        stage("run fuse", count, "run", "fuse", "--runs", *runs, "--output", folder / "fused.trec"),
    ]


if __name__ == "__main__":
    main()
