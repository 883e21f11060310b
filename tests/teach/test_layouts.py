"""Hofstätter's tab-separated triples: written from groups, read as groups, and back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.data.groups import read_groups, write_groups
from pyserini_sdr.teach.__main__ import COMMAND

GROUP = Group(
    "q000",
    "first",
    [Candidate("d1"), Candidate("d2")],
    [Candidate("d3"), Candidate("d4")],
    {"a": {"d1": 9.1, "d2": 8.0, "d3": -1.25, "d4": 3e-8}, "b": {"d1": 1.0, "d3": 0.5}},
)


def run(*arguments: object) -> None:
    assert COMMAND.execute("teach", [str(argument) for argument in arguments]) == 0


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    write_groups(tmp_path / "scored.jsonl", [GROUP, Group("q001", "second", [Candidate("d9")])])
    return tmp_path / "scored.jsonl"


def test_every_positive_with_every_negative(scored, tmp_path):
    run("--groups", scored, "--name", "a", "--output", tmp_path / "out.tsv")
    assert (tmp_path / "out.tsv").read_text() == (
        "9.10000038\t-1.25\tq000\td1\td3\n"
        "9.10000038\t2.99999989e-08\tq000\td1\td4\n"
        "8\t-1.25\tq000\td2\td3\n"
        "8\t2.99999989e-08\tq000\td2\td4\n"
    )
    run("--groups", scored, "--name", "b", "--output", tmp_path / "b.tsv")
    assert (tmp_path / "b.tsv").read_text() == "1\t0.5\tq000\td1\td3\n"
    assert json.loads((tmp_path / "b.tsv.json").read_text())["triples_without_scores"] == 3


def test_there_and_back(scored, tiny_collection, tmp_path):
    run("--groups", scored, "--name", "a", "--output", tmp_path / "out.tsv.gz")
    back = tmp_path / "back.jsonl"
    run("--groups", tmp_path / "out.tsv.gz", "--collection", tiny_collection, "--output", back, "--name", "a")
    (group,) = read_groups(back)
    assert (group.positives, group.negatives) == (GROUP.positives, GROUP.negatives)
    assert group.query.startswith("what is ")
    assert group.scores["a"] == pytest.approx(GROUP.scores["a"], rel=1e-6)


def test_triples_are_scored_again(scored, tiny_collection, tmp_path):
    """Their scores are kept under `teacher`, those of the run come beside them."""
    run("--groups", scored, "--name", "a", "--output", tmp_path / "out.tsv")
    (tmp_path / "other.trec").write_text("".join(f"q000 Q0 d{i} {i} {9 - i} x\n" for i in range(1, 5)))
    more = ["--collection", tiny_collection, "--run", tmp_path / "other.trec"]
    run("--groups", tmp_path / "out.tsv", "--output", tmp_path / "two.jsonl", *more)
    (group,) = read_groups(tmp_path / "two.jsonl")
    assert group.scores["other"] == {"d1": 8, "d2": 7, "d3": 6, "d4": 5} and len(group.scores["teacher"]) == 4
    assert not (tmp_path / "two.jsonl.parts").exists()
    with pytest.raises(DataError, match="query 'q000' has scores of 'teacher' already"):
        run("--groups", tmp_path / "out.tsv", "--output", tmp_path / "no.jsonl", "--name", "teacher", *more)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ([], UsageError, "--name: is required, .*scored.jsonl holds scores of a, b"),
        (["--name", "c"], UsageError, "unknown teacher 'c'"),
        (["--name", "a", "b"], UsageError, "one name is enough"),
        (["--run", "x", "y"], UsageError, "a .tsv holds the scores of one teacher, 2 are given"),
    ],
)
def test_bad_options(scored, tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        run("--groups", scored, "--output", tmp_path / "out.tsv", *more)
    assert not (tmp_path / "out.tsv").exists()


def test_a_text_without_an_id(tmp_path):
    path = tmp_path / "groups.jsonl"
    group = Group("2", "query", [Candidate("d1")], [Candidate(text="no id")], {"a": {"d1": 1.0}})
    write_groups(path, [GROUP, group])
    with pytest.raises(DataError, match=r"out\.tsv: query '2' has a document without an id.*write \.jsonl"):
        run("--groups", path, "--output", tmp_path / "out.tsv", "--name", "a")
    assert not (tmp_path / "out.tsv").exists()
    with pytest.raises(DataError, match=r"groups\.jsonl:2: query '2' has a document without an id"):
        run("--groups", path, "--output", tmp_path / "out.tsv", "--run", "never-read")


def test_nothing_to_write(tmp_path):
    write_groups(tmp_path / "groups.jsonl", [Group("1", "q", [Candidate("d1")], [], {"a": {"d1": 1.0}})])
    with pytest.raises(DataError, match="nothing to write"):
        run("--groups", tmp_path / "groups.jsonl", "--output", tmp_path / "out.tsv")
    write_groups(tmp_path / "groups.jsonl", [Group("1", "q", [Candidate("d1")])])
    with pytest.raises(DataError, match="holds no scores to write"):
        run("--groups", tmp_path / "groups.jsonl", "--output", tmp_path / "out.tsv")


def test_triples_need_topics(tmp_path, tiny_collection):
    (tmp_path / "in.tsv").write_text("1\t2\tq000\td1\td2\nx\t2\tq000\td1\td2\n")
    with pytest.raises(UsageError, match="--collection: is required for the queries of"):
        run("--groups", tmp_path / "in.tsv", "--output", tmp_path / "out.jsonl")
    with pytest.raises(DataError, match=r"in\.tsv:2: score 'x' is not a finite number"):
        run("--groups", tmp_path / "in.tsv", "--collection", tiny_collection, "--output", tmp_path / "out.jsonl")
