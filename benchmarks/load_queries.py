"""Memory and time of 100,000 queries in one batch run: dense, BM25, hybrid, and the fusion of two such runs.

Claim: each command takes at most 4 GB, all its processes together, and at most 0.5 GB more for ten times as many
topics, because results are written as they are found. Topics are drawn from files (what they lack is made of halves of
two of them), 100 documents per topic. The dense index has 100,000 random unit vectors of 384 dimensions, and queries
are encoded by one layer with random weights, made on the spot; BM25's index is that of the collection, so the two runs
that are fused share no document. Every command runs once, as a process of its own, on a tenth of the topics and on all.
`search hybrid`, which does the work of both searches again, has its own number of topics.

examples:
  python benchmarks/load_queries.py --collection ../shared/data/wiki-union \\
    --topics ../shared/data/wiki-union/topics.*.tsv
  python benchmarks/load_queries.py --collection wiki --topics topics.tsv --vectors 1M --hits 1000
  python benchmarks/load_queries.py --collection wiki --topics topics.tsv --quick
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Benchmark
from facts import portable
from load_material import first_topics, gather_topics, write_vocabulary
from load_stages import Stage, add_jobs, memory_claims, planned, side_by_side, stage
from material import make_encoder, whole_numbers, write_random_index

from pyserini_sdr.anserini.bm25_index import MANIFEST
from pyserini_sdr.core.files import read_object

DIMENSION = 384


def main() -> None:
    benchmark = Benchmark("load_queries", __doc__)
    add = benchmark.parser.add_argument
    add("--collection", type=Path, required=True, metavar="PATH", help="collection or corpus, for BM25")
    add("--topics", type=Path, required=True, nargs="+", metavar="FILE", help="topics that queries are drawn from")
    add("--vectors", type=whole_numbers, default=100_000, metavar="N", help="of the dense index (default: 100k)")
    add("--queries", type=whole_numbers, default=100_000, metavar="N", help="default: 100k")
    add("--hybrid-queries", type=whole_numbers, default=100_000, metavar="N", help="of search hybrid (default: 100k)")
    add("--hits", type=int, default=100, help="documents per query (default: 100)")
    add("--bm25-hits", type=int, help="of search bm25 (default: as --hits)")
    add_jobs(benchmark.parser)
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args, folder = benchmark.args, benchmark.folder
    args.rounds = 1
    if args.quick:
        args.vectors, args.queries = min(args.vectors, 1000), min(args.queries, 100)
        args.hybrid_queries = min(args.hybrid_queries, 50)
    args.bm25_hits = args.bm25_hits or args.hits
    every = gather_topics(args.topics, max(args.queries, args.hybrid_queries), args.seed, folder / "all.tsv")
    vocabulary = write_vocabulary(every, folder / "vocabulary.txt")
    encoder = make_encoder(folder / "encoder", seed=args.seed, vocabulary=vocabulary, hidden_size=DIMENSION)
    made = write_random_index(folder / "dense", args.vectors, DIMENSION, args.seed)
    dense = ("--index", made, "--encoder", encoder, "--hits", args.hits)
    indexed = stage("index bm25", 1, "index", "bm25", "--input", args.collection, "--index", folder / "bm25")
    indexed["size"] = read_object(folder / "bm25" / MANIFEST)["documents"]
    searches: dict[str, Callable[[], Stage]] = {}
    fusions: dict[str, Callable[[], Stage]] = {}
    bm25 = ("search", "bm25", "--index", folder / "bm25", "--hits", args.bm25_hits)
    for count in sizes(args.queries):
        topics = ("--topics", first_topics(every, count, folder / f"topics{count}.tsv"))
        runs = [folder / f"{name}{count}.trec" for name in ("dense", "bm25", "fused")]
        searches |= planned("search dense", count, "search", "dense", *dense, *topics, "--output", runs[0])
        searches |= planned("search bm25", count, *bm25, *topics, "--output", runs[1])
        fusions |= planned("run fuse", count, "run", "fuse", "--runs", *runs[:2], "--output", runs[2])
    for count in sizes(args.hybrid_queries):
        topics = ("--topics", first_topics(every, count, folder / f"hybrid{count}.tsv"))
        both = (*dense, "--bm25-index", folder / "bm25", *topics, "--output", folder / f"hybrid{count}.trec")
        searches |= planned("search hybrid", count, "search", "hybrid", *both)
    found = side_by_side(args.jobs, searches)
    if len(found) == len(searches):
        found |= side_by_side(args.jobs, fusions)
    stages = [indexed, *found.values()]
    return {
        "dimension": DIMENSION,
        "vectors": args.vectors,
        "collection": portable(args.collection),
        "queries": args.queries,
        "hybrid_queries": args.hybrid_queries,
        "hits": args.hits,
        "bm25_hits": args.bm25_hits,
        "jobs": args.jobs,
        "missing": [name for name in searches | fusions if name not in found],
        "stages": stages,
        "claims": memory_claims(stages, "topics"),
    }


def sizes(count: int) -> list[int]:
    """A tenth, and all."""
    return [max(count // 10, 1), count]


if __name__ == "__main__":
    main()
