"""`train` as a user runs it, on a tiny encoder: learns, selects, resumes, refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.pretrained import load_weights
from pyserini_sdr.train import engine
from pyserini_sdr.train.__main__ import COMMAND as TRAIN

FAST = ["--precision", "fp32", "--learning-rate", "1e-3", "--batch-size", "8", "--query-max-length", "16"]


def arguments(collection: Path, encoder: Path, groups: Path | None, output: Path, *more: str) -> list[str]:
    chosen = ["--groups", str(groups)] if groups else []
    return ["--collection", str(collection), "--encoder", str(encoder), "--output", str(output), *chosen, *FAST, *more]


def kill_after(step: int, command: list[str]) -> None:
    """Runs `train` in another process and kills it, without a chance to tidy up, when `step` steps are done."""
    code = (
        "import os, sys, signal\n"
        "from transformers import TrainerCallback\n"
        "from pyserini_sdr.train import engine\n"
        "class Kill(TrainerCallback):\n"
        "    def on_step_end(self, args, state, control, **kwargs):\n"
        f"        if state.global_step == {step}: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run = engine.SdrTrainer.train\n"
        "def train(self, *a, **k):\n"
        "    self.add_callback(Kill()); return run(self, *a, **k)\n"
        "engine.SdrTrainer.train = train\n"
        "from pyserini_sdr.train.__main__ import COMMAND\n"
        "COMMAND.execute('train', sys.argv[1:])\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_weights(directory)[0].state_dict()


def test_training_learns_and_writes_a_checkpoint(tiny_collection, tiny_encoder, groups, tmp_path):
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output, "--loss", "infonce",
                                     "--max-steps", "60", "--eval-steps", "20"))  # fmt: skip
    manifest = json.loads((output / "sdr_train.json").read_text())
    log = json.loads((output / "train_log.json").read_text())
    assert manifest["selection"]["best"] > manifest["selection"]["untrained"] + 0.1
    assert [entry["step"] for entry in log["dev"]] == [0, 20, 40, 60]
    assert log["steps"][-1]["loss"] < log["steps"][0]["loss"]
    assert manifest["triples"] == 60 * 8
    assert (output / "train_log.png").read_bytes().startswith(b"\x89PNG")
    assert not (output / ".train").exists()
    assert sorted(p.name for p in output.iterdir() if p.name.startswith(".")) == []
    encoder = BiEncoder.load(output)
    assert encoder.spec.query_max_length == 16 and encoder.spec.pooling == "mean"
    assert np.allclose(np.linalg.norm(encoder.encode_queries(["river music"]), axis=1), 1, atol=1e-5)


def test_the_best_checkpoint_is_the_one_that_is_kept(tiny_collection, tiny_encoder, groups, tmp_path):
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output, "--max-steps", "12",
                                     "--eval-steps", "4", "--patience", "0", "--keep-checkpoints"))  # fmt: skip
    best = json.loads((output / "sdr_train.json").read_text())["selection"]["best_step"]
    kept, final = weights(output / ".train" / f"checkpoint-{best}"), weights(output)
    assert all(torch.equal(kept[key], final[key]) for key in kept)


def test_resumed_training_equals_an_uninterrupted_one(tiny_collection, tiny_encoder, groups, tmp_path):
    """Killed after a checkpoint, in another process, without a chance to tidy up; weights of the last step."""
    args = ["--max-steps", "10", "--eval-steps", "4", "--negatives", "3", "--dev-split", "none"]
    whole = tmp_path / "whole"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, whole, *args))
    cut = tmp_path / "cut"
    command = arguments(tiny_collection, tiny_encoder, groups, cut, *args)
    kill_after(6, command)
    assert not (cut / "sdr_train.json").exists()
    TRAIN.execute("train", command)
    before, after = (json.loads((path / "sdr_train.json").read_text()) for path in (whole, cut))
    assert after["resumed_after_step"] == 4 and after["triples"] == before["triples"] == 10 * 8 * 3
    left, right = weights(whole), weights(cut)
    for key in left:
        assert torch.equal(left[key], right[key]), key
    assert any(not torch.equal(left[key], weights(tiny_encoder)[key]) for key in left)


def test_two_processes_train_as_one(tiny_collection, tiny_encoder, groups, tmp_path):
    """Same global batch and dropout: the same weights, selected at the same step; by two in pieces, by one whole."""
    both = ["--max-steps", "9", "--eval-steps", "3", "--weight-decay", "0", "--loss", "distributed-margin", "infonce"]
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, tmp_path / "one", *both))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "pyserini_sdr.train",
               *arguments(tiny_collection, tiny_encoder, groups, tmp_path / "two", *both, "--micro-batch-size", "3")
               ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (json.loads((tmp_path / name / "sdr_train.json").read_text()) for name in ("one", "two"))
    assert one["selection"] == two["selection"] and one["triples"] == two["triples"]
    left, right = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key in left:
        assert torch.allclose(left[key], right[key], atol=1e-5), key
    assert any(not torch.equal(left[key], weights(tiny_encoder)[key]) for key in left)


def test_without_groups_the_encoder_mines_its_own(tiny_collection, tiny_encoder, groups, tmp_path):
    start = tmp_path / "start"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, start, "--max-steps", "2"))
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, start, None, output, "--max-steps", "3"))
    manifest = json.loads((output / "sdr_train.json").read_text())
    assert manifest["groups"] == 36 and manifest["triples"] == 24
    assert "hard" in manifest["selection"]["dev"]


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (["--loss", "triplet"], UsageError, "unknown loss 'triplet'"),
        (["--loss-option", "self-scaled.depth=2"], UsageError, "unknown option of self-scaled 'depth'"),
        (["--negatives", "0", "--loss", "distributed-margin"], UsageError, "needs negatives"),
        (
            ["--negatives", "0", "--loss", "infonce", "--loss-option", "infonce.in_batch=false"],
            UsageError,
            "needs negatives",
        ),
        (["--dev-split", "val"], UsageError, "unknown split 'val'"),
        (["--dev-metric", "ndgc_cut_10"], UsageError, "ndgc_cut_10"),
        (["--batch-size", "1"], UsageError, "--batch-size 1: must be at least 2"),
        (["--encoder", "/nowhere/model"], DataError, "/nowhere/model"),
        (["--groups", "/nowhere/groups.jsonl"], DataError, "no such file"),
        (["--device", "cuda:99"], UsageError, "--device cuda:99"),
    ],
)
def test_bad_options(tiny_collection, tiny_encoder, groups, tmp_path, more, error, message):
    output = tmp_path / "checkpoint"
    with pytest.raises(error, match=re.escape(message)):
        TRAIN.execute("train", [*arguments(tiny_collection, tiny_encoder, groups, output), *more])
    assert not (output / "sdr_train.json").exists()


def test_a_raw_backbone_needs_groups(tiny_collection, tiny_encoder, tmp_path):
    with pytest.raises(UsageError, match="required for a raw backbone"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, None, tmp_path / "checkpoint"))


def test_groups_with_documents_that_the_corpus_lacks(tiny_collection, tiny_encoder, groups, tmp_path):
    bad = tmp_path / "groups.jsonl"
    bad.write_text(groups.read_text().replace('{"id": "d000"}', '{"id": "nope"}'))
    with pytest.raises(DataError, match="first: 'nope'"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, bad, tmp_path / "checkpoint"))


def test_an_existing_output_is_not_overwritten(tiny_collection, tiny_encoder, groups, tmp_path):
    output = tmp_path / "checkpoint"
    output.mkdir()
    (output / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="not empty"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output))
    assert (output / "precious.txt").read_text() == "mine"


def interrupt(command: list[str]) -> None:
    """Runs `train` until its first step, and presses Ctrl-C."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "_run", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            TRAIN.execute("train", command)


