"""Queries kept by the rank of their best positive: in groups by stored scores, in the rankings of sources."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.group import Candidate
from pyserini_sdr.mine.ranks import RankWindow, parse_named, rank_of_best

from .conftest import manifest, mine, write_run


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """Positive d0 and d1; ce ranks them 1, 3, 1, none; student 2, 2, 1, 4."""
    scores = {
        "a": {"ce": {"d0": 9, "d4": 3}, "st": {"d0": 1, "d4": 2, "d5": 0}},
        "b": {"ce": {"d0": 1, "d1": 2, "d4": 3, "d5": 4, "d6": 2}, "st": {"d0": 1, "d4": 2, "d5": 1}},
        "c": {"ce": {"d0": 5, "d4": 5}, "st": {"d0": 5, "d4": 4}},
        "d": {"ce": {"d4": 5}, "st": {"d0": 0, "d4": 4, "d5": 3, "d6": 2}},
    }
    path = tmp_path / "scored.jsonl"
    with path.open("w") as handle:
        for qid, tables in scores.items():
            negatives = [{"id": f"d{i}"} for i in (4, 5, 6)]
            record = {"query_id": qid, "query": qid, "positives": [{"id": "d0"}, {"id": "d1"}], "negatives": negatives}
            handle.write(json.dumps(record | {"scores": tables}) + "\n")
    return path


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        (["ce=1"], "ac"),  # c: a negative with the same score is not above it
        (["ce=3-9"], "b"),
        (["ce=1-3"], "abc"),
        (["st=2-15"], "abd"),
        (["ce=1", "st=2-15"], "a"),  # PROD's data-progressive step
        (["st=4"], "d"),
    ],
)
def test_by_stored_scores(collection, groups, tmp_path, flags, kept):
    found = mine(collection, tmp_path / "out.jsonl", "--groups", groups, "--teacher-rank", *flags)
    assert "".join(found) == kept


def test_the_whole_group_is_ranked_not_the_window(collection, groups, tmp_path):
    flags = ("--teacher-rank", "st=4", "--group-scores", "st", "--first-rank", 3)
    assert mine(collection, tmp_path / "out.jsonl", "--groups", groups, *flags) == {"d": ["d6"]}


def test_counts_and_what_is_told(collection, groups, tmp_path, capsys):
    mine(collection, tmp_path / "out.jsonl", "--groups", groups, "--teacher-rank", "ce=2-5", "st=2-3")
    facts = manifest(tmp_path / "out.jsonl")
    assert facts["positive_ranks"] == {
        "ce": {"ranks": "2-5", "kept": 1, "better": 2, "worse": 0, "unranked": 1},
        "st": {"ranks": "2-3", "kept": 2, "better": 1, "worse": 1, "unranked": 0},
    }
    assert (facts["queries_read"], facts["queries"], facts["groups"]) == (4, 1, 1)
    assert "kept by the rank of their best positive: 1 of 4 (ce=2-5: 1 kept, 2 better" in capsys.readouterr().err


def test_nothing_left_is_an_error(collection, groups, tmp_path):
    output = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match=r"of 4 queries none .* at these ranks \(ce=7-9: 0 kept, 3 better, .* 1 unr"):
        mine(collection, output, "--groups", groups, "--teacher-rank", "ce=7-9")
    with pytest.raises(DataError, match="holds no scores of 'cee'"):
        mine(collection, output, "--groups", groups, "--teacher-rank", "cee=1")
    assert not output.exists()


def test_in_the_ranking_of_a_source(collection, tmp_path):
    """The best of b's positives counts; ranks below the window of negatives are looked at too."""
    rankings = {"a": ["d0", "d7"], "b": ["d4", "d7", "d8", "d2", "d1"], "c": ["d4", "d7", "d3"]}
    run = write_run(tmp_path / "run", rankings)
    for name, ranks, kept in (("one", "1-2", "a"), ("two", "3-4", "bc"), ("three", "4", "b")):
        flags = ("--runs", run, "--last-rank", 2, "--positive-rank", ranks)
        assert "".join(mine(collection, tmp_path / f"{name}.jsonl", *flags)) == kept
    facts = manifest(tmp_path / "one.jsonl")["positive_ranks"]
    assert facts == {"run": {"ranks": "1-2", "kept": 1, "better": 0, "worse": 2, "unranked": 0}}


def test_every_source_has_a_say(collection, tmp_path):
    first = write_run(tmp_path / "x", {q: ["d0", "d1", "d3", "d7"] for q in "abc"})  # ranks 1, 2, 3
    second = write_run(tmp_path / "y", {q: ["d3", "d0", "d7"] for q in "cba"})  # 2, none, 1; in another order
    flags = ("--runs", first, second, "--positive-rank", "1-2")
    assert "".join(mine(collection, tmp_path / "out.jsonl", *flags)) == "a"
    assert manifest(tmp_path / "out.jsonl")["positive_ranks"]["y"]["unranked"] == 1


def test_an_index_is_searched_as_deep_as_the_ranks(tiny_collection, tiny_encoder, tmp_path):
    from ..encode.make import make_checkpoint, run_encode

    encoder = make_checkpoint(tmp_path / "encoder", tiny_encoder)
    index = run_encode(tiny_collection, tmp_path / "index", encoder)
    flags = ("--index", index, "--last-rank", 1, "--positive-rank", "1-60")
    assert len(mine(tiny_collection, tmp_path / "out.jsonl", *flags)) >= 30  # all but those ranked first, at most
    counts = manifest(tmp_path / "out.jsonl")["positive_ranks"]["index"]
    assert (counts["kept"], counts["unranked"]) == (36, 0)


def test_rank_of_best():
    positives, negatives = [Candidate("p"), Candidate("q")], [Candidate("n"), Candidate(text="t")]
    scores = {"p": 1.0, "n": 2.0, Candidate(text="t").key: 3.0}
    assert rank_of_best(positives, negatives, scores) == 3
    assert rank_of_best(positives, negatives, scores | {"q": 2.5}) == 2
    assert rank_of_best(positives, negatives, {"n": 2.0}) is None


def test_parsing():
    assert parse_named("a=b=2-15") == ("a=b", RankWindow(2, 15))
    assert parse_named("a=3") == ("a", RankWindow(3, 3))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--runs", "r", "--teacher-rank", "ce=1"], "--teacher-rank ce=1: needs --groups"),
        (["--groups", "g", "--positive-rank", "1-2"], "--positive-rank 1-2: is of the rankings of sources"),
        (["--groups", "g", "--teacher-rank", "ce"], r"--teacher-rank \['ce'\]: expected NAME=A-B"),
        (["--groups", "g", "--teacher-rank", "ce=0-2"], "ranks count from 1"),
        (["--groups", "g", "--teacher-rank", "ce=3-2"], "the first must not be above the last"),
        (["--groups", "g", "--teacher-rank", "ce=1-"], "expected a rank or A-B"),
        (["--groups", "g", "--teacher-rank", "ce=1", "ce=2"], "names the same scores twice"),
        (["--runs", "r", "--positive-rank", "best"], "--positive-rank best: expected a rank or A-B"),
    ],
)
def test_bad_ranks(collection, tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        mine(collection, tmp_path / "groups.jsonl", *more)
