"""How cost grows: encoding with the number of documents, exact search with the number of vectors.

Claim: both grow in proportion, and encoding's memory does not. Encoding: `python -m pyserini_sdr.encode` on synthetic
documents of 4 to 12 words, with an encoder of one layer made on the spot, a process of its own each. Search: 100
queries over a flat index of random unit vectors of 384 dimensions, 100 hits, in a process that has it loaded; beside
it FAISS's own search of the same file.

examples:
  python benchmarks/growth.py
  python benchmarks/growth.py --documents 10k 100k --vectors 10k 100k 1M 4M --scratch /fast/disk
  python benchmarks/growth.py --quick
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from common import Benchmark, claim, interleave, paired_ratio, show, spread
from material import in_words, make_encoder, unit_vectors, whole_numbers, write_random_index, write_synthetic_corpus
from memory_growth import encode_ours
from worker import Worker

DIMENSION = 384
SIZES = [10_000, 100_000, 1_000_000]


def main() -> None:
    benchmark = Benchmark("growth", __doc__)
    sizes = {"nargs": "+", "type": whole_numbers, "default": SIZES, "metavar": "N"}
    add = benchmark.parser.add_argument
    add("--documents", help="default: 10k 100k 1M", **sizes)
    add("--vectors", help="default: 10k 100k 1M", **sizes)
    add("--queries", type=int, default=100, help="default: 100")
    add("--hits", type=int, default=100, help="default: 100")
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    if args.quick:
        args.documents, args.vectors = [500, 1_000], [1_000, 2_000]
    encoding, searching = _encoding(benchmark), _searching(benchmark)
    return {
        "encoding": encoding,
        "searching": searching,
        "dimension": DIMENSION,
        "queries": args.queries,
        "hits": args.hits,
        "claims": [
            _growth("encoding, seconds per document", encoding, "documents"),
            _growth("search, seconds per vector", searching, "vectors"),
        ],
    }


def _growth(what: str, points: list[dict[str, Any]], size: str) -> dict[str, Any]:
    """Seconds per item at the largest size over that at the one before: 1 is growth in proportion, below it is less."""
    if len(points) < 2:
        return claim(what, spread([1.0]))
    before, last = ([value / point[size] for value in point["seconds"]["values"]] for point in points[-2:])
    text = f"{what}, at {in_words(points[-1][size])} over at {in_words(points[-2][size])}"
    return claim(text, paired_ratio(last, before))


def _encoding(benchmark: Benchmark) -> list[dict[str, Any]]:
    args, folder = benchmark.args, benchmark.folder
    encoder = make_encoder(folder / "encoder", seed=args.seed)
    sizes = sorted(set(args.documents))
    corpora = {n: write_synthetic_corpus(folder / f"documents{n}.jsonl", n, args.seed) for n in sizes}

    def encode(corpus: Path) -> Any:
        run = encode_ours(corpus, encoder, folder / "encoded")
        shutil.rmtree(folder / "encoded")
        return run

    runs = interleave({f"encode {n}": (lambda corpus=corpora[n]: encode(corpus)) for n in sizes}, args.rounds)
    points = []
    for size in sizes:
        found = runs[f"encode {size}"]
        point = {
            "documents": size,
            "seconds": spread([run.seconds for run in found]),
            "peak_memory_bytes": max(run.peak_memory_bytes for run in found),
        }
        show(f"encode {in_words(size)}", point["seconds"], f"s  {point['peak_memory_bytes'] / 1e6:.0f} MB")
        points.append(point)
        corpora[size].unlink()
    return points


def _searching(benchmark: Benchmark) -> list[dict[str, Any]]:
    args, folder = benchmark.args, benchmark.folder
    encoder = make_encoder(folder / "wide", seed=args.seed, hidden_size=DIMENSION)
    queries = folder / "queries.npy"
    np.save(queries, unit_vectors(args.queries, DIMENSION, args.seed))
    points = []
    for size in sorted(set(args.vectors)):
        index = write_random_index(folder / f"vectors{size}", size, DIMENSION, args.seed)
        with (
            Worker("search_arms:ours", index=str(index), encoder=str(encoder)) as ours,
            Worker("search_arms:faiss_flat", index=str(index)) as faiss,
        ):
            arms = {
                name: (lambda w=w: w("vectors", str(queries), args.hits))
                for name, w in (("ours", ours), ("faiss", faiss))
            }
            for arm in arms.values():  # warm-up
                arm()
            seconds = interleave(arms, args.rounds)
            point = {
                "vectors": size,
                "seconds": spread(seconds["ours"]),
                "faiss_seconds": spread(seconds["faiss"]),
                "loading_seconds": ours("loading"),
                "peak_memory_bytes": ours.peak_memory_bytes(),
                "index_bytes": (index / "index").stat().st_size,
            }
        show(f"search {in_words(size)}", point["seconds"], "s")
        show(f"search {in_words(size)}, FAISS", point["faiss_seconds"], "s")
        points.append(point)
        shutil.rmtree(index)
    return points


if __name__ == "__main__":
    main()
