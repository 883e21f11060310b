"""What an exact search has found so far: pairs of query and document at least as good as a running threshold."""

from __future__ import annotations

import threading

import numpy as np

Hits = tuple[np.ndarray, np.ndarray]
"""Scores (n,) float32, best first, ties by position, and positions (n,) int64."""

_EMPTY = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


class TooManyError(Exception):
    """More documents tie with the k-th, or nearly so, than memory holds for so many queries."""


class Found:
    """Collects from several threads.

    Args:
        least: a guess at the score of the k-th best document of every query, (n,) float32.
        depth: k.
        limit: pairs held at most; None for no limit.
    """

    def __init__(self, least: np.ndarray, depth: int, limit: int | None) -> None:
        self.least, self._depth, self._limit = least, depth, limit
        self._parts = [_EMPTY]
        self._count = 0
        self._lock = threading.Lock()

    def add(self, rows: np.ndarray, positions: np.ndarray, scores: np.ndarray) -> None:
        """Keeps those that are good enough; where they become too many, raises what that means.

        Args:
            rows: (n,) rows of queries.
            positions: (n,) of documents.
            scores: (n,) float32.

        Raises:
            TooManyError: it did not help.
        """
        least = self.least
        good = np.flatnonzero(scores >= least[rows])
        with self._lock:
            self._parts.append((rows[good], positions[good], scores[good]))
            self._count += len(good)
            if self._limit is not None and self._count > self._limit:
                self._raise()
                if self._count > self._limit // 2:
                    raise TooManyError

    def _raise(self) -> None:
        """The k-th best score so far is a lower bound of the k-th best of all."""
        rows, positions, scores = self.pairs()
        so_far = [
            _largest(scores[of], self._depth) if len(of) >= self._depth else -np.inf
            for of in _grouped(rows, len(self.least))
        ]
        self.least = np.maximum(self.least, np.array(so_far, dtype=np.float32))
        good = np.flatnonzero(scores >= self.least[rows])
        self._parts, self._count = [(rows[good], positions[good], scores[good])], len(good)

    def pairs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, positions and scores of all pairs held."""
        rows, positions, scores = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return rows, positions, scores

    def hits(self) -> list[Hits | None]:
        """The k best of every query and what ties with the last; None where the guess was too high to find k."""
        rows, positions, scores = self.pairs()
        results: list[Hits | None] = []
        for of in _grouped(rows, len(self.least)):
            if len(of) < self._depth:
                results.append(None)
                continue
            own = scores[of]
            kept = np.flatnonzero(own >= _largest(own, self._depth))
            places = positions[of[kept]]
            order = np.lexsort((places, -own[kept]))
            results.append((own[kept][order], places[order]))
        return results


def _largest(values: np.ndarray, k: int) -> np.float32:
    """The k-th largest value."""
    return np.partition(values, len(values) - k)[len(values) - k]


def _grouped(rows: np.ndarray, count: int) -> list[np.ndarray]:
    """Where each of the values 0 to count − 1 stands in `rows`."""
    small = rows.astype(np.uint16) if count <= 1 << 16 else rows  # which NumPy sorts by radix
    order = np.argsort(small, kind="stable")
    return np.split(order, np.cumsum(np.bincount(rows, minlength=count))[:-1])
