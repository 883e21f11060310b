"""`teach --train` as a user runs it, on a tiny encoder: learns, selects, resumes, refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.data.store import DocumentStore
from pyserini_sdr.model.cross_encoder import CrossEncoder, logits
from pyserini_sdr.search.__main__ import COMMAND as SEARCH
from pyserini_sdr.teach import finetune as engine
from pyserini_sdr.teach.__main__ import COMMAND
from pyserini_sdr.teach.dev import HeldOutGroups
from pyserini_sdr.teach.lists import OBJECTIVES, ListSource, ListStep, bce, lce
from pyserini_sdr.teach.loading import load_teacher
from pyserini_sdr.trec.measures import score_run

from .make import make_cross_encoder

FAST = ["--precision", "fp32", "--learning-rate", "1e-3", "--batch-size", "12", "--max-length", "48"]


def arguments(collection: Path, groups: Path, encoder: Path, output: Path, *more: object) -> list[str]:
    given = ["--train", "--collection", collection, "--groups", groups, "--encoder", encoder, "--output", output]
    return [str(word) for word in (*given, *FAST, *more)]


def write_run(path: Path, collection: Path, split: str) -> Path:
    """A run that has the relevant document of each topic last of twelve."""
    lines = []
    for line in (collection / f"qrels.{split}.txt").read_text().splitlines():
        qid, _, relevant, _ = line.split()
        others = [f"d{(int(relevant[1:]) * 7 + step) % 60:03d}" for step in range(1, 20)]
        ranked = [*[d for d in dict.fromkeys(others) if d != relevant][:11], relevant]
        lines += [f"{qid} Q0 {docid} {place} {50 - place} x\n" for place, docid in enumerate(ranked, start=1)]
    path.write_text("".join(lines))
    return path


def test_a_fine_tuned_teacher_reranks_better(tiny_collection, tiny_encoder, groups, tmp_path):
    """From a random backbone without a head to a run that is better than the one it reranks.

    On the topics that it has learnt from, with other documents: 36 queries teach a random network no more than that.
    """
    run = write_run(tmp_path / "first.trec", tiny_collection, "train")
    output = tmp_path / "teacher"
    more = ["--max-steps", 90, "--eval-steps", 30, "--micro-batch-size", 999, "--dev-run", run, "--dev-split", "train"]
    COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, output, *more))
    manifest = json.loads((output / "sdr_teach.json").read_text())
    assert manifest["new_head"] and manifest["steps"] == 90 and manifest["pairs"] == 90 * 12 * 8
    assert [entry["step"] for entry in manifest["log"]["dev"]] == [0, 30, 60, 90]
    selection = manifest["selection"]
    best = max(manifest["log"]["dev"][1:], key=lambda entry: entry["ndcg_cut_10"])
    assert (selection["best"], selection["best_step"]) == (best["ndcg_cut_10"], best["step"])
    assert selection["best"] > selection["untrained"] + 0.1
    assert not (tmp_path / "teacher.parts").exists()
    model = AutoModelForSequenceClassification.from_pretrained(output)
    assert model.config.num_labels == 1 and model.config.architectures == ["BertForSequenceClassification"]
    assert isinstance(load_teacher(str(output)), CrossEncoder)

    reranked, split = tmp_path / "reranked.trec", tiny_collection / "topics.train.tsv"
    given = ["--topics", split, "--collection", tiny_collection, "--run", run, "--output", reranked]
    SEARCH.execute("search", ["rerank", "--cross-encoder", str(output), *map(str, given)])
    qrels = {line.split()[0]: {line.split()[2]: 1} for line in (tiny_collection / "qrels.train.txt").open()}
    before, after = (score_run(qrels, path, ["recip_rank"]).mean("recip_rank") for path in (run, reranked))
    assert after > 2 * before


def test_held_out_groups_and_the_other_objective(tiny_collection, tiny_encoder, groups, tmp_path):
    output = tmp_path / "teacher"
    more = ["--objective", "bce", "--epochs", 2, "--negatives", 3, "--dropout", 0]
    COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, output, *more))
    manifest = json.loads((output / "sdr_teach.json").read_text())
    assert manifest["groups"] == 32 and manifest["steps"] == 4  # 36, a tenth held out; 2 batches of 12 an epoch
    assert manifest["pairs"] == 4 * 12 * 4
    assert manifest["selection"]["dev"] == "mean reciprocal rank of the positive in 4 groups that were held out"


def test_the_loss_falls_and_runs_repeat(tiny_collection, cross_encoder, groups, tmp_path):
    for name in ("one", "two"):
        more = ["--max-steps", 20, "--eval-steps", 20, "--batch-size", 6, "--negatives", 3]
        COMMAND.execute("teach", arguments(tiny_collection, groups, cross_encoder, tmp_path / name, *more))
    manifest = json.loads((tmp_path / "one" / "sdr_teach.json").read_text())
    assert not manifest["new_head"]
    first, last = manifest["log"]["steps"]
    assert last["loss"] < first["loss"]
    assert (tmp_path / "one" / "model.safetensors").read_bytes() == (
        tmp_path / "two" / "model.safetensors"
    ).read_bytes()


def test_killed_and_resumed(tiny_collection, tiny_encoder, groups, tmp_path):
    """Killed between two checkpoints; the same command then gives the weights of an uninterrupted run."""
    run = write_run(tmp_path / "run", tiny_collection, "train")
    more = ["--max-steps", 10, "--eval-steps", 4, "--dev-run", run, "--dev-split", "train"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, whole, *more))
    command = arguments(tiny_collection, groups, tiny_encoder, cut, *more)
    killer = (
        "import os, signal, sys\n"
        "from pyserini_sdr.teach.lists import ListStep\n"
        "from pyserini_sdr.teach.__main__ import COMMAND\n"
        "call, calls = ListStep.__call__, []\n"
        "def die(self, *rest):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return call(self, *rest)\n"
        "ListStep.__call__ = die\n"
        "COMMAND.execute('teach', sys.argv[1:])\n"
    )
    killed = subprocess.run([sys.executable, "-c", killer, *command], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    assert not cut.exists() and (tmp_path / "cut.parts" / "checkpoint-4").exists()
    with pytest.raises(DataError, match="an interrupted fine-tuning with another negatives"):
        COMMAND.execute("teach", [*command, "--negatives", "3"])
    COMMAND.execute("teach", command)
    before, after = (json.loads((path / "sdr_teach.json").read_text()) for path in (whole, cut))
    assert after["resumed_after_step"] == 4 and after["pairs"] == before["pairs"]
    assert after["selection"] == before["selection"]
    assert before["selection"]["best_step"] > 4  # or the weights would be those of before the kill
    left, right = (load_file(path / "model.safetensors") for path in (whole, cut))
    assert all(torch.allclose(left[key], right[key], atol=1e-6) for key in left)


def test_cut_between_the_last_step_and_the_files(tiny_collection, tiny_encoder, groups, tmp_path, monkeypatch):
    command = arguments(
        tiny_collection, groups, tiny_encoder, tmp_path / "teacher", "--max-steps", 4, "--eval-steps", 2
    )
    finish = engine._finish
    monkeypatch.setattr(engine, "_finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        COMMAND.execute("teach", command)
    monkeypatch.setattr(engine, "_finish", finish)
    COMMAND.execute("teach", command)
    manifest = json.loads((tmp_path / "teacher" / "sdr_teach.json").read_text())
    assert manifest["steps"] == 4 and manifest["pairs"] == 4 * 12 * 8
    assert [entry["step"] for entry in manifest["log"]["dev"]] == [0, 2, 4]


def test_what_failed_at_once_may_be_changed(tiny_collection, tiny_encoder, groups, tmp_path, monkeypatch):
    """A loss that is not finite, with the advice to lower the rate: the same output takes another rate then."""
    command = arguments(tiny_collection, groups, tiny_encoder, tmp_path / "teacher", "--max-steps", 2)
    with monkeypatch.context() as patch, pytest.raises(SdrError, match="the loss is NaN or infinite"):
        patch.setitem(OBJECTIVES, "lce", lambda scores, mask: scores[:, 0] * torch.nan)
        COMMAND.execute("teach", command)
    assert (tmp_path / "teacher.parts" / "plan.json").exists()
    COMMAND.execute("teach", [*command, "--learning-rate", "1e-5"])
    # and a checkpoint of our own may be replaced
    COMMAND.execute("teach", [*command, "--overwrite"])


def test_a_head_of_three_labels_is_replaced(tiny_collection, tiny_encoder, groups, tmp_path, capsys):
    three = make_cross_encoder(tmp_path / "three", tiny_encoder, labels=3)
    output = tmp_path / "teacher"
    COMMAND.execute("teach", arguments(tiny_collection, groups, three, output, "--max-steps", 1))
    assert "with a new head of one label" in capsys.readouterr().err
    assert CrossEncoder.load(output).model.config.num_labels == 1


def test_the_bundled_encoder_gets_a_head():
    encoder, fresh = engine.load_start("all-MiniLM-L6-v2", device="cpu", precision="fp32")
    assert fresh and encoder.max_length == 256 and encoder.model.config.num_labels == 1
    assert encoder.score([("river", "music")]).shape == (1,)


def test_pieces_give_the_gradients_of_the_whole_batch(cross_encoder, groups, tiny_collection):
    encoder = CrossEncoder.load(cross_encoder, device="cpu", precision="fp32")
    store = DocumentStore(tiny_collection / "corpus", progress=False)
    lists = ListSource(list(read_groups(groups)), store, batch_size=6, steps=9, negatives=4, seed=0)[0]["lists"]
    lists[0] = (lists[0][0], lists[0][1][:3])  # lists of different lengths
    gradients = []
    for size in (1, 7, 1000):
        encoder.model.zero_grad()
        loss = ListStep(encoder, "lce", micro_batch_size=size, bf16=False)(encoder.model, lists, torch.Tensor.backward)
        gradients.append([parameter.grad.clone() for parameter in encoder.model.parameters()])
    encoder.model.zero_grad()
    expected = torch.zeros(())
    for query, documents in lists:
        scores = logits(encoder.model, encoder.inputs(encoder.tokenize([(query, d) for d in documents])))
        expected = expected - scores.log_softmax(0)[0] / len(lists)
    expected.backward()
    assert torch.allclose(loss, expected, atol=1e-4)
    for own in gradients:
        for parameter, gradient in zip(encoder.model.parameters(), own, strict=True):
            assert torch.allclose(parameter.grad, gradient, atol=1e-4, rtol=1e-3)


def test_objectives_against_numpy():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, 5)).astype(np.float32)
    mask = np.array([[column < length for column in range(5)] for length in (5, 2, 3, 1)])
    for row in range(4):
        own = scores[row][mask[row]].astype(np.float64)
        softmax = -np.log(np.exp(own[0]) / np.exp(own).sum())
        binary = np.mean([np.log1p(np.exp(-own[0])), *np.log1p(np.exp(own[1:]))])
        assert float(lce(torch.tensor(scores), torch.tensor(mask))[row]) == pytest.approx(softmax, abs=1e-5)
        assert float(bce(torch.tensor(scores), torch.tensor(mask))[row]) == pytest.approx(binary, abs=1e-5)


def test_draws_depend_on_seed_epoch_and_query_only(groups):
    everything = list(read_groups(groups))
    texts = {f"d{number:03d}": f"text {number}" for number in range(60)}

    def drawn(chosen, start, **changes) -> dict:
        source = ListSource(chosen, texts, **{"batch_size": 4, "steps": 99, "negatives": 3, "seed": 0, **changes})
        source.start = start
        per_epoch = len(chosen) // 4
        return dict(pair for position in range(per_epoch) for pair in source[position]["lists"])

    first = drawn(everything, 0)
    assert len(first) == 36 and all(len(documents) == 4 for documents in first.values())
    assert drawn(everything[:8], 0).items() <= first.items()
    assert drawn(everything, 9) != first and drawn(everything, 0, seed=1) != first
    assert drawn(everything, 9) == drawn(everything, 9)


def test_held_out_ties_count_for_the_negative(groups):
    some = list(read_groups(groups))[:2]
    texts = {f"d{number:03d}": f"text {number}" for number in range(60)}
    dev = HeldOutGroups(some, texts, depth=5)

    class Constant:
        def score(self, pairs):
            assert len(pairs) == 2 * 5
            return np.array([1, 1, 0, 0, 0, 2, 1, 1, 1, 0], dtype=np.float32)

    assert dev(Constant()) == (1 / 2 + 1) / 2


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (["--teacher", "x"], UsageError, "--teacher: not with --train"),
        (["--encoder", "/nowhere/model"], DataError, "/nowhere/model: no such checkpoint"),
        (["--dev-run", "/nowhere/run"], DataError, "/nowhere/run: no such run file"),
        (["--dev-split", "val", "--dev-run", "x"], UsageError, "unknown split 'val'"),
        (["--max-length", "999"], UsageError, "maximum length 999: the model has positions for 128 tokens"),
        (["--device", "cuda:99"], UsageError, "--device cuda:99"),
        (["--objective", "mse"], UsageError, "--objective: invalid choice: 'mse'"),
        (["--epochs", "inf"], UsageError, "--epochs inf: must be a finite number above 0"),
        (["--epochs", "0"], UsageError, "--epochs 0.0: must be a finite number above 0"),
    ],
)
def test_bad_options(tiny_collection, tiny_encoder, groups, tmp_path, more, error, message):
    with pytest.raises(error, match=re.escape(message)):
        COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, tmp_path / "teacher", *more))
    assert not (tmp_path / "teacher").exists()


def test_required_options(groups, tmp_path):
    given = ["--train", "--groups", str(groups), "--output", str(tmp_path / "teacher")]
    with pytest.raises(UsageError, match="--encoder: is required with --train"):
        COMMAND.execute("teach", given)
    with pytest.raises(UsageError, match="--collection: is required with --train"):
        COMMAND.execute("teach", [*given, "--encoder", "x"])


def test_groups_that_do_not_fit(tiny_collection, tiny_encoder, groups, tmp_path):
    lines = groups.read_text().splitlines(True)
    (tmp_path / "groups.jsonl").write_text("".join(lines[:3]).replace('{"id": "d002"}', '{"id": "nope"}'))
    with pytest.raises(DataError, match=r"groups\.jsonl:3: document 'nope' of query 'q002' is not in the corpus"):
        COMMAND.execute("teach", arguments(tiny_collection, tmp_path / "groups.jsonl", tiny_encoder, tmp_path / "t"))
    (tmp_path / "groups.jsonl").write_text(lines[0])
    with pytest.raises(DataError, match="1 queries with a negative, at least 2 are needed"):
        COMMAND.execute("teach", arguments(tiny_collection, tmp_path / "groups.jsonl", tiny_encoder, tmp_path / "t"))


def test_an_existing_output_is_kept(tiny_collection, tiny_encoder, groups, tmp_path):
    output = tmp_path / "teacher"
    output.mkdir()
    (output / "precious").write_text("mine")
    with pytest.raises(DataError, match=r"teacher: already exists"):
        COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, output))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        DataError, match=r"teacher: holds other files and no sdr_teach\.json: --overwrite replaces only"
    ):
        COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, output, "--overwrite"))
    with pytest.raises(DataError, match="is a file, cannot make a directory there"):
        COMMAND.execute("teach", arguments(tiny_collection, groups, tiny_encoder, tmp_path / "file", "--overwrite"))
    assert (output / "precious").read_text() == (tmp_path / "file").read_text() == "mine"
