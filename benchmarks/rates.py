"""What the machine can do (matrix products, memory bandwidth), and the operations that an encoder asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

FORMULA = "layers · (L · (8h² + 4hi) + 4hL²) for a text of L tokens, h hidden, i intermediate"
"""Two operations per multiply-add: query, key, value and output 4·2h²; feed-forward 2·2hi; scores and their weighted
sum 2·2hL². Look-ups, normalisations, softmax, activation and pooling are not counted, padding neither."""


def encoder_flops(lengths: Sequence[int], *, hidden: int, intermediate: int, layers: int) -> int:
    """Floating-point operations that texts of these lengths (tokens, unpadded) take, by `FORMULA`."""
    per_token = 8 * hidden * hidden + 4 * hidden * intermediate
    return sum(layers * (length * per_token + 4 * hidden * length * length) for length in lengths)


def best_seconds(work: Callable[[], Any], *, seconds: float = 0.3, least: int = 3) -> float:
    """The fastest of as many calls as fit into `seconds`, at least `least`; one call before them is not counted."""
    work()
    times: list[float] = []
    while sum(times) < seconds or len(times) < least:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def product_rate(m: int, k: int, n: int, *, dtype: str = "bfloat16", seconds: float = 0.3) -> float:
    """Floating-point operations per second of `torch.mm` of (m, k) by the transpose of (n, k), as layers do it."""
    import torch

    kind = getattr(torch, dtype)
    a, b = torch.randn(m, k).to(kind), torch.randn(n, k).to(kind)
    with torch.inference_mode():
        return 2 * m * k * n / best_seconds(lambda: torch.mm(a, b.T), seconds=seconds)


def model_rate(hidden: int, intermediate: int, *, rows: Sequence[int] = (1024, 4096), dtype: str = "bfloat16") -> float:
    """Rate of the products of one layer, in the mix that a layer has them, at the best number of rows."""
    shapes = [(hidden, 3 * hidden), (hidden, hidden), (hidden, intermediate), (intermediate, hidden)]
    rates = []
    for m in rows:
        seconds = sum(2 * m * k * n / product_rate(m, k, n, dtype=dtype, seconds=0.15) for k, n in shapes)
        rates.append(sum(2 * m * k * n for k, n in shapes) / seconds)
    return max(rates)


def bandwidth(bytes_: int = 1 << 30) -> float:
    """Bytes per second at which all threads together read memory (a sum over an array much larger than caches)."""
    import torch

    values = torch.ones(bytes_ // 4)
    with torch.inference_mode():
        return bytes_ / best_seconds(lambda: values.sum(), seconds=1.0)


def cpu_rates(hidden: int, intermediate: int, square: int) -> Callable[[], dict[str, float]]:
    """For a worker: a function that measures the bf16 rates, in operations per second."""

    def measure() -> dict[str, float]:
        return {
            "model_shapes": model_rate(hidden, intermediate),
            "square": product_rate(square, square, square, seconds=0.5),
        }

    return measure


def search_rates(queries: int, vectors: int, dimension: int, read_bytes: int) -> Callable[[], dict[str, float]]:
    """For a worker: a function that measures the float32 rate of (queries, d) × (d, vectors), and the bandwidth."""

    def measure() -> dict[str, float]:
        block = min(vectors, 16_384)
        return {
            "product": product_rate(queries, dimension, block, dtype="float32", seconds=0.5),
            "bandwidth": bandwidth(read_bytes),
        }

    return measure
