"""Exact search: the k best whatever the scores, and the same to the last bit however the work is cut up."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError, SdrError
from pyserini_sdr.index.flat import FlatFile, open_flat
from pyserini_sdr.search import exact
from pyserini_sdr.search.approximate import (
    Bfloat16Scorer,
    DirectScorer,
    Error,
    Float32Scorer,
    Scorer,
    _bits_below,
    _ordered,
)
from pyserini_sdr.search.exact import ExactSearch

from ..index.test_flat import write

RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


CASES = {
    "unit": lambda n, d: (unit(normal(20, d)), unit(normal(n, d))),
    "norms that differ": lambda n, d: (normal(20, d) * 7, normal(n, d) * np.exp(normal(n, 1) * 2)),
    "all negative": lambda n, d: (np.abs(normal(20, d)), -np.abs(normal(n, d)) - 0.1),
    "nearly the same": lambda n, d: (unit(normal(20, d) * 1e-3 + 1), unit(normal(n, d) * 1e-3 + 1)),
    "queries among them": lambda n, d: ((x := unit(normal(n, d)))[:20], x),
}


def opened(path: Path, vectors: np.ndarray) -> FlatFile:
    return open_flat(write(path, vectors))


def assert_best(hits: list, queries: np.ndarray, documents: np.ndarray, depth: int) -> None:
    """The documents with the `depth` best scores, with no doubt but for float32's."""
    scores = queries.astype(np.float64) @ documents.astype(np.float64).T
    doubt = 1e-6 * np.linalg.norm(queries, axis=1, keepdims=True) * np.linalg.norm(documents, axis=1)
    assert len(hits) == len(queries)
    for row, (found, positions) in enumerate(hits):
        kth = np.sort(scores[row])[-min(depth, len(documents))]
        assert len(set(positions.tolist())) == len(positions) >= min(depth, len(documents))
        assert (np.abs(found - scores[row][positions]) <= doubt[row][positions]).all()
        assert (np.diff(found) <= 0).all() and found.dtype == np.float32
        left_out = np.setdiff1d(np.arange(len(documents)), positions)
        assert (scores[row][left_out] <= kth + doubt[row][left_out]).all()
        assert (found >= kth - doubt[row].max()).all()


