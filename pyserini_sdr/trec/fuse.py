"""Fusion of runs. Every rule has a name and a formula, so that an α never stands without its meaning.

Notation: s_i(d) is run i's score of document d for a topic, r_i(d) its rank from 1 in trec_eval's order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from ..core.errors import UsageError, unknown
from ..core.files import require_file
from ..core.progress import bar
from .run import Ranking, RunWriter, iter_run, rank, run_topics

Scores = Mapping[str, float]
Normalization = Literal["none", "min-max", "z-score"]


def rrf(runs: Sequence[Scores], *, k: float = 60) -> dict[str, float]:
    """Reciprocal rank fusion (Cormack et al. 2009): Σ_i 1 / (k + r_i(d)) over the runs that hold d.

    Ranks follow from the scores; `pyserini.fusion --method rrf` takes them from the rank column instead, which is the
    same for runs written in trec_eval's order.
    """
    fused: dict[str, float] = {}
    for run in runs:
        for position, (docid, _) in enumerate(rank(list(run), list(run.values())), start=1):
            fused[docid] = fused.get(docid, 0.0) + 1 / (k + position)
    return fused


def stock_hybrid(
    runs: Sequence[Scores], *, alpha: float = 0.1, weight_on_dense: bool = False, normalization: bool = False
) -> dict[str, float]:
    """`pyserini.search.hybrid` of (dense, sparse): α·sparse(d) + dense(d).

    With `weight_on_dense`: sparse(d) + α·dense(d).

    A document that a run lacks gets that run's lowest score for the topic (0 if the run has nothing for it).
    `normalization` first maps a run's scores to (s - (min + max)/2) / (max - min), that is to [-1/2, 1/2]; where all
    are equal (stock divides by zero) they become 0.
    """
    dense, sparse = _two(runs, "stock-hybrid", "the dense run, then the sparse one")
    filled = []
    for run in (dense, sparse):
        low, high = (min(run.values()), max(run.values())) if run else (0.0, 1.0)
        full = {docid: run.get(docid, low) for docid in _union(runs)}
        if normalization:
            width = high - low
            full = {docid: (score - (low + high) / 2) / width if width else 0.0 for docid, score in full.items()}
        filled.append(full)
    weights = (alpha, 1.0) if weight_on_dense else (1.0, alpha)
    return {docid: weights[0] * filled[0][docid] + weights[1] * filled[1][docid] for docid in filled[0]}


def interpolation(runs: Sequence[Scores], *, alpha: float = 0.5) -> dict[str, float]:
    """`pyserini.fusion --method interpolation` of two runs: α·s_1(d) + (1-α)·s_2(d), raw scores, missing = 0."""
    first, second = _two(runs, "interpolation", "the one that α weighs first")
    return {docid: alpha * first.get(docid, 0.0) + (1 - alpha) * second.get(docid, 0.0) for docid in _union(runs)}


def linear(
    runs: Sequence[Scores], *, weights: Sequence[float] | None = None, normalization: Normalization = "min-max"
) -> dict[str, float]:
    """Weighted sum Σ_i w_i·n_i(d), where n_i is s_i normalised over the topic; missing = 0 after normalisation.

    Normalisations: `none` n = s; `min-max` n = (s - min)/(max - min), 1 where all are equal (as
    `pyserini.fusion --method normalize`); `z-score` n = (s - mean)/deviation, 0 where all are equal. So a missing
    document counts like the last retrieved one under `min-max`, like an average one under `z-score`. Weights default
    to 1 each.
    """
    weights = [1.0] * len(runs) if weights is None else weights
    if len(weights) != len(runs):
        raise UsageError(f"--weights: {len(weights)} weights for {len(runs)} runs")
    normalised = [_normalise(run, normalization) for run in runs]
    return {
        docid: math.fsum(w * run.get(docid, 0.0) for w, run in zip(weights, normalised, strict=True))
        for docid in _union(runs)
    }


def average(runs: Sequence[Scores]) -> dict[str, float]:
    """`pyserini.fusion --method average`: (1/n) Σ_i s_i(d), raw scores, missing = 0."""
    return {docid: math.fsum(run.get(docid, 0.0) for run in runs) / len(runs) for docid in _union(runs)}


RULES: dict[str, Callable[..., dict[str, float]]] = {
    "rrf": rrf,
    "linear": linear,
    "stock-hybrid": stock_hybrid,
    "stock-fusion": interpolation,
    "interpolation": interpolation,
    "average": average,
}
"""Rule names; `stock-fusion` and `interpolation` are the same rule."""

RULE_OPTIONS: dict[str, tuple[str, ...]] = {
    "rrf": ("k",),
    "linear": ("weights", "normalization"),
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
        Document id → fused score, in order of first appearance over the runs.

    Raises:
        UsageError: unknown rule, an option the rule does not take, or the wrong number of runs or weights.
    """
    check_rule(rule, options)
    if not runs:
        raise UsageError("no runs to fuse")
    return RULES[rule](runs, **options)


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
    for path in paths:
        require_file(path, "run file")
    fuse([{}] * len(paths), rule, **options)  # the number of runs and weights, before anything is written
    held = [run_topics(path) for path in paths]
    order = list(dict.fromkeys(qid for topics in held for qid in topics))
    cursors = [_Cursor(path, set(topics)) for path, topics in zip(paths, held, strict=True)]
    with RunWriter(output, tag, format) as writer:
        for qid in bar(order, unit=" topics", desc="fusing"):
            runs = []
            for cursor in cursors:
                ranking = cursor.take(qid)
                runs.append(dict(ranking if depth is None else rank(*_columns(ranking), depth)))
            fused = fuse(runs, rule, **options)
            writer.write(qid, list(fused), list(fused.values()), hits)
        for cursor in cursors:
            cursor.finish()
    return len(order)


