"""Fusion of runs. Every rule has a name and a formula, so that an α never stands without its meaning.

Notation: s_i(d) is run i's score of document d for a topic, r_i(d) its rank from 1 in trec_eval's order. Sums over runs
do not depend on the order of the runs, to the last bit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from ..core.errors import UsageError, unknown
from ..core.progress import bar
from .lists import AlignedRuns, Lists, Normalization, Scores
from .run import RunWriter


def rrf(lists: Lists, *, k: float = 60) -> np.ndarray:
    """Reciprocal rank fusion (Cormack et al. 2009): Σ_i 1 / (k + r_i(d)) over the runs that hold d.

    Ranks follow from the scores; `pyserini.fusion --method rrf` takes them from the rank column instead, which is the
    same for runs written in trec_eval's order.
    """
    return _total(1 / (k + lists.ranks))


def stock_hybrid(
    lists: Lists, *, alpha: float = 0.1, weight_on_dense: bool = False, normalization: bool = False
) -> np.ndarray:
    """`pyserini.search.hybrid` of (dense, sparse): α·sparse(d) + dense(d).

    With `weight_on_dense`: sparse(d) + α·dense(d).

    A document that a run lacks gets that run's lowest score for the topic (0 if the run has nothing for it).
    `normalization` first maps a run's scores to (s - (min + max)/2) / (max - min), that is to [-1/2, 1/2]; where all
    are equal (stock divides by zero) they become 0.
    """
    _two(lists, "stock-hybrid", "the dense run, then the sparse one")
    filled = []
    for scores, held, (low, high) in zip(lists.scores, lists.held, lists.bounds, strict=True):
        full = np.where(held, scores, low)
        if normalization:
            full = (full - (low + high) / 2) / (high - low) if high > low else np.zeros_like(full)
        filled.append(full)
    dense, sparse = filled
    return alpha * dense + sparse if weight_on_dense else dense + alpha * sparse


def interpolation(lists: Lists, *, alpha: float = 0.5) -> np.ndarray:
    """`pyserini.fusion --method interpolation` of two runs: α·s_1(d) + (1-α)·s_2(d), raw scores, missing = 0."""
    _two(lists, "interpolation", "the one that α weighs first")
    first, second = lists.normalised("none")
    return alpha * first + (1 - alpha) * second


def linear(
    lists: Lists, *, weights: Sequence[float] | None = None, normalization: Normalization = "min-max"
) -> np.ndarray:
    """Weighted sum Σ_i w_i·n_i(d), where n_i is s_i normalised over the topic; missing = 0 after normalisation.

    Normalisations: `none` n = s; `min-max` n = (s - min)/(max - min), 1 where all are equal (as
    `pyserini.fusion --method normalize`); `z-score` n = (s - mean)/deviation, 0 where all are equal. So a missing
    document counts like the last retrieved one under `min-max`, like an average one under `z-score`. Weights default
    to 1 each.
    """
    weights = [1.0] * len(lists) if weights is None else weights
    if len(weights) != len(lists):
        raise UsageError(f"--weights: {len(weights)} weights for {len(lists)} runs")
    return _total(np.asarray(weights, dtype=np.float64)[:, None] * lists.normalised(normalization))


def combsum(lists: Lists, *, normalization: Normalization = "min-max") -> np.ndarray:
    """CombSUM (Fox & Shaw 1994): Σ_i n_i(d), `linear` with all weights 1.

    With `min-max` it is `pyserini.fusion --method normalize`.
    """
    return linear(lists, normalization=normalization)


def combmnz(lists: Lists, *, normalization: Normalization = "min-max") -> np.ndarray:
    """CombMNZ (Fox & Shaw 1994): Σ_i n_i(d) times the number of runs that hold d.

    Scores should not be negative (`z-score` makes them so): a sum below 0 sinks further with every run that agrees.
    """
    return combsum(lists, normalization=normalization) * lists.held.sum(axis=0)


def average(lists: Lists) -> np.ndarray:
    """`pyserini.fusion --method average`: (1/n) Σ_i s_i(d), raw scores, missing = 0."""
    return _total(lists.normalised("none")) / len(lists)


RULES: dict[str, Callable[..., np.ndarray]] = {
    "rrf": rrf,
    "linear": linear,
    "combsum": combsum,
    "combmnz": combmnz,
    "stock-hybrid": stock_hybrid,
    "stock-fusion": interpolation,
    "interpolation": interpolation,
    "average": average,
}
"""Rule names; each takes one topic's `Lists` of n runs and m documents and gives (m,) float64 scores.

