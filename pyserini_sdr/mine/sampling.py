"""Which of a query's candidates become its negatives."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from ..data.sampling import sample_positions
from .options import MineOptions
from .pools import Pool


def draw(pool: Pool, options: MineOptions) -> list[int]:
    """Positions of the negatives among the candidates, ascending; depends on seed, query id and candidates alone."""
    rng = np.random.default_rng([options.seed, zlib.crc32(pool.query_id.encode())])
    count = len(pool.candidates)
    if options.sampling == "top":
        return list(range(min(options.negatives, count)))
    if options.sampling == "simans":
        return sample_weighted(ambiguity(pool, options.simans_a, options.simans_b), options.negatives, rng)
    return sample_positions(count, options.negatives, rng)


def ambiguity(pool: Pool, a: float, b: float) -> np.ndarray:
    """Logarithms of SimANS's weights, −a(s − s⁺ − b)², of a pool with one source (arXiv 2210.11773).

    s⁺ is the score of the best positive; where it is unknown, the best score among the candidates. A candidate without
    a score has −inf: it is drawn when all others are.
    """
    scores = pool.sources[0]
    values = np.array([scores.get(candidate.key, np.nan) for candidate in pool.candidates])
    reference = pool.best_positive(scores)
    if reference is None:
        reference = np.nanmax(values) if np.isfinite(values).any() else 0.0
    return np.where(np.isnan(values), -np.inf, -a * (values - reference - b) ** 2)


def sample_weighted(logs: np.ndarray | Sequence[float], number: int, rng: np.random.Generator) -> list[int]:
    """`number` positions (all, if there are fewer) drawn one after the other, without replacement, ascending.

    Each draw takes a position with a probability proportional to its weight among those left: the largest of
    log weight + Gumbel noise, which does not underflow however small the weights are. SimANS's own code draws with
    replacement, so that a negative may stand in a list twice.

    Args:
        logs: (n,) logarithms of weights; −inf is a weight of 0, drawn last.
    """
    logs = np.asarray(logs, dtype=np.float64)
    noise = rng.gumbel(size=len(logs))
    order = np.lexsort((-noise, -(logs + noise)))  # ties (several −inf) by the noise alone
    return sorted(order[:number].tolist())