class _Cursor:
    """Hands out a run's topics in any order; reads ahead, and keeps what it passed, only as far as it must."""

    def __init__(self, path: str | os.PathLike[str], topics: set[str]) -> None:
        self.topics = topics
        self._stream: Iterator[tuple[str, Ranking]] = iter_run(path)
        self._passed: dict[str, Ranking] = {}

    def take(self, qid: str) -> Ranking:
        if qid not in self.topics:
            return []
        while qid not in self._passed:
            found, ranking = next(self._stream)
            self._passed[found] = ranking
        return self._passed.pop(qid)

    def finish(self) -> None:
        """Reads to the end, where the reader may still find fault with the last lines."""
        for _ in self._stream:
            pass


def _columns(ranking: Ranking) -> tuple[list[str], list[float]]:
    return [docid for docid, _ in ranking], [score for _, score in ranking]


def _union(runs: Sequence[Scores]) -> dict[str, None]:
    return {docid: None for run in runs for docid in run}


def _two(runs: Sequence[Scores], rule: str, order: str) -> tuple[Scores, Scores]:
    if len(runs) != 2:
        raise UsageError(f"fusion rule {rule!r} takes two runs ({order}), got {len(runs)}")
    return runs[0], runs[1]


def _normalise(run: Scores, method: Normalization) -> dict[str, float]:
    if method not in ("none", "min-max", "z-score"):
        raise UsageError(unknown("normalization", str(method), ("none", "min-max", "z-score")))
    if method == "none" or not run:
        return dict(run)
    if method == "min-max":
        low, high = min(run.values()), max(run.values())
        return {docid: (score - low) / (high - low) if high > low else 1.0 for docid, score in run.items()}
    mean = math.fsum(run.values()) / len(run)
    deviation = math.sqrt(math.fsum((score - mean) ** 2 for score in run.values()) / len(run))
    flat = deviation == 0 or min(run.values()) == max(run.values())
    return {docid: 0.0 if flat else (score - mean) / deviation for docid, score in run.items()}
