"""What goes wrong in silence elsewhere: each guard of docs/trust.md, and that it is quiet where nothing is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from pyserini_sdr.data.leaks import TrainingQueries
from pyserini_sdr.model import names

from .conftest import Case, Run, refuses
from .material import DENSE, ENCODE, TRAIN, edit_line, write

STEPS = f"{TRAIN} --max-steps 2 --batch-size 8"


def index_with(change) -> None:
    """The vectors of `index`, changed by a function of the array (n, dim)."""
    content = Path("index/index").read_bytes()
    table = np.frombuffer(content[45:], "<f4").reshape(-1, 32).copy()
    Path("index/index").write_bytes(content[:45] + change(table).astype("<f4").tobytes())


def change_weights(folder: str, change) -> None:
    path = Path(folder, "model.safetensors")
    save_file(
        {key: change(key, value).contiguous() for key, value in load_file(path).items()},
        path,
        metadata={"format": "pt"},
    )


def edit_tokenizer(change) -> None:
    path = Path("checkpoint/tokenizer.json")
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def all_lines(name: str, change) -> None:
    records = [json.loads(line) for line in Path(name).read_text().splitlines()]
    for record in records:
        change(record)
    Path(name).write_text("".join(json.dumps(record) + "\n" for record in records))


def test_vectors_that_are_not_normalised(place: Path, run: Run) -> None:
    says = r"index: the vector of 'd0\d\d' has length 3, not 1 as cosine needs it.*verify"
    refuses(Case("", DENSE, says, lambda: index_with(lambda table: 3 * table)), place, run)
    (place / "index" / "sdr_index.json").unlink()  # as stock Pyserini leaves it
    outcome = run(f"{DENSE} --encoder checkpoint")
    assert outcome.status == 0 and "warning: index: the vector of" in outcome.stderr


def test_titles_that_contents_do_not_begin_with(place: Path, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    def strip(record: dict) -> None:
        record["contents"] = record["contents"].removeprefix(record["title"]).strip()

    assert "title" not in run(f"{ENCODE} --precision fp32").stderr
    assert run("collection check collection").status == 0
    all_lines("collection/corpus/part-0.jsonl", strip)
    outcome = run(f"{ENCODE.replace('--embeddings out', '--embeddings out2')} --precision fp32")
    assert "30 of 30 titles are not encoded" in outcome.stderr
    from pyserini_sdr.collection.check import check_collection

    findings = [f.message for f in check_collection("collection").findings if f.kind == "title not in contents"]
    assert len(findings) == 1 and "part-0.jsonl:1: 30 of 30 documents" in findings[0]


@pytest.mark.parametrize("line", [f"{ENCODE} --max-length 2", f"{DENSE} --max-length 3"])
def test_a_length_that_leaves_nothing(place: Path, run: Run, line: str) -> None:
    """[CLS] [SEP], or with them one token of the prefix."""
    if line.startswith("search"):
        write("topics.tsv", "".join(f"{n}\triver ba{n}\n" for n in range(9)))()
        line = line.replace("collection/topics.test.tsv", "topics.tsv")
    refuses(Case("", line, r"all \d+ (documents|queries) have the same tokens.*; give a greater"), place, run)


def test_a_tokenizer_that_knows_no_word(place: Path, run: Run) -> None:
    def forget(tokenizer: dict) -> None:
        words = tokenizer["model"]["vocab"]
        tokenizer["model"]["vocab"] = {w: n for w, n in words.items() if w.startswith("[") or len(w) == 1}

    says = r"\d\d% of the tokens of the documents are unknown to the tokenizer; is it"
    refuses(Case("", ENCODE, says, lambda: edit_tokenizer(forget)), place, run)


def test_a_tokenizer_that_knows_half_of_the_words(place: Path, run: Run) -> None:
    def forget(tokenizer: dict) -> None:
        words = tokenizer["model"]["vocab"]
        kept = {w: n for w, n in words.items() if w.startswith("[") or (n % 2 and not w.startswith("##"))}
        tokenizer["model"]["vocab"] = kept | {w: words[w] for w in ("the", "of", "and", "in")}

    edit_tokenizer(forget)
    outcome = run(ENCODE)
    assert outcome.status == 0
    assert "% of the tokens of the documents are unknown to the tokenizer" in outcome.stderr


def test_documents_of_which_most_are_cut(place: Path, run: Run) -> None:
    assert "are cut at 8 tokens" in run(f"{ENCODE} --max-length 8").stderr


def test_an_encoder_that_has_collapsed(place: Path, run: Run) -> None:
    """Its last layer gives every text the same."""

    def flatten(name: str, tensor):
        if name.endswith("layer.1.output.LayerNorm.weight"):
            return tensor * 1e-6
        return tensor + 1 if name.endswith("layer.1.output.LayerNorm.bias") else tensor

    assert "collapsed" not in run(ENCODE).stderr
    change_weights("checkpoint", flatten)
    outcome = run(ENCODE.replace("--embeddings out", "--embeddings out2"))
    assert "the vectors of 1 chunks are nearly all the same: the encoder has collapsed" in outcome.stderr
    assert (
        "the embeddings have collapsed (query_spread"
        in run(f"{STEPS.replace('--output out', '--output out3')} --dev-split none --logging-steps 1").stderr
    )


def test_training_that_gives_nan(place: Path, run: Run) -> None:
    change_weights(
        "checkpoint", lambda name, tensor: tensor * float("nan") if "layer.1.output.dense" in name else tensor
    )
    outcome = run(f"{STEPS} --dev-split none")
    assert outcome.status == 1 and len(outcome.errors) == 1 and "NaN" in outcome.errors[0]


def test_scores_of_a_teacher_that_do_not_vary(place: Path, run: Run) -> None:
    line = STEPS.replace("groups.jsonl", "scored.jsonl") + " --loss kl --negatives 2"

    def flatten(record: dict) -> None:
        record["scores"]["bm25"] = dict.fromkeys(record["scores"]["bm25"], 1.5)

    assert "the same score" not in run(f"{line} --dev-split none").stderr
    all_lines("scored.jsonl", flatten)
    says = r"scored\.jsonl: teacher 'bm25' gives all documents of a query the same score, for all 18 queries;"
    refuses(Case("", line.replace("--output out", "--output out2"), says), place, run)
    edit_line("scored.jsonl", 1, lambda record: record["scores"]["bm25"].update({record["positives"][0]["id"]: 2.0}))()
    outcome = run(line.replace("--output out", "--output out3") + " --dev-split none")
    assert outcome.status == 0 and "the same score for 17 of 18 queries" in outcome.stderr


def test_dev_queries_that_are_trained_on(place: Path, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert "dev queries are training queries too" not in run(STEPS).stderr
    topics = (place / "collection" / "topics.train.tsv").read_text().splitlines()
    first, second = (line.split("\t")[1] for line in topics[:2])
    dev = (place / "collection" / "topics.dev.tsv").read_text().splitlines()
    near = " ".join(reversed(second.split()))
    lines = [f"{dev[0].split()[0]}\t{first.upper()}!", f"{dev[1].split()[0]}\t{near}", *dev[2:]]
    write("collection/topics.dev.tsv", "".join(f"{line}\n" for line in lines))()
    assert "1 of 6 dev queries are training queries too" in run(STEPS.replace("--output out", "--output out2")).stderr
    from pyserini_sdr.collection.__main__ import COMMAND

    capfd.readouterr()
    COMMAND.execute("collection", ["check", "collection"])
    text = capfd.readouterr().out
    assert "topics.dev.tsv:1: query 'q018' equals training query 'q000'" in text
    assert "topics.dev.tsv:2: query 'q019' has nearly the words of training query 'q001'" in text


def test_near_duplicates_are_those_of_a_comparison_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    words = [f"w{n}" for n in range(12)]

    def queries(prefix: str, count: int) -> dict[str, str]:
        return {f"{prefix}{n}": " ".join(rng.choice(words, rng.integers(1, 9), replace=False)) for n in range(count)}

    train, held = queries("t", 150), queries("h", 150)

    def jaccard(a: str, b: str) -> float:
        return len(set(a.split()) & set(b.split())) / len(set(a.split()) | set(b.split()))

    wanted = {qid for qid, query in held.items() if max(jaccard(query, other) for other in train.values()) >= 0.8}
    found = {leak.qid for leak in TrainingQueries(train).leaks(held)}
    assert found == wanted and 10 < len(found) < 140


def test_a_hub_name_that_leads_to_another_revision(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index tells the weights; the name alone would be the same."""
    revision = place / "snapshots" / "a"
    shutil.copytree(place / "checkpoint", revision)
    monkeypatch.setattr(names, "_download", lambda name, wanted: revision)
    line = ENCODE.replace("encoder checkpoint", "encoder some/model").replace("--embeddings out", "--embeddings hub")
    search = DENSE.replace("--index index", "--index hub")
    assert run(line).status == 0 and run(search.replace("out.trec", "out2.trec")).status == 0
    assert json.loads((place / "hub" / "sdr_index.json").read_text())["encoder"] == "some/model"
    change_weights("snapshots/a", lambda name, tensor: tensor + 0.01)
    says = r"hub: was made by an encoder \(some/model\) that differs from this one in weights .*;"
    refuses(Case("", search, says, status=2), place, run)


