from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pyserini_sdr.trec.significance import (
    bonferroni,
    bootstrap_intervals,
    effect_size,
    equivalence_test,
    holm,
    paired_t_test,
    randomization_test,
    t_interval,
    win_tie_loss,
)

probabilities = st.lists(st.floats(0, 1), max_size=8)


def test_t_test_and_interval_equal_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.random(40), rng.random(40)
    assert paired_t_test(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    expected = stats.t.interval(0.95, 39, a.mean(), stats.sem(a))
    assert t_interval(a) == pytest.approx(expected, rel=1e-9)
    assert effect_size(a, b) == pytest.approx((a - b).mean() / (a - b).std(ddof=1))


def test_degenerate_pairs():
    assert paired_t_test([0.5, 0.5], [0.5, 0.5]) == 1.0
    assert paired_t_test([0.5, 0.7], [0.4, 0.6]) == 0.0
    assert paired_t_test([1.0], [0.0]) == 1.0
    assert randomization_test([0.3, 0.2], [0.3, 0.2]) == 1.0
    assert effect_size([0.5, 0.7], [0.4, 0.6]) == 0.0
    assert t_interval([0.4]) == (0.4, 0.4)
    with pytest.raises(ValueError, match="shapes"):
        paired_t_test([1.0, 2.0], [1.0])


def test_equivalence_test_is_two_of_scipys_one_sided_tests():
    rng = np.random.default_rng(4)
    a = rng.random(80)
    for shift, margin in ((0.0, 0.01), (0.004, 0.01), (0.03, 0.01), (-0.008, 0.05)):
        b = a + rng.normal(shift, 0.03, 80)
        found = equivalence_test(a, b, margin)
        assert found.p_lower == pytest.approx(stats.ttest_rel(a, b - margin, alternative="greater").pvalue, rel=1e-9)
        assert found.p_upper == pytest.approx(stats.ttest_rel(a, b + margin, alternative="less").pvalue, rel=1e-9)
        assert found.p == max(found.p_lower, found.p_upper)
        interval = stats.ttest_rel(a, b).confidence_interval(0.9)
        assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-9)
        assert (found.p < 0.05) == (-margin < found.interval[0] and found.interval[1] < margin)


def test_equivalence_of_degenerate_pairs():
    same = equivalence_test([0.5, 0.7], [0.5, 0.7], 0.01)
    assert (same.p_lower, same.p_upper, same.interval) == (0.0, 0.0, (0.0, 0.0))
    assert equivalence_test([0.5, 0.7], [0.48, 0.68], 0.01).p == 1.0
    assert equivalence_test([0.5, 0.7], [0.48, 0.68], 0.03).p == 0.0
    beyond = equivalence_test([0.5, 0.7], [0.9, 1.1], 0.1)
    assert (beyond.p_lower, beyond.p_upper) == (1.0, 0.0)
    assert equivalence_test([0.5, 0.6], [0.4, 0.5], 0.1).p == 1.0  # on the margin is not within it
    assert equivalence_test([0.5], [0.5], 0.1).p == 1.0


def test_randomization_test_near_the_exact_value():
    # eight equal gains: only all-plus and all-minus are as extreme, 2 of 256 sign patterns
    p = randomization_test([0.6] * 8, [0.1] * 8, rounds=40_000, seed=3)
    assert p == pytest.approx(2 / 256, rel=0.25)
    assert p == randomization_test([0.6] * 8, [0.1] * 8, rounds=40_000, seed=3)
    rng = np.random.default_rng(1)
    a = rng.random(60)
    b = a + rng.normal(0.03, 0.1, 60)
    assert randomization_test(a, b) == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.01)


def test_bootstrap_covers_and_is_seeded():
    values = np.random.default_rng(2).normal(0.4, 0.2, (400, 2))
    first = bootstrap_intervals(values, seed=5)
    assert first == bootstrap_intervals(values, seed=5)
    assert first != bootstrap_intervals(values, seed=6)
    for column, interval in zip(values.T, first, strict=True):
        assert interval == pytest.approx(t_interval(column), abs=0.002)
    assert bootstrap_intervals(np.full((7, 1), 0.25)) == [(0.25, 0.25)]


def test_corrections_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert bonferroni([0.01, 0.04, 0.5]) == pytest.approx([0.03, 0.12, 1.0])
    assert holm([]) == []


@settings(max_examples=60, deadline=None)
@given(probabilities)
def test_holm_lies_between_raw_and_bonferroni_and_keeps_order(p):
    adjusted = holm(p)
    for raw, ours, most in zip(p, adjusted, bonferroni(p), strict=True):
        assert raw <= ours <= most
    order = sorted(range(len(p)), key=lambda i: p[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def test_win_tie_loss():
    outcome = win_tie_loss([1.0, 0.5, 0.2, 0.1 + 0.2], [0.5, 0.5, 0.7, 0.3])
    assert (outcome.wins, outcome.ties, outcome.losses) == (1, 2, 1)
