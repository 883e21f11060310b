"""Queries per second and latency of exact search: stock `pyserini.search.faiss` and ours, on one index.

Claim: ours answers at least 5 times as many queries per second as stock, and its run has the same documents except
within 1e-4 of the score of the last one. Measured at three depths, all in the same rounds:
  process     the whole command, start-up and files included, topics in and run out
  in-process  loaded before: encoding of the queries, search, hits as objects
  vectors     loaded and encoded before: search and hits alone
Stock runs at each of --stock-settings (BATCH:THREADS of its --batch-size and --threads; 1:1 are its defaults). The
exact search is held against its limits, which are measured in the same rounds too: the float32 product of all queries
with all vectors, and reading the index from memory once.

examples:
  python benchmarks/search.py --index wiki.index --topics ../shared/data/wiki-union/topics.test.squad.tsv
  python benchmarks/search.py --index wiki.index --topics topics.tsv --queries 200 --stock-settings 1:1 64:2 --hits 100
  python benchmarks/search.py --index wiki.index --topics topics.tsv --quick
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import search_arms
from common import Benchmark, claim, interleave, paired_ratio, show, spread
from facts import portable
from material import draw_topics
from processes import Finished, run_ours, run_stock
from worker import Worker

from pyserini_sdr.anserini.stock import faiss_search_command
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.core.files import require_directory, require_file
from pyserini_sdr.encode.flat import HEADER_BYTES
from pyserini_sdr.model.names import resolve_encoder
from pyserini_sdr.model.spec import read_spec
from pyserini_sdr.trec.run import read_run
from pyserini_sdr.trec.topics import read_topics

OURS = "ours"
LIMITS = "limits"
AIM = 5.0
FEW_HITS = 10


def main() -> None:
    benchmark = Benchmark("search", __doc__)
    add = benchmark.parser.add_argument
    add("--index", type=Path, required=True, metavar="DIR", help="flat index that tells its encoder")
    add("--topics", type=Path, required=True, metavar="FILE", help="topics that queries are drawn from")
    add("--encoder", help="default: the one that made the index")
    add("--queries", type=int, default=1000, help="drawn by the seed (default: 1000)")
    add("--hits", type=int, default=1000, help="documents per query (default: 1000, as stock's)")
    add(
        "--stock-settings",
        nargs="+",
        default=["1:1", "64:2", "256:2"],
        metavar="BATCH:THREADS",
        help="of stock (default: 1:1 64:2 256:2)",
    )
    add("--latency", type=int, default=200, metavar="N", help="single queries in a warm process (default: 200)")
    add("--cold", type=int, default=5, metavar="N", help="single queries in a process each (default: 5)")
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    settings = [parse_setting(text) for text in args.stock_settings]
    index = require_directory(args.index, "index directory")
    size = require_file(index / "index", "FAISS index").stat().st_size - HEADER_BYTES
    if args.quick:
        args.queries, args.latency, args.cold = min(args.queries, 20), 5, 1
    name = args.encoder or search_arms.encoder_of(index)
    if name is None:
        raise UsageError(f"--encoder: is required, {index} does not tell its encoder")
    encoder = resolve_encoder(name).directory
    spec = read_spec(encoder, {})
    folder = benchmark.folder
    topics = draw_topics(read_topics(args.topics), args.queries, args.seed, folder / "topics.tsv")
    first = dict([next(iter(topics.items()))])
    draw_topics(first, 1, args.seed, folder / "one.tsv")
    queries, vectors = list(topics.values()), str(folder / "queries.npy")

    def stock_process(batch: int, threads: int, topics: str = "topics.tsv", run: str = "stock.trec") -> Finished:
        command = faiss_search_command(
            index=index,
            topics=folder / topics,
            encoder=encoder,
            output=folder / run,
            pooling=spec.pooling,
            l2_norm=spec.normalize,
            query_prefix=spec.query_prefix,
            hits=args.hits,
            batch_size=batch,
            threads=threads,
        )
        return run_stock(command, folder / run)

    def our_process(topics: str = "topics.tsv", run: str = "ours.trec") -> Finished:
        flags = ("--index", index, "--topics", folder / topics, "--output", folder / run, "--hits", args.hits)
        return run_ours("search", "dense", *flags, "--device", "cpu", *(("--encoder", encoder) if args.encoder else ()))

    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker("search_arms:ours", index=str(index), encoder=args.encoder))
        stock = stack.enter_context(Worker("search_arms:stock", index=str(index), encoder=str(encoder)))
        count = size // 4 // spec.dimension
        limits = {"queries": args.queries, "vectors": count, "dimension": spec.dimension}
        rates = stack.enter_context(
            Worker("rates:search_rates", read_bytes=(1 << 26) if args.quick else (1 << 30), **limits)
        )
        ours("encode", queries, vectors)
        few = min(FEW_HITS, args.hits)
        for worker, kind in ((ours, (few,)), (stock, (few, 64, 2))):  # warm-up
            worker("topics", queries[:8], *kind)
            worker("vectors", vectors, *kind)
        arms: dict[str, Callable[[], Any]] = {
            "process ours": our_process,
            "in-process ours": lambda: ours("topics", queries, args.hits),
            "vectors ours": lambda: ours("vectors", vectors, args.hits),
            "few hits": lambda: ours("vectors", vectors, few),
            "one vector": lambda: ours("one_vector", vectors, few),
            LIMITS: rates,
        }
        for batch, threads in settings:
            label = setting_name(batch, threads)
            arms |= {
                f"process {label}": lambda b=batch, t=threads: stock_process(b, t),
                f"in-process {label}": lambda b=batch, t=threads: stock("topics", queries, args.hits, b, t),
                f"vectors {label}": lambda b=batch, t=threads: stock("vectors", vectors, args.hits, b, t),
            }
        timed = interleave(arms, args.rounds)
        cold = interleave(
            {
                "stock": lambda: stock_process(1, 1, "one.tsv", "stock.one.trec").seconds,
                OURS: lambda: our_process("one.tsv", "ours.one.trec").seconds,
            },
            args.cold,
        )
        some = (queries * (args.latency // len(queries) + 1))[: args.latency]
        warm = {OURS: ours("latency", some, args.hits), "stock": stock("latency", some, args.hits)}
    names = [setting_name(*setting) for setting in settings]
    depths = {depth: _depth(depth, timed, [OURS, *names], args.queries) for depth in DEPTHS}
    claims = [entry for depth in depths.values() for entry in depth.pop("claims")]
    found = search_arms.agreement(read_run(folder / "ours.trec"), read_run(folder / "stock.trec"))
    wrong = spread([found["violations"] + found["missing_topics"]])
    claims.append(claim("documents that differ beyond 1e-4 of the cut-off", wrong, 0, at_most=True, unit=""))
    kernel = _kernel(timed, count, spec.dimension, args.queries, size)
    latency = {
        "cold": {arm: search_arms.percentiles(values) for arm, values in cold.items()},
        "warm": {arm: search_arms.percentiles(values) for arm, values in warm.items()},
    }
    for what, by_arm in latency.items():
        for arm, values in by_arm.items():
            show(f"latency of one query, {what}, {arm}", values, f"s, p95 {values['p95']:.4g}")
    return {
        "index": {"name": portable(index), "vectors": count, "dimension": spec.dimension, "bytes": size},
        "queries": args.queries,
        "hits": args.hits,
        "stock_settings": names,
        "depths": depths,
        "agreement": found,
        "kernel": kernel,
        "latency": latency,
        "claims": claims,
    }


DEPTHS = ("process", "in-process", "vectors")


def _depth(depth: str, timed: dict[str, list[Any]], arms: list[str], queries: int) -> dict[str, Any]:
    """Queries per second of all arms at one depth, and ours over each of stock's."""
    seconds = {
        arm: [found.seconds if isinstance(found, Finished) else found for found in timed[f"{depth} {arm}"]]
        for arm in arms
    }
    records: dict[str, dict[str, Any]] = {}
    for arm, values in seconds.items():
        records[arm] = {"queries_per_second": spread([queries / value for value in values])}
        if depth == "process":
            records[arm]["peak_memory_bytes"] = max(found.peak_memory_bytes for found in timed[f"{depth} {arm}"])
        show(f"{depth}: {arm}, queries/s", records[arm]["queries_per_second"])
    aim = AIM if depth != "vectors" else None
    claims = [
        claim(f"{depth}: ours over {arm}", paired_ratio(seconds[arm], seconds[OURS]), aim)
        for arm in arms
        if arm != OURS
    ]
    return {"arms": records, "claims": claims}


