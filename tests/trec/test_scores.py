"""Scores as text, many at a time."""

from __future__ import annotations

import numpy as np
import pytest

from pyserini_sdr.trec.columns import format_score
from pyserini_sdr.trec.scores import score_texts


def near(number: float) -> np.ndarray:
    """The float32 numbers around one."""
    return (np.float32(number).view(np.int32) + np.arange(-300, 300, dtype=np.int32)).view(np.float32)


SETS = {
    "any bits": np.random.default_rng(0).integers(-(1 << 31), 1 << 31, 20_000).astype(np.int32).view(np.float32),
    "cosines": np.random.default_rng(1).random(20_000).astype(np.float32),
    "around powers of ten": np.concatenate([near(10.0**power) for power in range(-7, 12)]),
    "integers and fractions": (np.arange(-3000, 3000) / np.float32(64)).astype(np.float32),
    "ties in the ninth digit": (np.arange(20_000) + np.float32(2**21)).astype(np.float32) / np.float32(1024),
    "short decimals": (np.arange(1, 2000) / 1000).astype(np.float32),
    "zeros": np.array([0.0, -0.0, 1e-45, -1e-45, 3.4028235e38], np.float32),
    "none": np.array([], np.float32),
}


@pytest.mark.parametrize("name", SETS)
def test_equals_one_at_a_time(name: str) -> None:
    scores = SETS[name][np.isfinite(SETS[name])]
    assert score_texts(scores) == [format_score(score) for score in scores]


def test_each_set_of_one_power_as_well() -> None:
    for power in range(-6, 11):
        scores = near(3 * 10.0**power)
        assert score_texts(scores) == [format_score(score) for score in scores]
