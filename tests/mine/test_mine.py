"""`mine`: windows, exclusions, merging and reproducibility."""

from __future__ import annotations

import json

import pytest

from pyserini_sdr.core.errors import DataError, UsageError

from .conftest import manifest, mine, write_run


def test_known_positives_are_left_out_and_queries_without_negatives(collection, tmp_path):
    run = write_run(tmp_path / "run", {"a": ["d0", "d5", "d6", "d7"], "b": ["d2", "d1"], "c": ["d3", "d4"]})
    found = mine(collection, tmp_path / "groups.jsonl", "--runs", str(run))
    assert found == {"a": ["d6", "d7"], "c": ["d4"]}  # d5 by the qrels only; b has nothing but positives
    record = json.loads((tmp_path / "groups.jsonl").read_text().splitlines()[0])
    assert record["query"] == "first" and record["positives"] == [{"id": "d0"}]
    facts = manifest(tmp_path / "groups.jsonl")
    assert (facts["groups"], facts["queries"], facts["without_negatives"]) == (2, 3, 1)
    assert facts["dropped"] == {"known_positives": 5, "duplicates": 0}
    assert facts["negatives_per_query"] == {"0": 1, "1": 1, "2": 1}
    assert facts["short"] == {"queries": 3, "first": {"a": 2, "b": 0, "c": 1}}
    assert [entry["path"] for entry in facts["inputs"]] == [str(run)]


def test_shortfall_is_told(collection, tmp_path, capsys):
    run = write_run(tmp_path / "run", {"a": ["d6", "d7"], "b": ["d2", "d1"], "c": ["d3", "d4"]})
    mine(collection, tmp_path / "groups.jsonl", "--runs", run, "--negatives", 2)
    told = capsys.readouterr().err
    assert "dropped: 3 by known positives\n" in told
    assert "queries with fewer than 2 negatives: 2 (b 0, c 1)\n" in told
    mine(collection, tmp_path / "one.jsonl", "--runs", run, "--split", "train", "--negatives", 1, "--max-queries", 1)
    assert manifest(tmp_path / "one.jsonl")["queries"] == 1


def test_rank_window(collection, tmp_path):
    run = write_run(tmp_path / "run", {q: [f"d{i}" for i in range(4, 12)] for q in "abc"})
    found = mine(collection, tmp_path / "groups.jsonl", "--runs", str(run), "--first-rank", "3", "--last-rank", "5")
    assert found["c"] == ["d6", "d7", "d8"]


def test_runs_are_merged_rank_by_rank(collection, tmp_path):
    first = write_run(tmp_path / "one", {q: ["d4", "d6", "d8"] for q in "abc"})
    second = write_run(tmp_path / "two", {q: ["d4", "d7", "d9"] for q in "cba"})  # another order of topics
    found = mine(collection, tmp_path / "groups.jsonl", "--runs", str(first), str(second), "--last-rank", "3")
    assert found["c"] == ["d4", "d6", "d7", "d8", "d9"]


def test_a_draw_depends_on_seed_and_query_only(collection, tmp_path):
    ranking = [f"d{i}" for i in range(4, 12)]
    run = write_run(tmp_path / "run", dict.fromkeys("abc", ranking))
    mined = [
        mine(collection, tmp_path / f"{name}.jsonl", "--runs", str(run), "--negatives", "3", *more)
        for name, more in (("one", ()), ("two", ()), ("other", ("--seed", "1")), ("few", ("--max-queries", "2")))
    ]
    assert mined[0] == mined[1] != mined[2]
    assert all(len(set(negatives)) == 3 for negatives in mined[0].values())
    assert len(mined[3]) == 2 and mined[3].items() <= mined[0].items()
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_another_split(collection, tmp_path):
    run = write_run(tmp_path / "run", {"z": ["d9", "d8"]})
    assert mine(collection, tmp_path / "groups.jsonl", "--runs", str(run), "--split", "other") == {"z": ["d8"]}