def test_a_tokenizer_that_has_changed(place: Path, run: Run) -> None:
    """The weights are the same, and so is the spec."""
    line = f"{DENSE} --encoder checkpoint"
    assert "has changed since" not in run(line.replace("out.trec", "out2.trec")).stderr
    edit_tokenizer(lambda tokenizer: tokenizer["normalizer"].update(lowercase=False))
    outcome = run(line)
    assert outcome.status == 0
    assert "warning: index: the tokenizer or configuration of checkpoint" in outcome.stderr


def test_ids_stay_strings(place: Path, run: Run) -> None:
    """`007` and `7` are two topics, from the topics file to the run."""
    write("topics.tsv", "007\triver riverba\n7\tengine engineba\n0.10\tmusic musicba\n")()
    assert run(f"{DENSE.replace('collection/topics.test.tsv', 'topics.tsv')}").status == 0
    assert {line.split()[0] for line in (place / "out.trec").read_text().splitlines()} == {"007", "7", "0.10"}


def test_a_run_of_other_topics_than_the_judged_ones(place: Path, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """As when ids have lost their zeros on the way."""
    text = (place / "run.trec").read_text()
    write("run.trec", text.replace("q0", "q"))()
    outcome = run("evaluate --qrels qrels.txt --runs run.trec")
    assert outcome.status == 1 and "run.trec: no topic in common with the qrels (run: 'q24'" in outcome.errors[0]