`stock-fusion` and `interpolation` are the same rule.
"""

RULE_OPTIONS: dict[str, tuple[str, ...]] = {
    "rrf": ("k",),
    "linear": ("weights", "normalization"),
    "combsum": ("normalization",),
    "combmnz": ("normalization",),
    "stock-hybrid": ("alpha", "weight_on_dense", "normalization"),
    "stock-fusion": ("alpha",),
    "interpolation": ("alpha",),
    "average": (),
}
"""Options that each rule takes."""


def fuse(runs: Sequence[Scores], rule: str, **options: Any) -> dict[str, float]:
    """Fuses one topic's runs.

    Args:
        runs: per run, document id → score; empty where a run has nothing for the topic.
        rule: a name in `RULES`.
        **options: of the rule (`RULE_OPTIONS`).

    Returns:
        Document id → fused score, ids descending.

    Raises:
        UsageError: unknown rule, an option the rule does not take, or the wrong number of runs or weights.
    """
    check_rule(rule, options)
    if not runs:
        raise UsageError("no runs to fuse")
    lists = Lists(runs)
    return dict(zip(lists.docids, RULES[rule](lists, **options).tolist(), strict=True))


def check_rule(rule: str, options: Mapping[str, Any]) -> None:
    """Raises a `UsageError` for an unknown rule or an option that the rule does not take."""
    if rule not in RULES:
        raise UsageError(unknown("fusion rule", rule, RULES))
    for name in options:
        if name not in RULE_OPTIONS[rule]:
            takes = ", ".join(RULE_OPTIONS[rule]) or "no options"
            raise UsageError(f"fusion rule {rule!r} takes no option {name!r} (it takes {takes})")


def fuse_files(
    paths: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    rule: str,
    *,
    depth: int | None = None,
    hits: int = 1000,
    tag: str = "pyserini_sdr",
    format: Literal["trec", "msmarco"] = "trec",
    **options: Any,
) -> int:
    """Fuses run files into one; holds only the topics that the runs have in different order.

    Topics come in the first run's order, then those that only later runs have.

    Args:
        paths: the runs, in the order the rule wants them.
        output: the fused run.
        rule: a name in `RULES`.
        depth: documents of each run that take part, per topic (all if None).
        hits: documents per topic written.
        tag: of the fused run.
        format: of the fused run.
        **options: of the rule.

    Returns:
        Number of topics written.
    """
    check_rule(rule, options)
    fuse([{}] * len(paths), rule, **options)  # the number of runs and weights, before anything is written
    aligned = AlignedRuns(paths, depth)
    with RunWriter(output, tag, format) as writer:
        for qid, runs in bar(aligned, unit=" topics", desc="fusing"):
            lists = Lists(runs)
            writer.write(qid, lists.docids, RULES[rule](lists, **options), hits)
    return len(aligned)


def _total(parts: np.ndarray) -> np.ndarray:
    """Sums (m,) of (n, m) parts, the least first, so that the order of the runs cannot change their last bits."""
    return (parts if len(parts) < 3 else np.sort(parts, axis=0)).sum(axis=0)


def _two(lists: Lists, rule: str, order: str) -> None:
    if len(lists) != 2:
        raise UsageError(f"fusion rule {rule!r} takes two runs ({order}), got {len(lists)}")