def test_with_an_encoder_the_index_is_made_and_used_again(tiny_collection, tiny_encoder, tmp_path):
    from pyserini_sdr.model.checkpoint import save_checkpoint
    from pyserini_sdr.model.encoder import BiEncoder

    encoder = BiEncoder.load(tiny_encoder, raw_backbone=True)
    save_checkpoint(tmp_path / "encoder", encoder.backbone, encoder.tokenizer, encoder.spec)
    arguments = ["--encoder", str(tmp_path / "encoder"), "--index", str(tmp_path / "index"), "--last-rank", "10"]
    first = mine(tiny_collection, tmp_path / "one.jsonl", *arguments)
    assert len(first) == 36 and all(1 <= len(negatives) <= 8 for negatives in first.values())
    made = (tmp_path / "index" / "index").stat().st_mtime_ns
    assert mine(tiny_collection, tmp_path / "two.jsonl", *arguments) == first
    assert (tmp_path / "index" / "index").stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ([], UsageError, "a source is required"),
        (["--runs", "r", "--groups", "g"], UsageError, "--groups: is a source of its own; give it without --runs"),
        (["--runs", "r", "--last-rank", "3", "--first-rank", "4"], UsageError, "--first-rank 4: must not be above"),
        (["--runs", "r", "--first-rank", "51"], UsageError, "not be above --last-rank 50"),
        (["--runs", "r", "s", "--sampling", "simans"], UsageError, "--sampling simans: needs one source"),
        (["--runs", "r", "--index", "i", "--sampling", "simans"], UsageError, "--sampling simans: needs one source"),
        (["--runs", "r", "--sampling", "best"], UsageError, "argument --sampling: invalid choice: 'best'"),
        (["--runs", "r", "--teacher-scores", "t"], UsageError, "--teacher-scores t: needs --groups"),
        (["--runs", "r", "--group-scores", "t"], UsageError, "--group-scores t: needs --groups"),
        (["--groups", "g", "--teacher-margin", "1"], UsageError, "--teacher-margin 1.0: needs --teacher-scores"),
        (["--groups", "g", "--margin", "1"], UsageError, "--margin: goes by scores; name those in --groups"),
        (["--groups", "g", "--sampling", "simans"], UsageError, "--sampling simans: goes by scores"),
        (["--groups", "nowhere"], DataError, "nowhere: no such"),
        (["--runs", "r", "--relative-margin", "-1"], UsageError, "--relative-margin -1.0: must be at least 0"),
        (["--runs", "r", "--margin", "nan"], UsageError, "--margin nan: must be a finite number"),
        (["--runs", "r", "--simans-a", "-1"], UsageError, "--simans-a -1.0: must be at least 0"),
        (["--runs", "r", "--simans-a", "inf"], UsageError, "--simans-a inf: must be a finite number"),
        (["--runs", "r", "--simans-b", "inf"], UsageError, "--simans-b inf: must be a finite number"),
        (["--runs", "r", "--relative-margin", "inf"], UsageError, "--relative-margin inf: must be a finite number"),
        (["--groups", "g", "--keep-scores"], UsageError, "--keep-scores: not with --groups"),
        (["--runs", "r", "--device", "cpu"], UsageError, "--device: concerns the encoder of --index"),
        (["--groups", "g", "--query-prefix", "q:"], UsageError, "--query-prefix: concerns the encoder of --index"),
        (["--runs", "r", "--query-max-length", "9"], UsageError, "--query-max-length: concerns the encoder"),
        (["--bm25-index", "b", "--max-length", "9"], UsageError, "--max-length: concerns the encoder of --index"),
        (["--runs", "nowhere"], DataError, "nowhere: no such"),
        (["--encoder", "x"], UsageError, "a source is required"),
        (["--runs", "r", "--encoder", "x"], UsageError, "--encoder: needs --index"),
        (["--runs", "r", "--first-rank", "9", "--last-rank", "3"], UsageError, "--first-rank 9"),
        (["--runs", "r", "--split", "tset"], UsageError, "unknown split"),
    ],
)
def test_bad_options(collection, tmp_path, more, error, message):
    with pytest.raises(error, match=message):
        mine(collection, tmp_path / "groups.jsonl", *more)
    assert not (tmp_path / "groups.jsonl").exists()


