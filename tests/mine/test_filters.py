"""The filters of `mine`: duplicates, score limits and margins, the teacher's verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.mine import filters, pools

from .conftest import manifest, mine, write_run

SCORES = {"d5": 2.0, "d4": 1.5, "d3": 1.0, "d7": 0.9, "d8": 0.5, "d9": -1.0}
"""Of query c, whose positive is d3."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", {"c": SCORES})


@pytest.mark.parametrize(
    ("flags", "kept"),
    [
        ((), ["d5", "d4", "d7", "d8", "d9"]),
        (("--max-score", 1.5), ["d4", "d7", "d8", "d9"]),
        (("--margin", 0), ["d7", "d8", "d9"]),
        (("--margin", 0.1), ["d7", "d8", "d9"]),  # 0.9 is not above 1 - 0.1
        (("--margin", 0.11), ["d8", "d9"]),
        (("--margin", -0.5), ["d4", "d7", "d8", "d9"]),
        (("--relative-margin", 0.05), ["d7", "d8", "d9"]),
        (("--relative-margin", 0.2), ["d8", "d9"]),
        (("--margin", 0, "--max-score", 0.6), ["d8", "d9"]),
    ],
)
def test_limits(collection, run, tmp_path, flags, kept):
    assert mine(collection, tmp_path / "groups.jsonl", "--runs", run, *flags) == {"c": kept}
    dropped = manifest(tmp_path / "groups.jsonl")["dropped"]
    assert sum(dropped.values()) == 1 + 5 - len(kept)  # and the positive


def test_a_relative_margin_of_negative_scores_lies_below_the_positive(collection, tmp_path):
    run = write_run(tmp_path / "run", {"c": {"d4": -9, "d3": -10, "d5": -10.5, "d7": -11.5}})
    assert mine(collection, tmp_path / "groups.jsonl", "--runs", run, "--relative-margin", 0.1) == {"c": ["d7"]}


def test_each_filter_counts_what_it_drops(collection, run, tmp_path, capsys):
    flags = ("--max-score", 1.6, "--margin", 0, "--relative-margin", 0.2)
    mine(collection, tmp_path / "groups.jsonl", "--runs", run, *flags)
    dropped = {"known_positives": 1, "max_score": 1, "margin": 1, "relative_margin": 1, "duplicates": 0}
    assert manifest(tmp_path / "groups.jsonl")["dropped"] == dropped
    assert "dropped: 1 by known positives, 1 by max score, 1 by margin, 1 by relative margin" in capsys.readouterr().err


def test_the_positive_s_score_is_looked_up_below_the_window(collection, run, tmp_path):
    found = mine(collection, tmp_path / "groups.jsonl", "--runs", run, "--margin", -0.6, "--last-rank", 2)
    assert found == {"c": ["d4"]}


def test_nothing_left(collection, run, tmp_path):
    with pytest.raises(
        DataError, match=r"groups.jsonl: not written: none of 3 queries has a negative; widen the window"
    ):
        mine(collection, tmp_path / "groups.jsonl", "--runs", run, "--margin", 99)
    assert not list(tmp_path.glob("groups*"))


def test_the_best_of_several_positives_counts(collection, tmp_path):
    run = write_run(tmp_path / "run", {"b": {"d4": 9, "d1": 8, "d5": 7, "d2": 6, "d7": 5}})
    assert mine(collection, tmp_path / "groups.jsonl", "--runs", run, "--margin", 0) == {"b": ["d5", "d7"]}


def test_a_positive_without_a_score(collection, tmp_path, capsys):
    run = write_run(tmp_path / "run", {"a": {"d7": 3, "d0": 2, "d8": 1}, "c": {"d7": 2, "d8": 1}})
    output = tmp_path / "groups.jsonl"
    assert mine(collection, output, "--runs", run, "--margin", 0) == {"a": ["d8"], "c": ["d7", "d8"]}
    assert manifest(output)["unscored_positives"] == {"source": 1}  # b is not in the run at all
    assert "queries without a source score of a positive: 1 (not filtered by it)\n" in capsys.readouterr().err
    simans = ("--sampling", "simans", "--overwrite")
    assert mine(collection, output, "--runs", run, *simans) == {"a": ["d7", "d8"], "c": ["d7", "d8"]}
    assert "score of a positive: 1 (the best candidate stands for it)\n" in capsys.readouterr().err
    mine(collection, output, "--runs", run, "--margin", 0, *simans)
    assert "a positive: 1 (not filtered by it; the best candidate stands for it)\n" in capsys.readouterr().err
    drop = ("--margin", 0, "--unscored-positive", "drop", "--overwrite")
    assert mine(collection, output, "--runs", run, *drop) == {"a": ["d8"]}
    assert manifest(output)["dropped"]["unscored_positive"] == 2


def test_any_source_may_drop_a_document(collection, tmp_path):
    first = write_run(tmp_path / "one", {"c": {"d4": 30, "d3": 20, "d5": 10}})
    second = write_run(tmp_path / "two", {"c": {"d5": 0.9, "d3": 0.8, "d4": 0.7, "d7": 0.6}})
    found = mine(collection, tmp_path / "groups.jsonl", "--runs", first, second, "--margin", 0)
    assert found == {"c": ["d7"]}  # d4 is above the positive in one, d5 in two
    third = write_run(tmp_path / "three", {"c": {"d8": 5, "d4": 4}})  # does not know the positive
    found = mine(collection, tmp_path / "more.jsonl", "--runs", first, third, "--margin", 0)
    assert found == {"c": ["d8", "d5"]}


def rewrite(collection: Path, texts: dict[str, str]) -> None:
    (collection / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": id, "contents": text}) + "\n" for id, text in texts.items())
    )


