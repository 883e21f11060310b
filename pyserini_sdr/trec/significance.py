"""Statistics of per-topic values: confidence intervals, paired tests, corrections for multiple comparisons.

Every random procedure is seeded and gives the same numbers for the same input. Topics are the unit of sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

TIE = 1e-9
"""Per-topic values closer than this are a tie (they are sums of few fractions; only rounding separates them)."""

_CHUNK = 2_000_000  # random draws held at once


def bootstrap_intervals(
    values: np.ndarray, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> list[tuple[float, float]]:
    """Percentile bootstrap intervals of column means, topics drawn with replacement (Efron & Tibshirani 1993, ch. 13).

    Args:
        values: (n topics, m columns); all columns see the same resamples.
        level: coverage, as 0.95.
        resamples: number of bootstrap samples.
        seed: of the generator.

    Returns:
        m pairs (low, high).
    """
    values = np.asarray(values, dtype=np.float64)
    n, m = values.shape
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, m))
    step = max(1, _CHUNK // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means[start : start + rows] = weights @ values / n
    tail = (1 - level) / 2
    low, high = np.quantile(means, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean; both ends are the mean itself where there is no variance or one value."""
    from scipy import special

    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, mean
    half = float(special.stdtrit(len(values) - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean - half, mean + half


def paired_t_test(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Two-sided p of the paired t-test of `a` against `b` (n values each).

    1.0 where all differences vanish or there is one topic only; 0.0 where they are all the same and not zero.
    """
    from scipy import special

    d = _differences(a, b)
    n = len(d)
    mean, deviation = float(d.mean()), float(d.std(ddof=1)) if n > 1 else 0.0
    if abs(mean) <= TIE or n < 2:
        return 1.0
    if deviation <= TIE:
        return 0.0
    return float(2 * special.stdtr(n - 1, -abs(mean) / (deviation / np.sqrt(n))))


@dataclass(frozen=True)
class Equivalence:
    """Outcome of two one-sided paired t-tests against a margin.

    Attributes:
        margin: half width of the region of equivalence, in the measure's units.
        interval: 1 - 2·0.05 = 90 % t interval of the mean difference; inside ±margin exactly where `p` < 0.05.
        p_lower: one-sided p against "the mean difference is -margin or less".
        p_upper: one-sided p against "the mean difference is +margin or more".
    """

    margin: float
    interval: tuple[float, float]
    p_lower: float
    p_upper: float

    @property
    def p(self) -> float:
        """p of the whole test: the larger of both."""
        return max(self.p_lower, self.p_upper)


def equivalence_test(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, margin: float) -> Equivalence:
    """Two one-sided paired t-tests (TOST, Schuirmann 1987): is the mean difference within ±`margin`?

    Both p are 1.0 where there is one topic only. Where all differences are the same, a p is 0.0 or 1.0 according to the
    side of the margin on which they lie.
    """
    from scipy import special

    d = _differences(a, b)
    n, mean = len(d), float(d.mean())
    deviation = float(d.std(ddof=1)) if n > 1 else 0.0
    interval = t_interval(d, 0.9)
    if n < 2:
        return Equivalence(margin, interval, 1.0, 1.0)
    if deviation <= TIE:
        return Equivalence(margin, interval, float(mean <= TIE - margin), float(mean >= margin - TIE))
    error = deviation / np.sqrt(n)
    lower, upper = (float(special.stdtr(n - 1, (side - margin) / error)) for side in (-mean, mean))
    return Equivalence(margin, interval, lower, upper)


def randomization_test(
    a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, *, rounds: int = 10_000, seed: int = 0
) -> float:
    """Two-sided p of the paired randomisation test: signs of the differences flipped at random (Fisher; Smucker 2007).

    p = (1 + number of rounds at least as extreme) / (1 + rounds), so it is never 0.
    """
    d = _differences(a, b)
    d = d[np.abs(d) > TIE]
    if not len(d):
        return 1.0
    observed = abs(d.sum()) - TIE
    generator = np.random.default_rng(seed)
    extreme = 0
    step = max(1, _CHUNK // len(d))
    for start in range(0, rounds, step):
        signs = generator.integers(0, 2, size=(min(step, rounds - start), len(d)), dtype=np.int8) * 2.0 - 1
        extreme += int((np.abs(signs @ d) >= observed).sum())
    return (1 + extreme) / (1 + rounds)


def bonferroni(p: Sequence[float]) -> list[float]:
    """p-values of a family, each multiplied by its size (at most 1)."""
    return [min(1.0, len(p) * value) for value in p]


def holm(p: Sequence[float]) -> list[float]:
    """p-values of a family adjusted by Holm's step-down procedure (Holm 1979), in the given order."""
    adjusted = [0.0] * len(p)
    largest = 0.0
    for position, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - position) * p[index]))
        adjusted[index] = largest
    return adjusted


def correct(p: Sequence[float], method: Literal["holm", "bonferroni", "none"]) -> list[float]:
    """p-values of a family adjusted by the named method."""
    return {"holm": holm, "bonferroni": bonferroni, "none": list}[method](p)


def effect_size(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> float:
    """Cohen's d for paired samples (d_z): mean difference over its standard deviation; 0 where that is 0."""
    d = _differences(a, b)
    deviation = float(d.std(ddof=1)) if len(d) > 1 else 0.0
    return float(d.mean()) / deviation if deviation > TIE else 0.0


@dataclass(frozen=True)
class WinTieLoss:
    """Topics on which `a` is above, level with and below `b`."""

    wins: int
    ties: int
    losses: int


def win_tie_loss(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> WinTieLoss:
    """Counts of topics won, tied (see `TIE`) and lost by `a` against `b`."""
    d = _differences(a, b)
    wins, losses = int((d > TIE).sum()), int((d < -TIE).sum())
    return WinTieLoss(wins, len(d) - wins - losses, losses)


def _differences(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray) -> np.ndarray:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"paired values of shapes {a.shape} and {b.shape}")
    return a - b