@pytest.mark.parametrize("bf16", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_best(tmp_path: Path, case: str, bf16: bool) -> None:
    queries, documents = CASES[case](6000, 48)
    search = ExactSearch([opened(tmp_path / "index", documents)], threads=2, bf16=bf16)
    for depth in (1, 10, 700, 6000, 9999):
        assert_best(search.search(queries, depth), queries, documents, depth)
    for few in (1, 3, 8):
        assert_best(search.search(queries[:few], 25), queries[:few], documents, 25)


@given(count=st.integers(1, 40), dimension=st.integers(1, 9), depth=st.integers(1, 45), seed=st.integers(0, 99))
def test_small_indexes_with_ties(tmp_path_factory, count: int, dimension: int, depth: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    documents = rng.integers(-2, 3, size=(count, dimension)).astype(np.float32)
    queries = rng.integers(-2, 3, size=(17, dimension)).astype(np.float32)
    search = ExactSearch([opened(tmp_path_factory.mktemp("x") / "index", documents)], threads=1, bf16=True)
    for given_queries in (queries, queries[:2]):
        for row, (found, positions) in enumerate(search.search(given_queries, depth)):
            scores = documents @ given_queries[row]
            kth = np.sort(scores)[-min(depth, count)]
            assert sorted(positions.tolist()) == np.flatnonzero(scores >= kth).tolist()
            assert found.tolist() == sorted(scores[scores >= kth].tolist(), reverse=True)


def test_not_a_bit_depends_on_how_the_work_is_cut_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, documents = unit(normal(40, 33)), unit(normal(5000, 33))
    documents[4321] = documents[17]  # equal vectors have equal scores
    whole = opened(tmp_path / "whole", documents)
    cuts = [0, 700, 701, 3000, 5000]
    shards = [opened(tmp_path / f"{a}", documents[a:b]) for a, b in pairwise(cuts)]
    first = ExactSearch([whole], threads=1, bf16=True).search(queries, 60)
    others = {
        "threads": ExactSearch([whole], threads=3, bf16=True).search(queries, 60),
        "float32": ExactSearch([whole], threads=1, bf16=False).search(queries, 60),
        "shards": ExactSearch(shards, threads=2, bf16=True).search(queries, 60),
        "memory": ExactSearch([whole], memory=1, threads=1).search(queries, 60),
        "one by one": [ExactSearch([whole], threads=1).search(query[None], 60)[0] for query in queries],
        "by fives": [h for n in range(0, 40, 5) for h in ExactSearch([whole]).search(queries[n : n + 5], 60)],
    }
    monkeypatch.setattr(exact, "_ROWS", 37)
    others["blocks"] = ExactSearch([whole], threads=2, bf16=True).search(queries, 60)
    for name, hits in others.items():
        for one, other in zip(first, hits, strict=True):
            assert np.array_equal(one[0], other[0]) and np.array_equal(one[1], other[1]), name
    score_of = dict(zip(*ExactSearch([whole]).search(documents[17][None], 3)[0][::-1], strict=True))
    assert score_of[17] == score_of[4321]


def test_a_guess_that_is_too_high(tmp_path: Path) -> None:
    """Every document of the sample is good and no other: far fewer reach the guess than it says."""
    size, count = exact._SAMPLE, 4 * exact._SAMPLE
    documents = unit(normal(count, 16)) * 0.1
    sampled = ((np.arange(size) + 0.5) * (count / size)).astype(int)
    queries = unit(normal(20, 16))
    documents[sampled] = queries[0] + normal(size, 16) * 0.01
    search = ExactSearch([opened(tmp_path / "index", documents)], bf16=True)
    for depth in (5, size // 2, size + 50):
        assert_best(search.search(queries, depth), queries, documents, depth)


def test_masses_of_ties_in_little_memory(tmp_path: Path) -> None:
    documents = np.ones((9000, 8), np.float32)
    documents[::2] = -1
    search = ExactSearch([opened(tmp_path / "index", documents)], memory=1, bf16=True)
    for found, positions in search.search(np.ones((40, 8), np.float32), 10):
        assert np.array_equal(positions, np.arange(1, 9000, 2)) and (found == 8).all()


def test_narrow_scores_are_searched_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queries, documents = CASES["nearly the same"](6000, 48)
    used = []
    for kind in (Bfloat16Scorer, Float32Scorer):
        monkeypatch.setattr(exact, kind.__name__, lambda *args, kind=kind: used.append(kind) or kind(*args))
    ExactSearch([opened(tmp_path / "index", documents)], bf16=True, threads=1).search(queries, 10)
    assert used == [Float32Scorer]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("few", [2, 30])
def test_vectors_that_are_not_finite(tmp_path: Path, bad: float, few: int) -> None:
    documents = normal(3000, 8)
    documents[2345, 3] = bad
    search = ExactSearch([opened(tmp_path / "index", documents)], threads=2)
    with pytest.raises(DataError, match=r"index: vector 2346 has NaN or infinite values"):
        search.search(normal(few, 8), 10)
    with pytest.raises(SdrError, match="NaN or infinite values for a query"):
        search.search(np.full((few, 8), bad, np.float32), 10)


def test_nothing_to_search(tmp_path: Path) -> None:
    search = ExactSearch([opened(tmp_path / "index", np.empty((0, 4)))])
    assert [len(positions) for _, positions in search.search(normal(2, 4), 10)] == [0, 0]
    assert ExactSearch([opened(tmp_path / "other", normal(3, 4))]).search(np.empty((0, 4), np.float32), 10) == []


def test_take(tmp_path: Path) -> None:
    documents = normal(30, 5)
    files = [opened(tmp_path / f"{n}", documents[n : n + 10]) for n in (0, 10, 20)]
    positions = np.array([29, 0, 10, 9, 15])
    assert np.array_equal(ExactSearch(files).take(positions), documents[positions])


def test_the_process_keeps_its_threads_and_precision(tmp_path: Path) -> None:
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()
    ExactSearch([opened(tmp_path / "index", normal(3000, 8))], threads=3).search(normal(30, 8), 5)
    assert (torch.get_num_threads(), torch.get_float32_matmul_precision()) == before


def scorers(queries: np.ndarray, rows: int) -> dict[str, Scorer]:
    shared = torch.from_numpy(queries)
    return {
        "bf16": Bfloat16Scorer(shared.bfloat16(), rows),
        "float32": Float32Scorer(shared),
        "direct": DirectScorer(queries),
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ["bf16", "float32", "direct"])
def test_no_pair_is_lost(case: str, name: str) -> None:
    """Every pair is above the floor of its own score, and hardly more."""
    queries, documents = CASES[case](500, 70)
    scores = queries.astype(np.float64) @ documents.astype(np.float64).T
    scorer, error = scorers(queries, 600)[name], Error(queries, rounded=name == "bf16")
    block = scorer.load(np.ascontiguousarray(documents), None)
    for rank in (0, 3, 250, 499):
        least = np.sort(scores, axis=1)[:, rank]
        found = set()
        for rows, columns in scorer.above(error.floor(least, block)):
            found |= set(zip(rows.tolist(), columns.tolist(), strict=True))
        wanted = set(zip(*(part.tolist() for part in np.nonzero(scores >= least[:, None])), strict=True))
        allowed = (scores >= (least - 2.0**-7 * np.abs(scores).max(1) - 2 * error.bound(block))[:, None]).nonzero()
        assert wanted <= found <= set(zip(*(part.tolist() for part in allowed), strict=True))


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_bf16_bits_below(values: list[float]) -> None:
    floats = np.array(values, dtype=np.float32)
    bits = _bits_below(floats)
    below = torch.from_numpy(bits.copy()).view(torch.bfloat16).float().numpy()
    assert (below <= floats).all()
    with np.errstate(over="ignore"):
        nearest = torch.from_numpy(floats).bfloat16().float().numpy()
    exactly = nearest == floats
    assert np.array_equal(below[exactly], floats[exactly])
    ordered = below[np.argsort(_ordered(bits), kind="stable")]
    assert (ordered[1:] >= ordered[:-1]).all()
