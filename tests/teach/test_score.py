"""Scoring groups: by models and runs, kept scores, windows, resumption, refusals."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.data.store import DocumentStore
from pyserini_sdr.model.cross_encoder import CrossEncoder
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.teach import engine
from pyserini_sdr.teach.__main__ import COMMAND
from pyserini_sdr.teach.teachers import teacher_names

Scores = dict[str, dict[str, dict[str, float]]]


def teach(collection: Path | None, groups: Path, output: Path, *more: object) -> Scores:
    """Scores groups as a user does; query id → teacher → document → score."""
    chosen = ["--collection", collection] if collection else []
    arguments = [*chosen, "--groups", groups, "--output", output, "--precision", "fp32", *more]
    assert COMMAND.execute("teach", [str(argument) for argument in arguments]) == 0
    return {group.query_id: group.scores for group in read_groups(output)}


def write_run(path: Path, groups: Path, leave_out: str | None = None) -> Path:
    """A run that scores every document of every group by the number in its id, and others beside."""
    lines = []
    for group in read_groups(groups):
        ids = [candidate.id for candidate in (*group.positives, *group.negatives)] + ["other"]
        kept = [id for id in ids if id != leave_out]
        lines += [f"{group.query_id} Q0 {id} 1 {10 if id == 'other' else 100 + int(id[1:])} x\n" for id in kept]
    path.write_text("".join(lines))
    return path


def test_cross_encoder_bi_encoder_and_run(tiny_collection, groups, cross_encoder, bi_encoder, tmp_path):
    run = write_run(tmp_path / "bm25.trec", groups)
    output = tmp_path / "scored.jsonl"
    scores = teach(tiny_collection, groups, output, "--teacher", cross_encoder, bi_encoder, "--run", run, "--window", 7)
    store = DocumentStore(tiny_collection / "corpus", progress=False)
    cross = CrossEncoder.load(cross_encoder, precision="fp32")
    bi = BiEncoder.load(bi_encoder, precision="fp32")
    assert len(scores) == 36
    for group in list(read_groups(groups))[::5]:
        ids = [candidate.id for candidate in (*group.positives, *group.negatives)]
        texts = [store[id] for id in ids]
        own = scores[group.query_id]
        assert list(own) == [cross_encoder.name, bi_encoder.name, "bm25"]
        expected = cross.score([(group.query, text) for text in texts])
        np.testing.assert_allclose([own[cross_encoder.name][id] for id in ids], expected, atol=1e-4)
        similarity = bi.encode_documents(texts) @ bi.encode_queries([group.query])[0]
        np.testing.assert_allclose([own[bi_encoder.name][id] for id in ids], similarity, atol=1e-5)
        assert own["bm25"] == {id: 100 + int(id[1:]) for id in ids}
    manifest = json.loads((tmp_path / "scored.jsonl.json").read_text())
    assert (manifest["groups"], manifest["pairs"], manifest["resumed_windows"]) == (36, 36 * 9, 0)
    assert manifest["teachers"][cross_encoder.name]["weights"] == cross.fingerprint
    assert manifest["scoring_seconds"] > 0 and manifest["inputs"][0]["path"] == str(groups)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bm25.trec", "scored.jsonl", "scored.jsonl.json"]


def test_a_window_encodes_each_document_once(tiny_collection, groups, bi_encoder, tmp_path, monkeypatch):
    encode, counts = BiEncoder.encode_documents, []

    def counting(self, documents, **options):
        counts.append((len(documents), len(set(documents))))
        return encode(self, documents, **options)

    monkeypatch.setattr(BiEncoder, "encode_documents", counting)
    teach(tiny_collection, groups, tmp_path / "scored.jsonl", "--teacher", bi_encoder, "--window", 20)
    assert len(counts) == 2 and all(given == distinct <= 60 for given, distinct in counts)


def test_texts_of_their_own_and_kept_scores(cross_encoder, tmp_path):
    record = {
        "query_id": "1",
        "query": "river bado",
        "positives": [{"id": "x", "text": "river music"}],
        "negatives": [{"text": "engine"}, {"text": "garden"}],
        "scores": {"old": {"x": 1.5}},
    }
    (tmp_path / "groups.jsonl").write_text(json.dumps(record) + "\n")
    more = ["--teacher", cross_encoder, "--name", "n"]
    scores = teach(None, tmp_path / "groups.jsonl", tmp_path / "scored.jsonl", *more)
    group = next(read_groups(tmp_path / "scored.jsonl"))
    assert scores["1"]["old"] == {"x": 1.5}
    assert set(scores["1"]["n"]) == {candidate.key for candidate in (*group.positives, *group.negatives)}
    with pytest.raises(DataError, match=r"scored\.jsonl:1: query '1' has scores of 'n' already; --overwrite-scores"):
        teach(None, tmp_path / "scored.jsonl", tmp_path / "b.jsonl", *more)
    again = teach(
        None, tmp_path / "scored.jsonl", tmp_path / "b.jsonl", "--teacher", cross_encoder, "--name", "old",
        "--overwrite-scores",
    )  # fmt: skip
    assert again["1"]["old"] == again["1"]["n"] == scores["1"]["n"]


def test_what_a_run_lacks(groups, tmp_path):
    run = write_run(tmp_path / "run.trec.gz.trec", groups, leave_out="d003")
    with pytest.raises(DataError, match=r"lacks document 'd003' of query 'q\d+'; search deeper, --missing lowest"):
        teach(None, groups, tmp_path / "a.jsonl", "--run", run)
    lowest = teach(None, groups, tmp_path / "a.jsonl", "--run", run, "--missing", "lowest", "--name", "r")
    skipped = teach(None, groups, tmp_path / "c.jsonl", "--run", run, "--missing", "skip", "--name", "r")
    holders = [qid for qid, own in lowest.items() if "d003" in own["r"]]
    assert "q003" in holders
    for qid in holders:
        assert lowest[qid]["r"]["d003"] == 10  # of a document that is in no group
        assert skipped[qid]["r"] == {id: score for id, score in lowest[qid]["r"].items() if id != "d003"}


def test_a_query_that_a_run_lacks(groups, tmp_path):
    run = write_run(tmp_path / "run", groups)
    run.write_text("".join(line for line in run.read_text().splitlines(True) if not line.startswith("q005 ")))
    for missing in ("error", "lowest"):
        with pytest.raises(DataError, match="lacks the query 'q005'; --missing skip"):
            teach(None, groups, tmp_path / "a.jsonl", "--run", run, "--missing", missing, "--overwrite")
    scores = teach(None, groups, tmp_path / "a.jsonl", "--run", run, "--missing", "skip", "--overwrite")
    assert scores["q005"] == {} and len(scores["q006"]["run"]) == 9
    run.write_text("nobody Q0 d1 1 1 x\n")
    with pytest.raises(DataError, match="run: holds none of the groups' queries"):
        teach(None, groups, tmp_path / "b.jsonl", "--run", run)


KILLER = (
    "import os, signal, sys\n"
    "from pyserini_sdr.teach import engine\n"
    "from pyserini_sdr.teach.__main__ import COMMAND\n"
    "write = engine.write_groups\n"
    "def die(path, groups):\n"
    "    if path.name == '000002.jsonl':\n"
    "        os.kill(os.getpid(), signal.SIGKILL)\n"
    "    return write(path, groups)\n"
    "engine.write_groups = die\n"
    "COMMAND.execute('teach', sys.argv[1:])\n"
)


def test_killed_and_resumed(tiny_collection, groups, cross_encoder, tmp_path, monkeypatch):
    name = "scored.jsonl.gz"
    whole, cut = tmp_path / "whole" / name, tmp_path / "cut" / name
    given = ["--teacher", cross_encoder, "--window", 10, "--collection", tiny_collection, "--groups", groups]
    arguments = [str(word) for word in (*given, "--precision", "fp32", "--output")]
    COMMAND.execute("teach", [*arguments, str(whole)])
    killed = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments, str(cut)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not cut.exists()
    assert len(list((cut.parent / f"{name}.parts").glob("0*.jsonl"))) == 2
    with pytest.raises(DataError, match="unfinished scores with another window"):
        COMMAND.execute("teach", [*arguments, str(cut), "--window", "11"])
    scored: list[int] = []
    score = CrossEncoder.score
    monkeypatch.setattr(CrossEncoder, "score", lambda self, pairs, *_: scored.append(len(pairs)) or score(self, pairs))
    COMMAND.execute("teach", [*arguments, str(cut)])
    assert scored == [90, 54]
    assert cut.read_bytes() == whole.read_bytes()
    manifest = json.loads(cut.with_name(f"{name}.json").read_text())
    assert manifest["resumed_windows"] == 2
    assert sorted(path.name for path in cut.parent.iterdir()) == [name, f"{name}.json"]


def test_other_groups_under_the_same_name_are_noticed(groups, tmp_path, monkeypatch):
    run, own = write_run(tmp_path / "run", groups), tmp_path / "groups.jsonl"
    own.write_text(groups.read_text())
    interrupted(monkeypatch, None, own, tmp_path / "scored.jsonl", "--run", run)
    own.write_text("".join(own.read_text().splitlines(True)[1:]))
    with pytest.raises(DataError, match="unfinished scores with another groups_sha256"):
        teach(None, own, tmp_path / "scored.jsonl", "--run", run)
    assert len(teach(None, own, tmp_path / "scored.jsonl", "--run", run, "--overwrite")) == 35


def interrupted(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    """`teach`, stopped when all windows are there."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engine, "_join", interrupt)
        teach(*arguments)