def test_an_interrupted_training_with_other_options_is_refused(tiny_collection, tiny_encoder, groups, tmp_path):
    output, other = tmp_path / "checkpoint", tmp_path / "other.jsonl"
    other.write_text(groups.read_text())
    interrupt(arguments(tiny_collection, tiny_encoder, other, output))
    with pytest.raises(DataError, match=r"another groups"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output))
    with pytest.raises(DataError, match=r"another groups, seed"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output, "--seed", "5"))


def test_training_imports_neither_pyserini_nor_a_jvm(tiny_collection, tiny_encoder, groups, tmp_path):
    code = (
        "import sys\n"
        "for name in ('pyserini', 'jnius'): sys.modules[name] = None\n"
        "from pyserini_sdr.train.__main__ import COMMAND\n"
        "COMMAND.execute('train', sys.argv[1:])\n"
    )
    command = arguments(tiny_collection, tiny_encoder, groups, tmp_path / "checkpoint", "--max-steps", "1")
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 29760 vs 29648"),
        RuntimeError("basic_ios::clear: iostream error"),
    ],
)
def test_a_full_disk_is_one_line(tiny_collection, tiny_encoder, groups, tmp_path, monkeypatch, error):
    """The ways in which Python and torch tell of it while a checkpoint is saved."""

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("pyserini_sdr.train.trainer.SdrTrainer._save_checkpoint", fail)
    output = tmp_path / "checkpoint"
    with pytest.raises(DataError, match="no space left on device"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, output, "--max-steps", "1"))
    assert not (output / "sdr_train.json").exists()


