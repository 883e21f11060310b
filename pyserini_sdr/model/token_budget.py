"""Tokenised texts and their batches by token budget, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Prepared:
    """Documents as token ids, truncated, with special tokens, unpadded."""

    ids: Sequence[Sequence[int]]

    @property
    def tokens(self) -> int:
        """How many there are in all."""
        return sum(map(len, self.ids))


def by_token_budget(lengths: Sequence[int], budget: int, most: int | None = None) -> Iterator[np.ndarray]:
    """Index batches, longest texts first, each at most `budget` tokens after padding (and at least one text).

    Args:
        lengths: tokens of each text.
        budget: padded tokens per batch.
        most: texts per batch at most.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        width = max(int(lengths[order[start]]), 1)
        stop = start + max(1, min(budget // width, most or budget))
        yield order[start:stop]
        start = stop


def batches_of_tokens(lengths: Sequence[int], budget: int, most: int | None = None) -> Iterator[np.ndarray]:
    """Index batches, longest texts first, each of at most `budget` tokens (and at least one text).

    Args:
        lengths: tokens of each text.
        budget: tokens per batch.
        most: texts per batch at most.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    ends = np.cumsum(sizes[order])
    start = 0
    while start < len(order):
        used = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, used + budget, side="right")), start + 1)
        stop = min(stop, start + most) if most else stop
        yield order[start:stop]
        start = stop
