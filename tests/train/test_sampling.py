"""Orders of queries and draws of documents, and how collections are mixed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.losses.base import IGNORE, OWN_NEG, OWN_POS
from pyserini_sdr.train.batches import BatchSource, Source
from pyserini_sdr.train.sampling import balanced_pair, cluster_queries, query_order

from .test_batches import Texts, group


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), st.integers(1, 8), st.integers(0, 3))
def test_topic_batches_hold_every_query_once_and_one_cluster_as_far_as_it_goes_round(labels, size, seed):
    clusters = np.array(labels)
    order = query_order(len(labels), np.random.default_rng(seed), clusters, size)
    assert sorted(order) == list(range(len(labels)))
    pure = sum(
        len(set(clusters[order[k : k + size]])) == 1 for k in range(0, len(labels) - size + 1, size)
    )  # whole batches
    assert pure >= sum(count // size for count in Counter(labels).values())


def test_clusters_are_those_of_the_vectors():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 8, dtype=np.float32) * 10
    vectors = np.concatenate([c + rng.normal(size=(20, 8)) for c in centres]).astype(np.float32)
    found = cluster_queries(vectors, 3, seed=0)
    assert [len(set(found[k : k + 20])) for k in (0, 20, 40)] == [1, 1, 1] and len(set(found)) == 3


def test_balanced_margins_draw_bins_evenly():
    """Nine pairs of margin about 0 and one of margin 10: the one is drawn half of the time, not a tenth."""
    negatives = [Candidate(id=f"n{i}") for i in range(10)]
    scores = {"p": 10.0, **{f"n{i}": 10.0 - i / 100 for i in range(9)}, "n9": 0.0}
    one = Group("q", "query", [Candidate(id="p")], negatives, {"t": scores})
    drawn = Counter(balanced_pair(np.random.default_rng(k), one, "t", 1)[1][0].id for k in range(400))
    assert 160 < drawn["n9"] < 240
    positives, several = balanced_pair(np.random.default_rng(0), one, "t", 20)
    assert [p.id for p in positives] == ["p"] and sorted(n.id for n in several) == sorted(c.id for c in negatives)


def test_balanced_margins_of_one_pair():
    one = Group("q", "query", [Candidate(id="p")], [Candidate(id="n")], {"t": {"p": 1.0, "n": 1.0}})
    assert [[c.id for c in side] for side in balanced_pair(np.random.default_rng(0), one, "t", 3)] == [["p"], ["n"]]


def sources(*sizes: int, weights: tuple[float, ...] = (1.0, 1.0)) -> list[Source]:
    """Collections A, B, …, whose queries and documents bear the same ids."""
    made = []
    for letter, size, weight in zip("AB", sizes, weights, strict=False):
        groups = [Group(str(i), f"{letter}{i}", [Candidate(id="p")], [Candidate(id="n")]) for i in range(size)]
        made.append(Source(groups, {"p": f"p of {letter}", "n": f"n of {letter}"}, {}, weight))
    return made


def test_mixed_batches_follow_the_weights_and_keep_collections_apart():
    batches = BatchSource(sources(40, 10, weights=(3, 1)), batch_size=8, steps=50, seed=1)
    letters = Counter(query[0] for step in range(50) for query in batches.batch(step).queries)
    assert 0.68 < letters["A"] / 400 < 0.82
    both = next(b for b in map(batches.batch, range(50)) if {q[0] for q in b.queries} == {"A", "B"})
    assert sorted(both.documents) == ["n of A", "n of B", "p of A", "p of B"]
    for row, query in enumerate(both.queries):
        own = [both.documents[c] for c in np.flatnonzero(np.isin(both.relation[row], (OWN_POS, OWN_NEG)))]
        assert sorted(own) == [f"n of {query[0]}", f"p of {query[0]}"]


def test_separate_batches_are_of_one_collection_and_pass_over_it_evenly():
    batches = BatchSource(sources(12, 8, weights=(1, 1)), batch_size=4, steps=60, seed=0, mixing="separate")
    seen = Counter()
    for step in range(60):
        queries = batches.batch(step).queries
        assert len({query[0] for query in queries}) == 1 and len(set(queries)) == 4
        seen.update(queries)
    for letter in "AB":
        counts = [n for query, n in seen.items() if query[0] == letter]
        assert max(counts) - min(counts) <= 1


def test_sources_of_one_corpus_share_their_documents():
    """The same collection twice, with real and with pseudo-queries: one column per document, known positives known."""
    texts = {"p": "text p", "n": "text n"}
    parts = [
        Source([Group(qid, qid, [Candidate(id="p")], [Candidate(id="n")])], texts, {}) for qid in ("real", "pseudo")
    ]
    for seed in range(20):
        batch = BatchSource(parts, batch_size=2, steps=1, seed=seed).batch(0)
        if len(batch.queries) == 2:
            break
    assert sorted(batch.documents) == ["text n", "text p"]
    assert set(batch.relation.flatten().tolist()) == {OWN_POS, OWN_NEG}


def test_no_query_stands_twice_in_a_batch():
    batches = BatchSource(sources(5, 7), batch_size=8, steps=40, seed=2)
    for step in range(40):
        queries = batches.batch(step).queries
        assert len(set(queries)) == len(queries) >= 5


def test_a_positive_that_is_a_text_and_was_not_drawn_is_ignored():
    groups = [
        Group("a", "query a", [Candidate(text="one"), Candidate(text="two")], [Candidate(text="x")]),
        Group("b", "query b", [Candidate(text="two")], [Candidate(text="y")]),
    ]
    for seed in range(20):
        batch = BatchSource([Source(groups, {}, {})], batch_size=2, steps=1, seed=seed).batch(0)
        if "one" in batch.documents:  # a drew it, and b brings the other
            assert batch.relation[batch.queries.index("query a"), batch.documents.index("two")] == IGNORE
            return
    raise AssertionError("no seed drew the first text")


@pytest.mark.parametrize("mixing", ["mixed", "separate"])
def test_a_batch_is_a_function_of_its_step(mixing):
    one, other = (BatchSource(sources(9, 7), batch_size=4, steps=30, seed=5, mixing=mixing) for _ in range(2))
    later = [other.batch(step).queries for step in reversed(range(30))][::-1]
    assert [one.batch(step).queries for step in range(30)] == later


def test_stored_scores_stand_in_their_cells():
    groups = [group("a", ["1"], ["2"]), group("b", ["2"], ["3"])]
    groups[0].scores = {"t": {"1": 5.0, "2": 1.0}, "u": {"1": 7.0}}
    groups[1].scores = {"t": {"2": 4.0, "3": 2.0}}
    batch = BatchSource([Source(groups, Texts(), {})], batch_size=2, steps=1, teachers=["t", "u"]).batch(0)
    row = {text: place for place, text in enumerate(batch.queries)}
    column = {text.removeprefix("text of "): place for place, text in enumerate(batch.documents)}
    found = batch.teacher[:, [row["query a"], row["query b"]]][..., [column[d] for d in "123"]]
    nan = np.nan
    expected = [[[5, 1, nan], [nan, 4, 2]], [[7, nan, nan], [nan, nan, nan]]]
    assert np.array_equal(found.numpy(), np.array(expected, dtype=np.float32), equal_nan=True)