def test_triples_are_not_resumed_with_other_queries(tmp_path, monkeypatch):
    collection = tmp_path / "collection"
    (collection / "corpus").mkdir(parents=True)
    (collection / "corpus" / "part.jsonl").write_text('{"id": "d1", "contents": "x"}\n')
    (collection / "topics.train.tsv").write_text("1\tfirst\n")
    (collection / "topics.dev.tsv").write_text("1\tanother\n")
    (tmp_path / "in.tsv").write_text("2\t1\t1\td1\td2\n")
    (tmp_path / "r").write_text("1 Q0 d1 1 2 x\n1 Q0 d2 2 1 x\n")
    output = tmp_path / "out.jsonl"
    given = (collection, tmp_path / "in.tsv", output, "--run", tmp_path / "r")
    interrupted(monkeypatch, *given)
    with pytest.raises(DataError, match="unfinished scores with another split, topics_sha256"):
        teach(*given, "--split", "dev")
    (collection / "topics.train.tsv").write_text("1\tchanged\n")
    with pytest.raises(DataError, match="unfinished scores with another topics_sha256"):
        teach(*given)
    teach(*given, "--overwrite")
    assert next(read_groups(output)).query == "changed"


def test_a_corpus_that_changes_is_noticed(tiny_collection, groups, bi_encoder, tmp_path, monkeypatch):
    collection = tmp_path / "collection"
    shutil.copytree(tiny_collection, collection)
    given = (collection, groups, tmp_path / "scored.jsonl", "--teacher", bi_encoder)
    interrupted(monkeypatch, *given)
    path = collection / "corpus" / "part-0.jsonl"
    path.write_text(path.read_text()[::-1].replace("a", "o", 1)[::-1])  # as long as before
    with pytest.raises(DataError, match="unfinished scores with another corpus"):
        teach(*given)