def test_duplicates(collection, tmp_path):
    texts = {f"d{i}": f"text {i}" for i in range(12)}
    rewrite(collection, {**texts, "d4": "TEXT \n 3", "d7": "Straße", "d8": " strasse ", "d9": "text 8"})
    run = write_run(tmp_path / "run", {"c": ["d4", "d7", "d8", "d9", "d10"]})
    output = tmp_path / "groups.jsonl"
    assert mine(collection, output, "--runs", run) == {"c": ["d7", "d9", "d10"]}  # d4 is the positive's text
    assert manifest(output)["dropped"]["duplicates"] == 2
    found = mine(collection, output, "--runs", run, "--no-drop-duplicates", "--overwrite")
    assert found == {"c": ["d4", "d7", "d8", "d9", "d10"]} and "duplicates" not in manifest(output)["dropped"]


def test_a_document_of_another_corpus(collection, tmp_path):
    run = write_run(tmp_path / "run", {"c": ["d4", "elsewhere"]})
    with pytest.raises(DataError, match=r"no document 'elsewhere', a candidate of query 'c'.*--no-drop-duplicates"):
        mine(collection, tmp_path / "groups.jsonl", "--runs", run)
    assert not (tmp_path / "groups.jsonl").exists()


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """Groups as `teach` leaves them."""
    path = tmp_path / "scored.jsonl"
    ids = ("d5", "d4", "d7", "d8", "d9")
    records = [
        {
            "query_id": "c",
            "query": "third?",
            "positives": [{"id": "d3"}],
            "negatives": [*({"id": id} for id in ids), {"text": "free text"}],
            "scores": {"ce": {"d3": 5, "d5": 6, "d4": 4.5, "d7": -3, "d8": 2, "d9": 0}, "bm25": {"d4": 1, "d7": 2}},
        },
        {"query_id": "new", "query": "q", "positives": [{"id": "d1"}], "negatives": [{"id": "d2"}], "scores": {}},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_false_negatives_by_the_teacher(collection, scored, tmp_path, capsys):
    output = tmp_path / "groups.jsonl"
    flags = ("--groups", scored, "--teacher-scores", "ce", "--teacher-margin", 1)
    assert mine(collection, output, *flags) == {"c": ["d8", "d9", "d7", None], "new": ["d2"]}
    group = next(read_groups(output))
    assert group.query == "third?" and group.negatives[-1].text == "free text"
    assert group.scores == {"ce": {"d3": 5, "d7": -3, "d8": 2, "d9": 0}, "bm25": {"d7": 2}}
    facts = manifest(output)
    assert facts["dropped"] == {"known_positives": 0, "teacher_margin": 2, "duplicates": 0}
    assert facts["unscored_positives"] == {"teacher": 1} and facts["inputs"][0]["path"] == str(scored)
    told = capsys.readouterr().err
    assert "warning: documents without a score of 'ce', which were kept: 2" in told
    assert "queries without a teacher score of a positive: 1 (not filtered by it)" in told
    drop = ("--unscored-positive", "drop", "--overwrite")
    assert list(mine(collection, output, *flags, *drop)) == ["c"]


def test_negatives_are_drawn_again_from_groups(collection, scored, tmp_path):
    def again(name: str, *flags: object) -> list[str | None]:
        return mine(collection, tmp_path / name, "--groups", scored, *flags).get("c", [])

    assert again("a", "--first-rank", 2, "--last-rank", 3) == ["d4", "d7"]  # the order of the file
    assert again("b", "--teacher-scores", "ce", "--sampling", "top", "--negatives", 2) == ["d5", "d4"]
    assert again("c", "--group-scores", "bm25", "--sampling", "top", "--negatives", 2) == ["d7", "d4"]
    assert again("d", "--group-scores", "ce", "--margin", 4) == ["d9", "d7", None]
    flags = ("--teacher-scores", "ce", "--teacher-margin", 1, "--group-scores", "bm25", "--max-score", 1.5)
    assert again("e", *flags) == ["d8", "d9", None]
    assert list(mine(collection, tmp_path / "f", "--groups", scored, "--max-queries", 1)) in (["c"], ["new"])


def test_what_the_collection_calls_relevant_leaves_groups(collection, scored, tmp_path):
    (collection / "qrels.train.txt").write_text("c 0 d7 1\n")
    assert mine(collection, tmp_path / "groups.jsonl", "--groups", scored)["c"] == ["d5", "d4", "d8", "d9", None]


def test_scores_that_the_first_groups_lack_are_missed_before_the_work(collection, tmp_path, monkeypatch):
    monkeypatch.setattr(pools, "LOOKED_AT", 2)
    monkeypatch.setattr(filters, "DocumentStore", None)  # the corpus is not read for this
    record = {"query": "q", "positives": [{"id": "d1"}], "negatives": [{"id": "d2"}], "scores": {"ce": {"d1": 1}}}
    lines = [json.dumps({"query_id": str(number), **record}) + "\n" for number in range(2)]
    (tmp_path / "scored.jsonl").write_text("".join([*lines, "the rest is never read\n"]))
    with pytest.raises(DataError, match=r"holds no scores of 'typo' in its first 2 groups \(it has: ce\); score the"):
        mine(collection, tmp_path / "groups.jsonl", "--groups", tmp_path / "scored.jsonl", "--teacher-scores", "typo")


def test_groups_without_those_scores(collection, scored, tmp_path):
    flags = ("--groups", scored, "--teacher-scores", "cE", "--teacher-margin", 1)
    with pytest.raises(DataError, match=r"scored.jsonl: holds no scores of 'cE' \(it has: ce, bm25\); score the"):
        mine(collection, tmp_path / "groups.jsonl", *flags)
    assert not (tmp_path / "groups.jsonl").exists()
