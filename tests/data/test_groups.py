"""Training groups: our format, Tevatron's, and the sources they come from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data.groups import (
    Candidate,
    Group,
    groups_from_pairs,
    read_groups,
    read_teacher_tsv,
    read_triples_ids,
    read_triples_text,
    write_groups,
)

from .test_corpus import IDS, TEXTS, write

TOPICS = {"1": "one", "2": "two", "3": "three"}


@st.composite
def group_lists(draw: st.DrawFn) -> list[Group]:
    qids = draw(st.lists(IDS, unique=True, min_size=1, max_size=4))
    groups = []
    for qid in qids:
        ids = draw(st.lists(IDS, unique=True, min_size=1, max_size=6))
        cut = draw(st.integers(1, len(ids)))
        texts = st.none() | TEXTS
        positives = [Candidate(id, draw(texts)) for id in ids[:cut]]
        negatives = [Candidate(id, draw(texts)) for id in ids[cut:]] + [Candidate(None, draw(TEXTS))]
        numbers = st.floats(allow_nan=False, allow_infinity=False)
        scores = draw(st.dictionaries(TEXTS, st.dictionaries(st.sampled_from(ids), numbers), max_size=2))
        groups.append(Group(qid, draw(TEXTS), positives, negatives, scores))
    return groups


@given(group_lists(), st.sampled_from(["g.jsonl", "g.jsonl.gz"]))
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, groups: list[Group], name: str) -> None:
    path = tmp_path_factory.mktemp("g") / name
    assert write_groups(path, groups) == len(groups)
    assert list(read_groups(path)) == groups


def test_tevatron(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.jsonl",
        {
            "query_id": 7,
            "query": "q",
            "positive_passages": [{"docid": "a", "title": "T", "text": "x"}],
            "negative_passages": [{"docid": "b", "title": "", "text": "y"}, {"text": "z"}],
        },
    )
    expected = Group("7", "q", [Candidate("a", "T x")], [Candidate("b", "y"), Candidate(None, "z")])
    assert list(read_groups(path)) == [expected]


def test_ids_are_read_once(tmp_path: Path) -> None:
    """Documents recur from group to group: each id is one object, and a candidate has no dictionary."""
    records = [
        {
            "query_id": q,
            "query": "q",
            "positives": [{"id": "d1"}],
            "negatives": [{"id": "d2"}],
            "scores": {"t": {"d1": 1}},
        }
        for q in "12"
    ]
    first, second = read_groups(write(tmp_path / "g.jsonl", *records))
    assert first.positives[0].id is second.positives[0].id is next(iter(second.scores["t"]))
    assert first.negatives[0].id is second.negatives[0].id and not hasattr(first.negatives[0], "__dict__")
    passages = [{"docid": "d1", "text": "x"}]
    tevatron = [{"query_id": q, "query": "q", "positive_passages": passages} for q in "12"]
    first, second = read_groups(write(tmp_path / "t.jsonl", *tevatron))
    assert first.positives[0].id is second.positives[0].id


GOOD = {"query_id": "1", "query": "q", "positives": [{"id": "a"}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_id": "2 3"}, "contains white space"),
        ({"query_id": None}, "query_id: id None is not a string"),
        ({"query": " "}, "query '2' is empty"),
        ({"query": 5}, "'query' must be a string, found 5"),
        ({"positives": []}, "has no positives"),
        ({"positives": {"id": "a"}}, "'positives' must be a list"),
        ({"positives": [{}]}, "'positives': expected"),
        ({"positives": [{"docid": "a"}]}, "'positives': expected"),
        ({"negatives": [{"id": "a"}]}, "'a' is positive and negative at once"),
        ({"negatives": [{"text": ""}]}, "empty text"),
        ({"scores": {"t": 1}}, "'scores': expected teacher"),
        ({"scores": {"t": {"a": "1"}}}, "'a' has '1', expected a finite number"),
        ({"scores": {"t": {"a": float("nan")}}}, "'a' has nan, expected a finite number"),
        ({"query_id": "1"}, "query '1' has a group at line 1 already"),
        ({"negs": []}, "not a training group"),
        ({"positive_passages": [{"docid": "a"}]}, "expected docid, title and text"),
    ],
)
def test_bad_group_is_named(tmp_path: Path, change: dict, message: str) -> None:
    path = write(tmp_path / "g.jsonl", GOOD, {**GOOD, "query_id": "2", **change})
    with pytest.raises(DataError) as caught:
        list(read_groups(path))
    assert str(caught.value).startswith(f"{path}:2: ") and message in str(caught.value)


def test_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "g.jsonl"

    def broken():
        yield Group("1", "q", [Candidate("a")])
        raise DataError("source", "broke")

    with pytest.raises(DataError, match="broke"):
        write_groups(path, broken())
    assert list(tmp_path.iterdir()) == []
    path.write_text("\n")
    with pytest.raises(DataError, match="no groups"):
        list(read_groups(path))


def test_from_pairs_and_run(tmp_path: Path) -> None:
    run = tmp_path / "run.txt"
    rows = [("2", "d1"), ("2", "d2"), ("2", "d3"), ("9", "d1"), ("1", "d4"), ("1", "d5")]
    run.write_text("".join(f"{q} Q0 {d} {i} {100 - i} t\n" for i, (q, d) in enumerate(rows, 1)))
    pairs = [("1", "d1"), ("2", "d2"), ("1", "d4"), ("3", "d9"), ("1", "d1")]
    groups = list(groups_from_pairs(pairs, TOPICS, run))
    assert [(g.query_id, [c.id for c in g.positives], [c.id for c in g.negatives]) for g in groups] == [
        ("2", ["d2"], ["d1", "d3"]),
        ("1", ["d1", "d4"], ["d5"]),
        ("3", ["d9"], []),
    ]
    cut = list(groups_from_pairs(pairs, TOPICS, run, skip=1, depth=2))
    assert [[c.id for c in g.negatives] for g in cut] == [[], ["d5"], []]
    assert [g.query_id for g in groups_from_pairs(pairs, TOPICS)] == ["1", "2", "3"]
    with pytest.raises(DataError, match="query '4' is not in the topics"):
        list(groups_from_pairs([("4", "d1")], TOPICS))


def test_triples_of_ids(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("1\ta\tb\n2\tc\td\n1\ta\te\n1\tf\tb\n1\tf\ta\n")
    groups = list(read_triples_ids(path, TOPICS))
    assert [(g.query_id, g.query, [c.id for c in g.positives], [c.id for c in g.negatives]) for g in groups] == [
        ("1", "one", ["a", "f"], ["b", "e"]),
        ("2", "two", ["c"], ["d"]),
    ]
    with pytest.raises(DataError, match=r"t\.tsv:3: query '1' appears again; sort"):
        list(read_triples_ids(path, TOPICS, contiguous=True))
    path.write_text("1\ta\tb\n1\ta\te\n2\tc\td\n")
    streamed = list(read_triples_ids(path, TOPICS, contiguous=True))
    assert streamed == list(read_triples_ids(path, TOPICS)) and len(streamed) == 2


def test_triples_of_text(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("what is a\tgood text\tbad text\nwhat is b\tx\ty\nwhat is a\tgood text\tworse text\n")
    first, second = read_triples_text(path)
    assert (first.query_id, first.query) == ("1", "what is a") and (second.query_id, second.query) == ("2", "what is b")
    assert first.positives == [Candidate(text="good text")]
    assert first.negatives == [Candidate(text="bad text"), Candidate(text="worse text")]


def test_teacher_scores(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("5.5\t1.5\t1\ta\tb\n5.25\t-2\t1\ta\tc\n3\t1\t2\ta\tb\n")
    first, second = read_teacher_tsv(path, TOPICS)
    assert first.scores == {"teacher": {"a": 5.5, "b": 1.5, "c": -2.0}}
    assert second.scores == {"teacher": {"a": 3.0, "b": 1.0}}
    assert json.dumps(first.scores)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1\t2\t1\ta", "expected positive score, negative score, qid"),
        ("1\t2\t1\ta\tb c", "expected positive score"),
        ("x\t2\t1\ta\tb", "score 'x' is not a finite number"),
        ("nan\t2\t1\ta\tb", "score 'nan' is not a finite number"),
        ("1\t2\t77\ta\tb", "query '77' is not in the topics"),
    ],
)
def test_bad_teacher_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "t.tsv"
    path.write_text(f"1\t2\t1\ta\tb\n{line}\n")
    with pytest.raises(DataError) as caught:
        list(read_teacher_tsv(path, TOPICS))
    assert str(caught.value).startswith(f"{path}:2: ") and message in str(caught.value)