def _kernel(timed: dict[str, list[Any]], count: int, dimension: int, queries: int, size: int) -> dict[str, Any]:
    """Exact search with few hits against what the machine allows: all queries at once, and one at a time."""
    product = [found["product"] for found in timed[LIMITS]]
    bandwidth = [found["bandwidth"] for found in timed[LIMITS]]
    by_product = [2 * queries * count * dimension / rate for rate in product]
    by_reading = [size / rate for rate in bandwidth]
    all_bound = [max(pair) for pair in zip(by_product, by_reading, strict=True)]
    one = [float(search_arms.percentiles(values)["median"]) for values in timed["one vector"]]
    result = {
        "product_rate": spread(product),
        "bandwidth": spread(bandwidth),
        "limit_of_all": "product" if by_product[0] > by_reading[0] else "bandwidth",
        "share_of_all": paired_ratio(all_bound, timed["few hits"]),
        "share_of_one": paired_ratio(by_reading, one),
        "seconds_of_all": spread(timed["few hits"]),
        "seconds_of_one": spread(one),
        "hits": FEW_HITS,
    }
    show(f"all queries at once, share of the {result['limit_of_all']} limit", result["share_of_all"])
    show("one query, share of the bandwidth limit", result["share_of_one"])
    return result


def parse_setting(text: str) -> tuple[int, int]:
    """`BATCH:THREADS` as numbers."""
    batch, colon, threads = text.partition(":")
    if not colon or not batch.isdigit() or not threads.isdigit() or int(batch) < 1 or int(threads) < 1:
        raise UsageError(f"--stock-settings {text}: expected BATCH:THREADS, as in 64:2")
    return int(batch), int(threads)


def setting_name(batch: int, threads: int) -> str:
    """How a setting of stock's is called in results."""
    return f"stock --batch-size {batch} --threads {threads}"


if __name__ == "__main__":
    main()