def test_a_run_of_other_queries(collection, tmp_path):
    run = write_run(tmp_path / "run", {"x": ["d1"]})
    with pytest.raises(DataError, match="holds none of the training queries"):
        mine(collection, tmp_path / "groups.jsonl", "--runs", str(run))


def test_an_existing_output_is_kept(collection, tmp_path):
    (tmp_path / "groups.jsonl").write_text("precious")
    with pytest.raises(DataError, match="already exists"):
        mine(collection, tmp_path / "groups.jsonl", "--runs", "r")
    assert (tmp_path / "groups.jsonl").read_text() == "precious"


def test_a_fault_below_the_last_query_is_found(collection, tmp_path):
    run = write_run(tmp_path / "run", {"a": ["d7"], "b": ["d7"], "c": ["d7"], "x": ["d7"]})
    run.write_text(run.read_text() + "x Q0 d8 2 high x\n")
    with pytest.raises(DataError, match="run:5: score 'high'"):
        mine(collection, tmp_path / "groups.jsonl", "--runs", run)
    assert not (tmp_path / "groups.jsonl").exists()


def test_queries_stand_in_the_order_of_the_topics_whatever_the_run_s(collection, tmp_path):
    rankings = {"a": ["d7", "d8"], "b": ["d9"], "c": ["d10", "d11"]}
    outputs = []
    for number, order in enumerate(("abc", "cba", "bca")):
        run = write_run(tmp_path / f"run{number}", {"x": ["d1"], **{q: rankings[q] for q in order}})
        assert list(mine(collection, tmp_path / f"{number}.jsonl", "--runs", run)) == ["a", "b", "c"]
        outputs.append((tmp_path / f"{number}.jsonl").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_draw_does_not_depend_on_other_queries(collection, tmp_path):
    ranking = [f"d{i}" for i in range(4, 12)]
    options = ("--negatives", 3, "--sampling", "simans", "--margin", -5)
    all_three = write_run(tmp_path / "all", dict.fromkeys("abc", ranking))
    alone = write_run(tmp_path / "alone", {"c": ranking})
    together = mine(collection, tmp_path / "all.jsonl", "--runs", all_three, *options)
    assert mine(collection, tmp_path / "alone.jsonl", "--runs", alone, *options) == {"c": together["c"]}


def test_scores_of_each_source_are_kept_on_request(collection, tmp_path):
    first = write_run(tmp_path / "bm25.trec", {"c": {"d4": 12.25, "d3": 11, "d7": 10}})
    (tmp_path / "other").mkdir()
    second = write_run(tmp_path / "other" / "dense.trec.txt", {"c": {"d7": 0.1, "d9": 0.05}})
    arguments = ("--runs", first, second, "--last-rank", 2)
    mine(collection, tmp_path / "plain.jsonl", *arguments)
    assert "scores" not in (tmp_path / "plain.jsonl").read_text()
    assert mine(collection, tmp_path / "groups.jsonl", *arguments, "--keep-scores") == {"c": ["d4", "d7", "d9"]}
    record = json.loads((tmp_path / "groups.jsonl").read_text())
    assert record["scores"] == {"bm25": {"d4": 12.25, "d3": 11.0}, "dense": {"d7": 0.1, "d9": 0.05}}


def test_runs_of_one_name_are_told_apart(tmp_path):
    from pyserini_sdr.mine.options import MineOptions
    from pyserini_sdr.mine.sources import source_names

    runs = [tmp_path / "one" / "bm25.trec", tmp_path / "two" / "dense.trec"]
    options = MineOptions(tmp_path, tmp_path / "out", runs=runs, index=tmp_path, bm25_index=tmp_path)
    assert source_names(options) == [str(runs[0]), "dense", "index", "bm25"]