def test_a_tsv_needs_negatives(tmp_path):
    (tmp_path / "groups.jsonl").write_text('{"query_id": "1", "query": "q", "positives": [{"id": "d1"}]}\n')
    with pytest.raises(DataError, match=r"no query has a negative, and a \.tsv holds pairs"):
        COMMAND.execute(
            "teach", ["--groups", f"{tmp_path}/groups.jsonl", "--output", f"{tmp_path}/o.tsv", "--run", "never-read"]
        )


def test_an_existing_output_is_kept(groups, tmp_path):
    (tmp_path / "scored.jsonl").write_text("precious")
    with pytest.raises(DataError, match=r"scored\.jsonl: already exists"):
        teach(None, groups, tmp_path / "scored.jsonl", "--run", "nowhere")
    assert (tmp_path / "scored.jsonl").read_text() == "precious"


def test_a_document_that_the_corpus_lacks(tiny_collection, groups, cross_encoder, tmp_path):
    lines = groups.read_text().splitlines(True)
    lines[4] = lines[4].replace('{"id": "d004"}', '{"id": "nope"}')
    (tmp_path / "groups.jsonl").write_text("".join(lines))
    with pytest.raises(DataError, match=r"groups\.jsonl:5: document 'nope' of query 'q004' is not in the corpus"):
        teach(tiny_collection, tmp_path / "groups.jsonl", tmp_path / "scored.jsonl", "--teacher", cross_encoder)


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ([], UsageError, "--teacher: is required, or a --run"),
        (["--teacher", "{cross}"], UsageError, "--collection: is required, {groups} has documents without a text"),
        (["--teacher", "{cross}", "{cross}"], UsageError, "two teachers are called 'cross0'; tell them apart"),
        (["--teacher", "{cross}", "--name", "a", "b"], UsageError, "--name a b: 2 names for 1 teachers and runs"),
        (["--teacher", "/nowhere/model", "--collection", "{collection}"], DataError, "/nowhere/model: no such"),
        (["--run", "/nowhere/run"], DataError, "/nowhere/run: no such run file"),
        (["--encoder", "x", "--run", "y"], UsageError, "--encoder: only with --train"),
        (["--teacher", "{raw}", "--collection", "{collection}"], DataError, "neither a cross-encoder"),
        (["--groups", "/nowhere.jsonl", "--run", "y"], DataError, "/nowhere.jsonl: no such file"),
    ],
)
def test_bad_options(tiny_collection, tiny_encoder, groups, cross_encoder, tmp_path, more, error, message):
    named = {"cross": tmp_path / "cross0", "collection": tiny_collection, "raw": tiny_encoder, "groups": groups}
    named["cross"].symlink_to(cross_encoder)
    with pytest.raises(error, match=re.escape(message.format(**named))):
        teach(None, groups, tmp_path / "scored.jsonl", *(word.format(**named) for word in more))
    assert not (tmp_path / "scored.jsonl").exists()


def test_names():
    runs = [Path("a/bm25.trec.gz"), Path("dense.run"), Path("plain")]
    found = teacher_names(["models/ce/", "cross-encoder/ms-marco-MiniLM-L6-v2"], runs, None)
    assert found == ["ce", "ms-marco-MiniLM-L6-v2", "bm25", "dense", "plain"]
    with pytest.raises(UsageError, match="two teachers are called 'bm25'"):
        teacher_names([], [Path("a/bm25.trec"), Path("b/bm25.trec")], None)
    with pytest.raises(UsageError, match="must not be empty"):
        teacher_names(["a"], [], [" "])
