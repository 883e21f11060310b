"""`mine`: windows, exclusions, merging and reproducibility."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.mine.__main__ import COMMAND


@pytest.fixture
def collection(tmp_path) -> Path:
    folder = tmp_path / "collection"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "contents": f"text {i}"}) + "\n" for i in range(12))
    )
    (folder / "topics.train.tsv").write_text("a\tfirst\nb\tsecond\nc\tthird\n")
    (folder / "train.pairs.tsv").write_text("a\td0\nb\td1\nb\td2\nc\td3\n")
    (folder / "qrels.train.txt").write_text("a 0 d0 1\na 0 d5 1\na 0 d6 0\n")
    (folder / "topics.other.tsv").write_text("z\tlast\n")
    (folder / "qrels.other.txt").write_text("z 0 d9 1\n")
    return folder


def write_run(path: Path, rankings: dict[str, list[str]]) -> Path:
    lines = [f"{q} Q0 {d} {i} {100 - i} x\n" for q, docids in rankings.items() for i, d in enumerate(docids, start=1)]
    path.write_text("".join(lines))
    return path


def mine(collection: Path, output: Path, *more: str) -> dict[str, list[str]]:
    COMMAND.execute("mine", ["--collection", str(collection), "--output", str(output), *more])
    return {group.query_id: [c.id for c in group.negatives] for group in read_groups(output)}


def test_known_positives_are_left_out_and_queries_without_negatives(collection, tmp_path):
    run = write_run(tmp_path / "run", {"a": ["d0", "d5", "d6", "d7"], "b": ["d2", "d1"], "c": ["d3", "d4"]})
    found = mine(collection, tmp_path / "groups.jsonl", "--runs", str(run))
    assert found == {"a": ["d6", "d7"], "c": ["d4"]}  # d5 by the qrels only; b has nothing but positives
    record = json.loads((tmp_path / "groups.jsonl").read_text().splitlines()[0])
    assert record["query"] == "first" and record["positives"] == [{"id": "d0"}]
    manifest = json.loads((tmp_path / "groups.jsonl.json").read_text())
    assert (manifest["groups"], manifest["without_negatives"]) == (2, 1)


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
