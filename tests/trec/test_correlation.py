from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.trec.correlation import correlate_systems, rank_biased_overlap, tau_of_common


def test_systems_by_hand():
    """First ranking a b c d; the second swaps the first two: one of six pairs, and the worst one for tau-AP."""
    found = correlate_systems("abcd", [0.4, 0.3, 0.2, 0.1], [0.8, 0.9, 0.2, 0.1])
    assert found.tau == pytest.approx(1 - 2 / 6)
    assert found.tau_ap == pytest.approx(2 / 3 * (0 + 1 + 1) - 1)
    assert found.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))
    last = correlate_systems("abcd", [0.4, 0.3, 0.2, 0.1], [0.4, 0.3, 0.1, 0.2])
    assert last.tau == found.tau
    assert last.tau_ap == pytest.approx(2 / 3 * (1 + 1 + 2 / 3) - 1)


def test_extremes():
    same, reverse = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
    found = correlate_systems("abc", same, [1.0, 2.0, 3.0])
    assert (found.tau, found.tau_ap, found.spearman) == pytest.approx((1, 1, 1))
    found = correlate_systems("abc", same, reverse)
    assert (found.tau, found.tau_ap, found.spearman) == pytest.approx((-1, -1, -1))
    level = correlate_systems("abc", same, [0.1 + 0.2, 0.3, 0.3])  # equal but for rounding
    assert all(math.isnan(value) for value in (level.tau, level.p, level.tau_ap, level.spearman))
    with pytest.raises(ValueError, match="1 systems"):
        correlate_systems("a", [1.0], [1.0])


def test_ties_of_systems_are_ordered_by_name_for_tau_ap():
    found = correlate_systems("abc", [0.3, 0.2, 0.1], [0.5, 0.5, 0.1])
    assert found.tau_ap == 1.0
    assert found.tau == pytest.approx(2 / math.sqrt(3 * 2))


def extrapolated(first: str, second: str, p: float, depth: int = 2000) -> float:
    """RBO from its definition, for lists of one length: beyond the end the agreement stays what it was there."""
    total, agreement = 0.0, 0.0
    for d in range(1, depth + 1):
        if d <= len(first):
            agreement = len(set(first[:d]) & set(second[:d])) / d
        total += (1 - p) * p ** (d - 1) * agreement
    return total


@given(st.permutations("abcdef"), st.permutations("abcxyz"), st.sampled_from([0.5, 0.9, 0.98]), st.integers(1, 6))
def test_rbo_is_its_definition_extrapolated(first, second, p, length):
    a, b = first[:length], second[:length]
    assert rank_biased_overlap(a, b, p) == pytest.approx(extrapolated(a, b, p), abs=1e-9)


@given(st.lists(st.sampled_from("abcdefgh"), unique=True), st.lists(st.sampled_from("abcdefgh"), unique=True))
def test_rbo_of_lists_of_any_length(first, second):
    value = rank_biased_overlap(first, second)
    assert -1e-12 <= value <= 1 + 1e-12
    assert value == pytest.approx(rank_biased_overlap(second, first))
    assert rank_biased_overlap(first, first) == pytest.approx(1.0 if first else 0.0)
    if not set(first) & set(second):
        assert value == 0.0


def test_rbo_of_uneven_lists_by_hand():
    """S = ab, L = abc, p = .5: agreement 1 at 1 and 2; (X_3 + X_s/s)/3 at 3; X_l = X_s, so 1 beyond."""
    total = 0.5 * 1 + 0.25 * 1 + 0.125 * ((2 + 1) / 3) + 0.125 * (0 / 3 + 2 / 2)
    assert rank_biased_overlap("ab", "abc", 0.5) == pytest.approx(total)
    with pytest.raises(ValueError, match="p = 1"):
        rank_biased_overlap("a", "a", 1)


def test_tau_of_common_documents():
    assert tau_of_common(["a", "b", "c"], ["x", "a", "b", "c"]) == pytest.approx(1.0)
    assert tau_of_common(["a", "b", "c", "z"], ["c", "b", "a"]) == pytest.approx(-1.0)
    assert math.isnan(tau_of_common(["a", "b"], ["b", "c"]))
