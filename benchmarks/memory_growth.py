"""Peak memory of encoding as the corpus grows, ours and stock's.

Claim: `python -m pyserini_sdr.encode` takes at most 1.5 GB more for 2 M short documents than for one. Synthetic
documents of 4 to 12 words and an encoder of one layer with random weights, made on the spot, so that nothing but the
number of documents is seen; every run is a process of its own, memory is its peak resident set. Stock keeps the whole
corpus and the index in memory and is slow: it runs at --stock-sizes only. Each size runs once: memory hardly varies.

examples:
  python benchmarks/memory_growth.py
  python benchmarks/memory_growth.py --sizes 10k 100k 1M --stock-sizes 10k --scratch /fast/disk
  python benchmarks/memory_growth.py --quick
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import Benchmark, claim, interleave, spread
from material import in_words, make_encoder, whole_numbers, write_synthetic_corpus
from processes import Finished, run_ours, run_stock

from pyserini_sdr.anserini.stock import encode_command
from pyserini_sdr.model.spec import read_spec

OURS, STOCK = "ours", "stock"


def main() -> None:
    benchmark = Benchmark("memory_growth", __doc__)
    sizes = {"nargs": "+", "type": whole_numbers, "metavar": "N"}
    add = benchmark.parser.add_argument
    add("--sizes", default=[10_000, 100_000, 1_000_000, 2_000_000], help="default: 10k 100k 1M 2M", **sizes)
    add("--stock-sizes", default=[10_000, 100_000], help="default: 10k 100k", **sizes)
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    if args.quick:
        args.sizes, args.stock_sizes = [1_000, 3_000], [1_000]
    encoder = make_encoder(benchmark.folder / "encoder", seed=args.seed)
    points: list[dict[str, Any]] = []
    for size in [1, *sorted({*args.sizes, *args.stock_sizes})]:
        corpus = write_synthetic_corpus(benchmark.folder / "corpus.jsonl", size, args.seed)
        arms: dict[str, Callable[[], Finished]] = {}
        if size == 1 or size in args.sizes:
            arms[OURS] = lambda corpus=corpus: encode_ours(corpus, encoder, benchmark.folder / "ours")
        if size == 1 or size in args.stock_sizes:
            arms[STOCK] = lambda corpus=corpus: encode_stock(corpus, encoder, benchmark.folder / "stock")
        for arm, (run,) in interleave(arms, 1).items():
            points.append(
                {
                    "arm": arm,
                    "documents": size,
                    "seconds": run.seconds,
                    "peak_memory_bytes": run.peak_memory_bytes,
                    "corpus_bytes": corpus.stat().st_size,
                }
            )
            print(
                f"{arm:<8} {in_words(size):>8} documents {run.seconds:10.1f} s {run.peak_memory_bytes / 1e6:10.0f} MB"
            )
            shutil.rmtree(benchmark.folder / arm)
    above = {
        (point["arm"], point["documents"]): point["peak_memory_bytes"] - base
        for point in points
        for base in [next(p["peak_memory_bytes"] for p in points if p["arm"] == point["arm"] and p["documents"] == 1)]
    }
    largest = max(args.sizes)
    growth = spread([above[OURS, largest] / 1e9])
    claims = [claim(f"ours, growth from one document to {in_words(largest)}", growth, 1.5, at_most=True, unit="GB")]
    for size in (size for size in args.sizes if size in args.stock_sizes):
        ratio = above[STOCK, size] / max(above[OURS, size], 1)
        claims.append(claim(f"stock's growth over ours' at {in_words(size)}", spread([ratio])))
    return {"points": points, "claims": claims}


def encode_ours(corpus: Path, encoder: Path, output: Path) -> Finished:
    """Our command on a corpus."""
    return run_ours(
        "encode",
        *("input", "--corpus", corpus, "output", "--embeddings", output, "--to-faiss"),
        *("encoder", "--encoder", encoder, "--device", "cpu"),
    )


def encode_stock(corpus: Path, encoder: Path, output: Path) -> Finished:
    """Stock's command on a corpus, with the settings of the encoder's spec."""
    spec = read_spec(encoder, {})
    command = encode_command(
        corpus=corpus,
        embeddings=output,
        encoder=encoder,
        dimension=spec.dimension,
        pooling=spec.pooling,
        l2_norm=spec.normalize,
        max_length=spec.document_max_length,
    )
    return run_stock(command, output)


if __name__ == "__main__":
    main()
