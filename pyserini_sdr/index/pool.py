"""The vectors of several indexes under one numbering."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .sources import IndexSource


class Pool:
    """Vectors of sources, numbered through in their order.

    Args:
        sources: index directories of one dimension.
    """

    def __init__(self, sources: Sequence[IndexSource]) -> None:
        self._sources = sources
        self._starts = np.cumsum([0, *(source.count for source in sources)])
        self.dimension = sources[0].dimension

    def __len__(self) -> int:
        return int(self._starts[-1])

    def blocks(self) -> Iterator[np.ndarray]:
        """All vectors in order, (n, dim) float32 at a time."""
        for source in self._sources:
            for _, vectors in source.blocks():
                yield vectors

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Vectors of positions, (len(positions), dim) float32."""
        result = np.empty((len(positions), self.dimension), np.float32)
        owner = np.searchsorted(self._starts, positions, side="right") - 1
        for number in np.unique(owner):
            mine = owner == number
            result[mine] = self._sources[number].index.take(positions[mine] - self._starts[number])
        return result

    def sample(self, size: int, seed: int) -> np.ndarray:
        """Positions of a sample without repetition, ascending."""
        rng = np.random.default_rng(seed)
        return np.sort(rng.choice(len(self), size=min(size, len(self)), replace=False))
