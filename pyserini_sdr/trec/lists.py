"""Several runs side by side: one topic's lists as a matrix, and the topics of run files in step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from ..core.errors import UsageError, unknown
from ..core.files import require_file
from .run import Ranking, iter_run, ordered, run_topics

Scores = Mapping[str, float]
"""Document id → score."""
Normalization = Literal["none", "min-max", "z-score"]
NORMALIZATIONS: tuple[Normalization, ...] = ("none", "min-max", "z-score")


class Lists:
    """What n runs found for one topic.

    Args:
        runs: per run, document id → finite score; empty where a run has nothing for the topic.

    Attributes:
        docids: the m documents of all runs, ids descending, so that `best_first` breaks ties as trec_eval does.
        scores: (n, m) float64, NaN where a run lacks a document.
        held: (n, m) bool, whether a run holds a document.
    """

    def __init__(self, runs: Sequence[Scores]) -> None:
        self.docids = sorted({docid for run in runs for docid in run}, reverse=True)
        place = {docid: position for position, docid in enumerate(self.docids)}
        self.scores = np.full((len(runs), len(place)), np.nan)
        for row, run in zip(self.scores, runs, strict=True):
            row[[place[docid] for docid in run]] = list(run.values())
        self.held = ~np.isnan(self.scores)
        self._normalised: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def ranks(self) -> np.ndarray:
        """(n, m) float64: ranks from 1 in trec_eval's order; infinite where a run lacks a document."""
        ranks = np.full_like(self.scores, np.inf)
        for row, scores, held in zip(ranks, self.scores, self.held, strict=True):
            found = np.flatnonzero(held)
            row[found[best_first(scores[found])]] = np.arange(1, len(found) + 1)
        return ranks

    @cached_property
    def bounds(self) -> list[tuple[float, float]]:
        """Each run's lowest and highest score; 0 and 1, as stock has it, where it has no documents."""
        found = (scores[held] for scores, held in zip(self.scores, self.held, strict=True))
        return [(float(scores.min()), float(scores.max())) if len(scores) else (0.0, 1.0) for scores in found]

    def normalised(self, method: str) -> np.ndarray:
        """(n, m) float64: each run's scores normalised over its documents; 0 where it lacks one.

        `none` n = s; `min-max` n = (s − min)/(max − min), 1 where all are equal; `z-score` n = (s − mean)/deviation,
        0 where all are equal.
        """
        if method not in NORMALIZATIONS:
            raise UsageError(unknown("normalization", str(method), NORMALIZATIONS))
        if method not in self._normalised:
            result = np.zeros_like(self.scores)
            for row, scores, held, bounds in zip(result, self.scores, self.held, self.bounds, strict=True):
                row[held] = _normalise(scores[held], method, *bounds)
            self._normalised[method] = result
        return self._normalised[method]


def _normalise(scores: np.ndarray, method: str, low: float, high: float) -> np.ndarray:
    if method == "none" or not len(scores):
        return scores
    if method == "min-max":
        return (scores - low) / (high - low) if high > low else np.ones_like(scores)
    deviation = scores.std() if high > low else 0.0
    return (scores - scores.mean()) / deviation if deviation > 0 else np.zeros_like(scores)


def best_first(scores: np.ndarray) -> np.ndarray:
    """Positions (m,) of scores (m,), float32 value descending; equal ones keep their order."""
    with np.errstate(over="ignore"):
        return np.argsort(-scores.astype(np.float32), kind="stable")


class AlignedRuns:
    """The topics of several run files in step; holds only those that the files have in different order.

    Args:
        paths: run files.
        depth: documents of each run that take part, per topic, best first (all if None).

    Attributes:
        topics: the topics of all runs, in the first one's order, then those that only later ones have.

    Raises:
        DataError: a file that is missing; while iterating, what `iter_run` finds.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]], depth: int | None = None) -> None:
        self._paths = [require_file(path, "run file") for path in paths]
        self._depth = depth
        self._held = [run_topics(path) for path in self._paths]
        self.topics = list(dict.fromkeys(qid for topics in self._held for qid in topics))

    def __len__(self) -> int:
        return len(self.topics)

    def __iter__(self) -> Iterator[tuple[str, list[dict[str, float]]]]:
        """Yields `(query id, per run: document id → score)`."""
        cursors = [_Cursor(path, set(topics)) for path, topics in zip(self._paths, self._held, strict=True)]
        for qid in self.topics:
            yield qid, [self._cut(cursor.take(qid)) for cursor in cursors]
        for cursor in cursors:
            cursor.finish()

    def _cut(self, ranking: Ranking) -> dict[str, float]:
        scores = dict(ranking)
        if self._depth is None or len(scores) <= self._depth:
            return scores
        docids, _ = ordered(list(scores), list(scores.values()), self._depth)
        return {docid: scores[docid] for docid in docids}  # as they stand in the file, not as float32


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
