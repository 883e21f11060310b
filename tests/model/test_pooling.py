"""Pooling and batching against plain NumPy and Python."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.model.batching import pad
from pyserini_sdr.model.pooling import pool
from pyserini_sdr.model.token_budget import by_token_budget


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_pooling_equals_numpy(lengths: list[int], dimension: int, seed: int) -> None:
    states = np.random.default_rng(seed).normal(size=(len(lengths), max(lengths), dimension)).astype(np.float32)
    mask = (np.arange(max(lengths))[None, :] < np.array(lengths)[:, None]).astype(np.int64)
    args = torch.from_numpy(states), torch.from_numpy(mask)
    expected = np.stack([row[:length].mean(axis=0) for row, length in zip(states, lengths, strict=True)])
    np.testing.assert_allclose(pool(*args, "mean").numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(pool(*args, "cls").numpy(), states[:, 0])


def test_padding_may_hold_anything_but_nan() -> None:
    states = torch.ones(1, 3, 2)
    states[0, 2] = 1e30
    assert pool(states, torch.tensor([[1, 1, 0]]), "mean").tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_low_precision_states_give_float32(dtype: torch.dtype, pooling: str) -> None:
    states = torch.randn(4, 50, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 50, dtype=torch.int64)
    low = pool(states.to(dtype), mask, pooling)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, pool(states, mask, pooling), atol=0.02, rtol=0.02)


@given(
    st.lists(st.integers(0, 50), max_size=40),
    st.integers(1, 200),
    st.none() | st.integers(1, 8),
)
def test_batches(lengths: list[int], budget: int, most: int | None) -> None:
    batches = [batch.tolist() for batch in by_token_budget(lengths, budget, most)]
    flat = [row for batch in batches for row in batch]
    assert sorted(flat) == list(range(len(lengths)))
    assert [lengths[row] for row in flat] == sorted(lengths, reverse=True)  # long ones first: memory fails early
    for batch in batches:
        assert batch
        assert len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= budget
        assert most is None or len(batch) <= most
    for first, second in pairwise(batches):  # as full as the limits let them be
        width = max(max(lengths[row] for row in first), 1)
        assert len(first) == most or (len(first) + 1) * width > budget
        assert len(second) > 0


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=6), min_size=1, max_size=5))
def test_pad(rows: list[list[int]]) -> None:
    ids, mask = pad(rows, 0)
    assert ids.shape == mask.shape == (len(rows), max(map(len, rows)))
    for row, tokens in enumerate(rows):
        assert ids[row].tolist() == tokens + [0] * (ids.shape[1] - len(tokens))
        assert mask[row].sum() == len(tokens)
