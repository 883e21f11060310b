"""How alike two rankings are: of systems, by their means; of documents, topic by topic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_DIGITS = 12  # of means: what differs beyond is rounding, and a tie


@dataclass(frozen=True)
class Correlation:
    """Of two rankings of the same systems; NaN where a measure puts all of them level.

    Attributes:
        tau: Kendall's tau-b, which takes account of ties.
        p: its two-sided p-value.
        tau_ap: AP correlation (Yilmaz et al. 2008) of the second ranking with the first as the truth: like tau, but
            mistakes at the top cost more. Systems that tie are ordered by name.
        spearman: Spearman's rho.
    """

    tau: float
    p: float
    tau_ap: float
    spearman: float


def correlate_systems(names: Sequence[str], first: Sequence[float], second: Sequence[float]) -> Correlation:
    """Correlation of the rankings of n ≥ 2 systems by two measures (or under two sets of judgements).

    Args:
        names: of the systems.
        first: a value per system, higher is better.
        second: another.
    """
    from scipy import stats
    from trectools import misc

    if not len(names) == len(first) == len(second) or len(names) < 2:
        raise ValueError(f"{len(names)} systems with {len(first)} and {len(second)} values")
    a, b = ([round(value, _DIGITS) for value in values] for values in (first, second))
    if len(set(a)) == 1 or len(set(b)) == 1:
        return Correlation(math.nan, math.nan, math.nan, math.nan)
    tau = stats.kendalltau(a, b)
    by_rank = [sorted(zip(values, names, strict=True), key=lambda pair: (-pair[0], pair[1])) for values in (a, b)]
    tau_ap, _ = misc.get_correlation(*by_rank, correlation="tauap")
    rho = stats.spearmanr(a, b)
    return Correlation(float(tau.statistic), float(tau.pvalue), float(tau_ap), float(rho.statistic))


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], p: float = 0.9) -> float:
    """Extrapolated rank-biased overlap of two rankings without ties, RBO_ext (Webber et al. 2010, equation 32).

    The share of common documents at every depth, weighted (1 − p)·p^(depth − 1) and extrapolated beyond the ends; 1 for
    equal lists, 0 for lists without a common document. The lists may be of different lengths.

    Args:
        first: document ids, best first, each once.
        second: others.
        p: how patient the reader is: 1/(1 − p) documents on average; 0.9 puts 86 % of the weight on the first ten.

    Raises:
        ValueError: p outside (0, 1).
    """
    if not 0 < p < 1:
        raise ValueError(f"p = {p} does not lie between 0 and 1")
    short, long = sorted((first, second), key=len)
    end, length = len(short), len(long)
    if not end:
        return 0.0
    seen: set[str] = set()
    common = at_end = 0
    total = 0.0
    for depth in range(1, length + 1):
        for ranking in (short, long):
            if depth <= len(ranking):
                common += ranking[depth - 1] in seen
                seen.add(ranking[depth - 1])
        if depth == end:
            at_end = common
        beyond = at_end * (depth - end) / (end * depth) if depth > end else 0.0
        total += (common / depth + beyond) * p**depth
    return (1 - p) / p * total + ((common - at_end) / length + at_end / end) * p**length


def tau_of_common(first: Sequence[str], second: Sequence[str]) -> float:
    """Kendall's tau of the documents that both rankings hold; NaN if there are fewer than two."""
    from scipy import stats

    place = {docid: position for position, docid in enumerate(second)}
    common = [place[docid] for docid in first if docid in place]
    return float(stats.kendalltau(range(len(common)), common).statistic) if len(common) > 1 else math.nan
