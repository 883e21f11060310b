"""What lies at a path: every kind, whole, unfinished and damaged."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pyserini_sdr.doctor.finding import Teller
from pyserini_sdr.doctor.paths import check_path

from ..faults.conftest import material, place  # noqa: F401 (fixtures)
from ..faults.material import cut, edit, remove, write

TELLER = Teller(io.StringIO())


@pytest.mark.parametrize(
    ("name", "summary"),
    [
        ("collection", "a collection: 30 documents, 18 train topics, 6 dev topics, 6 test topics"),
        ("checkpoint", "an encoder, not made here: mean pooling, cosine, dimension 32, lengths "),
        ("index", "an index, flat, 30 vectors of dimension 32, of "),
        ("sq8", "an index, sq8, 30 vectors"),
        ("groups.jsonl", "groups: 18"),
        ("run.trec", "a run: 6 topics; `run check`"),
        ("run.trec.json", "tells how run.trec was made (run)"),
        ("qrels.txt", "judgements of 6 topics"),
        ("checkpoint/model.safetensors", "weights, "),
        ("collection/corpus/part-0.jsonl", "documents: "),
        ("collection/topics.test.tsv", "6 topics"),
        ("collection/train.pairs.tsv", "training pairs: "),
    ],
)
def test_what_is_whole(name: str, summary: str, place: Path):  # noqa: F811
    check = check_path(Path(name), TELLER)
    assert (check.status, check.remedy) == ("ok", None), check
    assert check.summary.startswith(summary) or summary in check.summary, check.summary


def test_a_list_is_whole_too(place: Path):  # noqa: F811
    Path("modules.json").write_text("[]")
    assert check_path(Path("modules.json"), TELLER).summary == "a JSON file"


@pytest.mark.parametrize(
    ("name", "damage", "status", "summary"),
    [
        ("nowhere", None, "failure", "there is no such file"),
        ("new", lambda: Path("new").mkdir(), "warning", "is empty"),
        ("other", write("other/notes.txt", "x"), "warning", "holds nothing that a command here makes"),
        ("notes.txt", write("notes.txt", "two words\n"), "warning", "is of no known layout: 'two words'"),
        ("none.trec", write("none.trec", ""), "failure", "is empty"),
        ("pid.tsv", write("pid.tsv", "7\tfour words, a text\n"), "warning", "is of no known layout"),
        ("modules.json", write("modules.json", "[1"), "failure", "invalid JSON"),
        ("collection/topics.test.tsv", write("collection/topics.test.tsv", "q\n"), "failure", "no tab"),
        ("corpus.jsonl", write("corpus.jsonl", '{"id": "d"}\n'), "failure", "contents"),
        (".out.partial-1234abcd", write(".out.partial-1234abcd", "x"), "warning", "temporary"),
        ("out", write("out/.train/checkpoint-2/x", ""), "warning", "an unfinished training with 1 checkpoints"),
        ("out", write("out/.encode/00000.json", "{}"), "warning", "an unfinished encoding, 1 chunks done"),
        ("out", write("out/.index.partial/x", ""), "warning", "an unfinished index"),
        ("index", cut("index/docid"), "failure", "ids"),
        ("index", cut("index/index"), "failure", ""),
        ("index", write("index/sdr_index.json", "{"), "failure", "invalid JSON"),
        ("index", remove("index/docid"), "failure", "holds no index"),
        ("checkpoint", cut("checkpoint/model.safetensors"), "failure", "model.safetensors is damaged"),
        ("checkpoint", remove("checkpoint/model.safetensors"), "failure", "without weights"),
        ("checkpoint", remove("checkpoint/config.json"), "failure", "without config.json"),
        ("checkpoint", remove("checkpoint/tokenizer.json"), "failure", "without its tokenizer"),
        ("checkpoint", edit("checkpoint/sdr_encoder.json", pooling="max"), "failure", "pooling 'max'"),
        ("encoder", None, "warning", "a backbone, not made here: nothing tells its pooling"),
        ("collection", remove("collection/corpus"), "failure", "no corpus here"),
        ("collection", write("collection/corpus/part-0.jsonl", "[]\n"), "failure", "expected a JSON object"),
        ("groups.jsonl", cut("groups.jsonl"), "failure", "JSON"),
        ("run.trec", write("run.trec", "q Q0 d 1 high x\n"), "failure", "high"),
        ("qrels.txt", write("qrels.txt", "q 0 d much\n"), "failure", "much"),
    ],
)
def test_what_is_not(name: str, damage, status: str, summary: str, place: Path):  # noqa: F811
    if damage is not None:
        damage()
    check = check_path(Path(name), TELLER)
    assert (check.status, check.name) == (status, name), check
    assert summary in check.summary, check.summary
    assert check.remedy
