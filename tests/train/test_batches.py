"""Batches: relations, draws and their reproducibility."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS
from pyserini_sdr.train.batches import BatchSource, Source


class Texts(dict):
    def __missing__(self, key):
        return f"text of {key}"


def group(qid: str, positives: list[str], negatives: list[str]) -> Group:
    return Group(qid, f"query {qid}", [Candidate(id=p) for p in positives], [Candidate(id=n) for n in negatives])


def source(groups, known=None, **options) -> BatchSource:
    return BatchSource([Source(groups, Texts(), known or {})], **{"batch_size": len(groups), "steps": 1, **options})


def columns(batch) -> dict[str, int]:
    return {text.removeprefix("text of "): column for column, text in enumerate(batch.documents)}


def rows(batch) -> dict[str, int]:
    return {text.removeprefix("query "): row for row, text in enumerate(batch.queries)}


def test_relations_of_a_small_batch():
    groups = [group("a", ["1"], ["2"]), group("b", ["3"], ["1"]), group("c", ["3"], ["4"])]
    batch = source(groups, known={"a": {"1", "4"}}).batch(0)
    row, column = rows(batch), columns(batch)
    assert len(batch.documents) == 4  # 1 and 3 are in two groups, but one column each

    def code(qid, docid):
        return int(batch.relation[row[qid], column[docid]])

    assert [code("a", d) for d in "1234"] == [OWN_POS, OWN_NEG, OTHER_POS, IGNORE]
    assert [code("b", d) for d in "1234"] == [OWN_NEG, OTHER_NEG, OWN_POS, OTHER_NEG]
    assert [code("c", d) for d in "1234"] == [OTHER_NEG, OTHER_NEG, OWN_POS, OWN_NEG]
    assert batch.triples == 3


def test_a_positive_that_was_not_drawn_is_ignored():
    groups = [group("a", ["1", "2"], ["3"]), group("b", ["2"], ["4"])]
    for seed in range(20):
        batch = source(groups, seed=seed).batch(0)
        row, column = rows(batch), columns(batch)
        if "1" in column:  # a drew 1; b brings 2
            assert batch.relation[row["a"], column["2"]] == IGNORE
            return
    raise AssertionError("no seed drew document 1")


def test_texts_of_candidates_win_over_the_corpus():
    batches = source(
        [Group("a", "q", [Candidate(text="own")], [Candidate(id="7", text="given")]), group("b", ["1"], ["2"])]
    )
    assert set(batches.batch(0).documents) == {"own", "given", "text of 1", "text of 2"}


def test_every_query_once_per_epoch_and_another_order_in_the_next():
    groups = [group(str(i), [f"p{i}"], [f"n{i}"]) for i in range(12)]
    batches = source(groups, batch_size=4, steps=6)
    first, second = ([q for step in steps for q in batches.batch(step).queries] for steps in ((0, 1, 2), (3, 4, 5)))
    assert Counter(first) == Counter(second) == Counter(g.query for g in groups)
    assert first != second


def test_start_skips_exactly_the_steps_done():
    groups = [group(str(i), [f"p{i}", f"r{i}"], [f"n{i}.{k}" for k in range(5)]) for i in range(10)]
    whole, resumed = (source(groups, batch_size=3, steps=9, seed=4) for _ in range(2))
    resumed.start = 5
    for position in range(4):
        expected, found = whole.batch(5 + position), resumed.batch(resumed[position]["step"])
        assert (expected.queries, expected.documents) == (found.queries, found.documents)
        assert np.array_equal(expected.relation, found.relation)


def test_a_draw_depends_on_the_query_and_not_on_its_neighbours():
    groups = [group(str(i), [f"p{i}"], [f"n{i}.{k}" for k in range(9)]) for i in range(6)]
    alone = {d for d in source(groups[:2], seed=3).batch(0).documents if d.startswith("text of n")}
    together = set(source(groups, seed=3).batch(0).documents)
    assert len(alone) == 2 and alone <= together


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_relations_hold_for_any_groups(data):
    docids = [str(i) for i in range(8)]
    groups = []
    for i in range(data.draw(st.integers(2, 5))):
        positives = data.draw(st.lists(st.sampled_from(docids), min_size=1, max_size=3, unique=True))
        others = [d for d in docids if d not in positives]
        groups.append(group(f"q{i}", positives, data.draw(st.lists(st.sampled_from(others), max_size=4, unique=True))))
    known = {"q0": set(data.draw(st.lists(st.sampled_from(docids), max_size=3)))}
    batch = source(groups, known, positives=2, negatives=2, seed=data.draw(st.integers(0, 5))).batch(0)
    column = columns(batch)
    relation = batch.relation.numpy()
    assert len(set(batch.documents)) == len(batch.documents) == relation.shape[1]
    by_query = {g.query: g for g in groups}
    anyones_negative = (relation == OWN_NEG).any(axis=0)
    for row, query in enumerate(batch.queries):
        wanted = by_query[query]
        relevant = {c.id for c in wanted.positives} | known.get(wanted.query_id, set())
        negatives = {c.id for c in wanted.negatives}
        assert (relation[row] == OWN_POS).any()
        for docid, position in column.items():
            code = relation[row, position]
            assert code != OWN_POS or docid in {c.id for c in wanted.positives}
            assert code != OWN_NEG or docid in negatives - relevant
            assert (docid in relevant) == (code in (OWN_POS, IGNORE))
            if code == OTHER_POS:
                assert not anyones_negative[position] or docid not in relevant
