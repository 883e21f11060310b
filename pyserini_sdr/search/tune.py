"""`search tune`: every setting of a fusion rule scored on dev topics, in memory, topic by topic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import atomic_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note, warn
from ..data.collection import Collection
from ..trec.fuse import RULES
from ..trec.fusion_options import TUNED
from ..trec.lists import AlignedRuns, Lists, best_first
from ..trec.measures import Evaluator, canonical
from ..trec.names import parse
from ..trec.qrels import Qrels, read_qrels
from ..trec.significance import TIE, bootstrap_intervals
from .tune_curve import Curve, Point
from .tune_options import TuneOptions, of_test_split
from .tune_report import commands, plot, table


def tune(options: TuneOptions) -> None:
    """Writes the curve as JSON and PNG; prints its table and the commands that fuse with the best setting."""
    qrels_path = options.qrels or Collection.open(options.collection).qrels_path(options.dev_split or "dev")
    for path in (qrels_path, *options.runs):
        if of_test_split(path):
            if not options.allow_test:
                raise UsageError(
                    f"{path}: is of a test split, and what is tuned on it cannot be tested on it; give dev topics' "
                    "runs and judgements, or --allow-test"
                )
            warn(f"{path}: tuned on a test split")
    settings = options.settings()
    metric = canonical(options.metric)
    values = score_settings(
        options.runs,
        read_qrels(qrels_path),
        options.rule,
        settings,
        metric,
        depth=options.depth,
        hits=options.hits,
        relevance_level=options.relevance_level,
    )
    curve = summarise(values, options.runs, options.rule, settings, metric, seed=options.seed)
    picture = options.picture()
    with atomic_file(picture, "wb") as handle:
        plot(curve, handle)
    best = curve.points[curve.best]
    write_manifest(
        options.output,
        TUNED,
        config=as_dict(options),
        inputs=[*options.runs, qrels_path],
        rule=curve.rule,
        options=settings[curve.best],
        depth=options.depth,
        metric=metric,
        topics=curve.topics,
        best=vars(best),
        runs=[{"path": path, **vars(point)} for path, point in curve.runs.items()],
        tied=[settings[position] for position in curve.tied],
        curve=[{"options": o, **vars(p)} for o, p in zip(settings, curve.points, strict=True)],
    )
    _warn_of_the_edge(curve)
    print(table(curve))
    print(f"\n{commands(curve, options.output, options.depth)}")
    note(f"{options.output}: written, with the curve in {picture}")


def _warn_of_the_edge(curve: Curve) -> None:
    """The best value may lie beyond the grid, where a parameter has no natural end."""
    name = {"rrf": "k", "stock-hybrid": "alpha"}.get(curve.rule)
    if name and curve.settings[curve.best][name] == max(options[name] for options in curve.settings):
        warn(f"the best {name} is the largest of the grid; a --grid that goes further may have a better one")


def score_settings(
    paths: Sequence[Path],
    qrels: Qrels,
    rule: str,
    settings: Sequence[Mapping[str, Any]],
    metric: str,
    *,
    depth: int | None = None,
    hits: int = 1000,
    relevance_level: int = 1,
) -> np.ndarray:
    """Values of one measure for every judged topic and every setting; a topic that no run answers counts 0.

    They are those of the files that `fuse_files` would write with these settings.

    Args:
        paths: n run files.
        qrels: query id → document id → grade.
        rule: a fusion rule.
        settings: options of it.
        metric: canonical name.
        depth: documents of each run that take part, per topic (all if None).
        hits: documents per topic of the fused ranking.
        relevance_level: lowest grade that is relevant.

    Returns:
        (judged topics, settings + n) float64; the last n columns are the runs' own values.

    Raises:
        DataError: a run that shares no topic with the qrels, or no judged document among all of them.
    """
    seen = min(hits, parse(metric).depth or hits)
    evaluator = Evaluator(qrels, [metric], relevance_level)
    function = RULES[rule]
    place = {qid: position for position, qid in enumerate(qrels)}
    values = np.zeros((len(qrels), len(settings) + len(paths)))
    answered = np.zeros(len(paths), dtype=np.int64)
    judged = False
    for qid, runs in bar(AlignedRuns(paths, depth), unit=" topics", desc="tuning"):
        if qid not in place:
            continue
        lists = Lists(runs)
        topic = _Topic(evaluator, qid, lists, seen)
        fused = [topic.value(best_first(function(lists, **options))) for options in settings]
        found = [np.flatnonzero(held) for held in lists.held]
        alone = [topic.value(f[best_first(scores[f])]) for f, scores in zip(found, lists.scores, strict=True)]
        values[place[qid]] = fused + alone
        answered += lists.held.any(axis=1)
        judged = judged or any(docid in qrels[qid] for docid in lists.docids)
    for path, count in zip(paths, answered.tolist(), strict=True):
        if not count:
            raise DataError(path, "no topic in common with the judgements", remedy="are both of the dev topics?")
        if count < len(qrels):
            note(f"{path}: no results for {len(qrels) - count} of {len(qrels)} judged topics")
    if not judged:
        remedy = "do the runs and the judgements use the same document ids?"
        raise DataError(paths[0], "no document of these runs is judged for its topic", remedy=remedy)
    return values


class _Topic:
    """Values of one topic's rankings, each ranking measured once.

    Neighbouring settings mostly rank the top alike, and a measure sees nothing but the order.
    """

    def __init__(self, evaluator: Evaluator, qid: str, lists: Lists, depth: int) -> None:
        self._evaluator, self._qid, self._docids, self._depth = evaluator, qid, lists.docids, depth
        self._known: dict[bytes, float] = {}

    def value(self, order: np.ndarray) -> float:
        """Of the documents at these positions (m,), best first."""
        order = order[: self._depth]
        key = order.tobytes()
        if key not in self._known:
            ranking = [(self._docids[position], -float(n)) for n, position in enumerate(order.tolist())]
            (self._known[key],) = self._evaluator.topic(self._qid, ranking).values()
        return self._known[key]


def summarise(
    values: np.ndarray, paths: Sequence[Path], rule: str, settings: list[dict[str, Any]], metric: str, *, seed: int = 0
) -> Curve:
    """The curve with its intervals, and the setting chosen.

    Of settings whose means differ by no more than rounding, the one nearest to the rule's default is chosen (equal
    weights, α = 0.5, stock-hybrid's α = 0.1 and k = 60 by ratio), then the first in grid order.

    Args:
        values: (topics, settings + runs), as `score_settings` gives them.
        paths: the runs.
        rule: a fusion rule.
        settings: its options.
        metric: canonical name.
        seed: of the bootstrap.
    """
    means = values.mean(axis=0).tolist()
    intervals = bootstrap_intervals(values, seed=seed)
    points = [Point(mean, low, high) for mean, (low, high) in zip(means, intervals, strict=True)]
    highest = max(means[: len(settings)])
    tied = [position for position in range(len(settings)) if means[position] >= highest - TIE]
    best = min(tied, key=lambda position: (round(_from_default(rule, settings[position]), 9), position))
    runs = {str(path): point for path, point in zip(paths, points[len(settings) :], strict=True)}
    return Curve(rule, metric, runs, settings, points[: len(settings)], best, tied, len(values))


def _from_default(rule: str, options: Mapping[str, Any]) -> float:
    """How far a setting is from the rule's default."""
    if rule == "linear":
        weights = options["weights"]
        return sum(abs(weight - 1 / len(weights)) for weight in weights)
    if rule == "interpolation":
        return abs(options["alpha"] - 0.5)
    value, default = (options["k"], 60) if rule == "rrf" else (options["alpha"], 0.1)
    return abs(math.log(value / default)) if value > 0 else math.inf
