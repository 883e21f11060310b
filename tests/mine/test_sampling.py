"""Drawing negatives: SimANS's distribution, without replacement, by seed and query."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.data.group import Candidate
from pyserini_sdr.mine.options import MineOptions
from pyserini_sdr.mine.pools import Pool
from pyserini_sdr.mine.sampling import ambiguity, draw, sample_weighted

LOGS = st.one_of(st.floats(-1e6, 0), st.just(-np.inf))


def pool(scores: dict[str, float], positive: float | None, qid: str = "q", candidates: list[str] | None = None) -> Pool:
    known = scores if positive is None else {**scores, "p": positive}
    ids = list(scores) if candidates is None else candidates
    return Pool(qid, "text", [Candidate("p")], [Candidate(id) for id in ids], [known])


def options(**values: object) -> MineOptions:
    return MineOptions(Path("c"), Path("o"), runs=[Path("r")], **values)


@given(st.lists(LOGS, max_size=20), st.integers(1, 25), st.integers(0, 2**32))
def test_without_replacement(logs, number, seed):
    chosen = sample_weighted(logs, number, np.random.default_rng(seed))
    assert chosen == sorted(set(chosen)) and len(chosen) == min(number, len(logs))
    assert all(0 <= position < len(logs) for position in chosen)
    weighted = {i for i, value in enumerate(logs) if value > -np.inf}
    assert len(weighted & set(chosen)) == min(number, len(weighted))  # weight 0 only when all others are drawn


@pytest.mark.parametrize("number", [1, 2])
def test_probabilities_are_those_of_drawing_one_after_the_other(number):
    weights = np.array([8.0, 4.0, 2.0, 1.0])
    expected: dict[tuple[int, ...], float] = {}
    for order in permutations(range(4), number):
        left, probability = weights.sum(), 1.0
        for position in order:
            probability *= weights[position] / left
            left -= weights[position]
        key = tuple(sorted(order))
        expected[key] = expected.get(key, 0.0) + probability
    rng, trials = np.random.default_rng(0), 20_000
    counts = dict.fromkeys(expected, 0)
    for _ in range(trials):
        counts[tuple(sample_weighted(np.log(weights), number, rng))] += 1
    for key, probability in expected.items():
        assert counts[key] / trials == pytest.approx(probability, abs=5 * np.sqrt(probability / trials))


def test_tiny_weights_do_not_underflow():
    counts = np.zeros(2)
    for seed in range(2000):
        counts[sample_weighted([-1e5, -1e5 - np.log(3)], 1, np.random.default_rng(seed))[0]] += 1
    assert counts[0] / counts.sum() == pytest.approx(0.75, abs=0.05)


@given(
    st.lists(st.floats(-100, 100), min_size=1, max_size=10),
    st.floats(-100, 100),
    st.floats(0, 10),
    st.floats(-10, 10),
)
def test_weights_are_those_of_the_paper(values, positive, a, b):
    scores = {f"d{i}": value for i, value in enumerate(values)}
    expected = [-a * (value - positive - b) ** 2 for value in values]
    np.testing.assert_allclose(ambiguity(pool(scores, positive), a, b), expected)


def test_without_the_positive_s_score_the_best_candidate_stands_for_it():
    np.testing.assert_allclose(ambiguity(pool({"d1": 3.0, "d2": 1.0}, None), 0.5, 0.0), [0, -2])
    part = pool({"d1": 3.0}, 2.0, candidates=["d1", "unscored"])
    np.testing.assert_allclose(ambiguity(part, 1.0, 0.0), [-1, -np.inf])
    assert list(ambiguity(pool({}, None, candidates=["x"]), 1.0, 0.0)) == [-np.inf]


def test_simans_prefers_what_scores_like_the_positive():
    scores = {f"d{i}": 20.0 - i for i in range(20)}
    counts = np.zeros(20)
    for seed in range(300):
        counts[draw(pool(scores, 12.0), options(sampling="simans", negatives=1, seed=seed))] += 1
    assert counts.argmax() in (7, 8, 9) and counts[6:11].sum() > 280
    above = np.zeros(20)
    for seed in range(300):
        above[draw(pool(scores, 12.0), options(sampling="simans", simans_b=4.0, negatives=1, seed=seed))] += 1
    assert above[2:7].sum() > 280


def test_top_takes_the_hardest():
    assert draw(pool({f"d{i}": 9.0 - i for i in range(9)}, 5.0), options(sampling="top", negatives=3)) == [0, 1, 2]
    assert draw(pool({"d1": 1.0}, 5.0), options(sampling="top", negatives=3)) == [0]


@given(st.sampled_from(["uniform", "top", "simans"]), st.integers(0, 20), st.integers(1, 8), st.integers(0, 99))
def test_a_draw_is_a_function_of_seed_and_query(sampling, count, negatives, seed):
    scores = {f"d{i}": 1.0 / (i + 1) for i in range(count)}
    chosen = [draw(pool(scores, 0.5), options(sampling=sampling, negatives=negatives, seed=seed)) for _ in range(2)]
    assert chosen[0] == chosen[1] == sorted(set(chosen[0])) and len(chosen[0]) == min(negatives, count)


@pytest.mark.parametrize("sampling", ["uniform", "simans"])
def test_seeds_and_queries_differ(sampling):
    scores = {f"d{i}": 0.0 for i in range(100)}
    draws = {
        tuple(draw(pool(scores, 0.0, qid), options(sampling=sampling, negatives=5, seed=seed)))
        for qid in "abc"
        for seed in range(3)
    }
    assert len(draws) == 9