def test_early_stopping_survives_an_interruption(tiny_collection, tiny_encoder, groups, tmp_path, monkeypatch):
    """Cut once before it would stop, once between its stop and the final files: the same steps and weights."""
    args = ["--max-steps", "40", "--eval-steps", "2", "--patience", "3"]
    whole = tmp_path / "whole"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, whole, *args))
    steps = json.loads((whole / "sdr_train.json").read_text())["steps"]
    assert 6 <= steps < 40

    cut = tmp_path / "cut"
    command = arguments(tiny_collection, tiny_encoder, groups, cut, *args)
    save, finish = engine.SdrTrainer._save_checkpoint, engine.finish

    def cut_after(step: int):
        def saving(trainer, *rest):
            save(trainer, *rest)
            if trainer.state.global_step == step:
                raise KeyboardInterrupt

        return saving

    monkeypatch.setattr(engine.SdrTrainer, "_save_checkpoint", cut_after(steps - 2))
    with pytest.raises(KeyboardInterrupt):
        TRAIN.execute("train", command)
    monkeypatch.setattr(engine.SdrTrainer, "_save_checkpoint", save)
    monkeypatch.setattr(engine, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        TRAIN.execute("train", command)
    monkeypatch.setattr(engine, "finish", finish)
    TRAIN.execute("train", command)
    manifests = [json.loads((path / "sdr_train.json").read_text()) for path in (whole, cut)]
    for key in ("steps", "triples"):
        assert manifests[0][key] == manifests[1][key]
    assert manifests[0]["selection"]["best_step"] == manifests[1]["selection"]["best_step"]
    left, right = weights(whole), weights(cut)
    assert all(torch.allclose(left[key], right[key], atol=1e-6) for key in left)


def test_groups_need_no_training_split(tiny_collection, tiny_encoder, groups, tmp_path):
    collection = tmp_path / "collection"
    shutil.copytree(tiny_collection, collection)
    for name in ("topics.train.tsv", "qrels.train.txt", "train.pairs.tsv"):
        (collection / name).unlink()
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(collection, tiny_encoder, groups, output, "--max-steps", "1"))
    assert json.loads((output / "sdr_train.json").read_text())["groups"] == 36


def test_a_resumed_training_notices_other_groups_under_the_same_name(tiny_collection, tiny_encoder, groups, tmp_path):
    mine, output = tmp_path / "groups.jsonl", tmp_path / "checkpoint"
    mine.write_text("".join(groups.read_text().splitlines(keepends=True)[1:]))
    interrupt(arguments(tiny_collection, tiny_encoder, mine, output))
    mine.write_text(groups.read_text())
    with pytest.raises(DataError, match="another groups_sha256"):
        TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, mine, output))
