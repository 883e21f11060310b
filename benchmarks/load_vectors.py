"""Memory and time of indexing and searching a million vectors, by type of index.

Claim: each command takes at most 4 GB, all its processes together. The vectors are made without a model, as means of
three vectors each of a flat index of real texts, and are as long as those (384 dimensions: 1.5 GB). Every type is built
by `index build` (its recall is measured here, with the topics), looked at with `index info`, checked with
`index verify`, and searched by `search dense`, imports and encoding of the queries included; recall is against the run
of the flat index. Each command runs once.

examples:
  python benchmarks/load_vectors.py --index indexes/wiki-union --topics ../shared/data/wiki-union/topics.test.nq.tsv
  python benchmarks/load_vectors.py --index wiki.index --topics topics.tsv --types sq8 hnsw --scratch /large/disk
  python benchmarks/load_vectors.py --index wiki.index --topics topics.tsv --quick
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from common import Benchmark
from facts import portable
from load_material import encoder_of, gather_topics, write_mixed_index
from load_stages import Stage, add_jobs, memory_claims, side_by_side, stage
from material import whole_numbers

from pyserini_sdr.core.errors import DataError, SdrError
from pyserini_sdr.trec.run import iter_run

FLAT = "flat"
DEPTHS = (10, 100)


def main() -> None:
    benchmark = Benchmark("load_vectors", __doc__)
    add = benchmark.parser.add_argument
    add("--index", type=Path, required=True, metavar="DIR", help="flat index that tells its encoder")
    add("--topics", type=Path, required=True, nargs="+", metavar="FILE", help="topics that queries are drawn from")
    add("--vectors", type=whole_numbers, default=1_000_000, metavar="N", help="default: 1M")
    add("--queries", type=whole_numbers, default=1000, metavar="N", help="default: 1k")
    add("--types", nargs="+", default=["hnsw", "ivf", "sq8", "ivf-pq"], metavar="TYPE", help="beside flat")
    add_jobs(benchmark.parser)
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args, folder = benchmark.args, benchmark.folder
    args.rounds = 1
    if args.quick:
        args.vectors, args.queries = min(args.vectors, 5_000), min(args.queries, 20)
    encoder = encoder_of(args.index)
    topics = gather_topics(args.topics, args.queries, args.seed, folder / "topics.tsv")
    made = write_mixed_index(folder / "made", args.index, args.vectors, args.seed)

    def measure(name: str) -> dict[str, Any]:
        index, run = folder / name, folder / f"{name}.trec"
        build = ("index", "build", "--input", made, "--output", index, "--type", name, "--eval-queries", 0)
        search = ("--topics", topics, "--hits", max(DEPTHS), "--encoder", encoder, "--output", run)
        stages = [
            stage(f"index build, {name}", args.vectors, *build),
            stage(f"index info, {name}", args.vectors, "index", "info", "--index", index),
            stage(f"index verify, {name}", args.vectors, "index", "verify", "--index", index),
            stage(f"search dense, {name}", args.vectors, "search", "dense", "--index", index, *search),
        ]
        size = (index / "index").stat().st_size
        shutil.rmtree(index)
        return {"stages": stages, "bytes": size}

    names = [FLAT, *(name for name in args.types if name != FLAT)]
    types = side_by_side(args.jobs, {name: partial(measure, name) for name in names})
    if FLAT not in types:
        raise SdrError("ended before exact search was finished, which tells the others' recall")
    for name, record in types.items():
        exact = folder / f"{FLAT}.trec"
        record["recall"] = {str(depth): recall(folder / f"{name}.trec", exact, depth) for depth in DEPTHS}
    every: list[Stage] = [one for record in types.values() for one in record["stages"]]
    return {
        "index": {"name": portable(args.index)},
        "vectors": args.vectors,
        "queries": args.queries,
        "hits": max(DEPTHS),
        "jobs": args.jobs,
        "missing": [name for name in names if name not in types],
        "types": types,
        "claims": memory_claims(every, "vectors"),
    }


def recall(run: Path, exact: Path, depth: int) -> float:
    """Mean share of the first `depth` documents of each topic of a run that another has among its first `depth`."""
    shares = []
    for (qid, found), (other, wanted) in zip(iter_run(run), iter_run(exact), strict=True):
        if qid != other:
            raise DataError(run, f"has topic {qid!r} where {exact} has {other!r}")
        best = {docid for docid, _ in wanted[:depth]}
        shares.append(len(best & {docid for docid, _ in found[:depth]}) / len(best))
    return sum(shares) / len(shares)


if __name__ == "__main__":
    main()
