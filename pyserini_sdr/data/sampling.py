"""Random parts of a sequence."""

from __future__ import annotations

import numpy as np


def sample_positions(count: int, number: int, rng: np.random.Generator) -> list[int]:
    """`number` of the positions 0..count−1 (all, if there are fewer), drawn without replacement, ascending."""
    return sorted(rng.permutation(count)[:number].tolist())
