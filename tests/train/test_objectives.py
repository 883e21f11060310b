"""`train` with teachers, adapters, several collections, fresh negatives and a document tower, as a user runs it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.encode.__main__ import COMMAND as ENCODE
from pyserini_sdr.losses import LOSSES
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.pretrained import load_weights
from pyserini_sdr.model.spec import EncoderSpec
from pyserini_sdr.search.searcher import Searcher
from pyserini_sdr.train.__main__ import COMMAND as TRAIN
from pyserini_sdr.train.assemble import _cluster
from pyserini_sdr.train.batches import Source
from pyserini_sdr.train.options import TrainOptions
from pyserini_sdr.train.sampling import cluster_queries

from ..teach.make import make_cross_encoder
from ..tiny import make_tiny_encoder
from .test_train import arguments, kill_after, weights


@pytest.fixture(scope="module")
def start(tiny_collection, tiny_encoder, groups, tmp_path_factory) -> Path:
    """The tiny backbone as an encoder of ours, without dropout."""
    bare = tmp_path_factory.mktemp("bare")
    backbone, tokenizer = load_weights(tiny_encoder)
    backbone.config.hidden_dropout_prob = backbone.config.attention_probs_dropout_prob = 0.0
    backbone.save_pretrained(bare)
    tokenizer.save_pretrained(bare)
    output = tmp_path_factory.mktemp("start") / "encoder"
    TRAIN.execute("train", arguments(tiny_collection, bare, groups, output, "--max-steps", "5", "--dev-split", "none"))
    return output


@pytest.fixture(scope="module")
def scored(groups, tmp_path_factory) -> Path:
    """The groups with scores of two made-up teachers that like positives."""
    path = tmp_path_factory.mktemp("scored") / "groups.jsonl"
    rng = np.random.default_rng(3)
    with path.open("w") as out:
        for line in groups.read_text().splitlines():
            group = json.loads(line)
            tables = {}
            for name in ("strong", "weak"):
                tables[name] = {c["id"]: float(rng.normal()) for c in group["negatives"]}
                tables[name] |= {c["id"]: 4.0 + float(rng.normal()) for c in group["positives"]}
            out.write(json.dumps(group | {"scores": tables}) + "\n")
    return path


@pytest.mark.parametrize("name", list(LOSSES))
def test_every_loss_trains(tiny_collection, start, scored, tmp_path, name):
    """One flag changes the objective; teachers are stored where that is enough, and the encoder's own start else."""
    teachers = {"tct": [start], "tas-b": ["strong", start]}.get(name, ["strong", "weak"])
    if name in ("embed-distill", "comparative", "lelp", "lead", "lwf"):
        teachers = [start]
    if name in (
        "margin-mse",
        "ranknet",
        "hinge-order",
        "lambda-mrr",
        "kl",
        "ckl",
        "listnet",
        "rankdistil",
        "nkd",
        "ctkd",
    ):
        teachers = ["strong"]
    teaching = [] if name.endswith("margin") or name in _ALONE else ["--teacher", *map(str, teachers)]
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, start, scored, output, "--loss", name, "--negatives", "3",
                                     "--max-steps", "2", "--dev-split", "none", "--weight-decay", "0",
                                     *teaching))  # fmt: skip
    before, after = weights(start), weights(output)
    assert any(not torch.equal(before[key], after[key]) for key in before)
    log = json.loads((output / "train_log.json").read_text())
    assert np.isfinite([entry["loss"] for entry in log["steps"]]).all()


_ONE_STORED = (
    *("margin-mse", "ranknet", "hinge-order", "lambda-mrr", "kl", "ckl", "listnet", "rankdistil", "nkd", "ctkd"),
)
_ALONE = ("infonce", "lce", "full-contrastive", "self-scaled", "bixse", "tf-nkd", "osakd", "document-targets",
          "adaptive-softmax")  # fmt: skip


def test_list_losses_tells_formula_needs_options_and_paper(capsys):
    assert TRAIN.execute("train", ["--list-losses"]) == 0
    text = capsys.readouterr().out
    for name in LOSSES:
        block = re.search(rf"^{re.escape(name)}\n(    .*\n?)+", text, re.M)
        assert block, name
        assert "from: " in block[0] and "needs: " in block[0]
    assert "needs: negatives, scores of two teachers or more" in text and "kl.teacher_temperature=1.0  (float)" in text


def test_adapters_are_trained_merged_and_resumed(tiny_collection, start, groups, tmp_path):
    args = ["--lora-rank", "2", "--max-steps", "6", "--eval-steps", "3", "--dev-split", "none"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    TRAIN.execute("train", arguments(tiny_collection, start, groups, whole, *args))
    before, after = weights(start), weights(whole)
    assert before.keys() == after.keys()  # an ordinary checkpoint
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed and all("weight" in key and "embeddings" not in key for key in changed)
    kill_after(4, arguments(tiny_collection, start, groups, cut, *args))
    TRAIN.execute("train", arguments(tiny_collection, start, groups, cut, *args))
    assert json.loads((cut / "sdr_train.json").read_text())["resumed_after_step"] == 3
    resumed = weights(cut)
    assert all(torch.allclose(after[key], resumed[key], atol=1e-6) for key in after)


def test_fresh_negatives_come_from_the_encoder_as_it_is_and_survive_a_kill(tiny_collection, start, groups, tmp_path):
    args = ["--refresh-negatives", "3", "--max-steps", "8", "--eval-steps", "4", "--dev-split", "none",
            "--keep-checkpoints"]  # fmt: skip
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    TRAIN.execute("train", arguments(tiny_collection, start, groups, whole, *args))
    mined = sorted(path.name for path in (whole / ".train" / "mined").iterdir())
    assert mined == ["refreshed-3", "refreshed-6"]
    third, sixth = (
        (whole / ".train" / "mined" / name / "0" / "groups.jsonl").read_text()
        for name in ("refreshed-3", "refreshed-6")
    )
    assert third != groups.read_text() and third.count("\n") == sixth.count("\n") == 36
    assert json.loads((whole / "sdr_train.json").read_text())["mining_seconds"] > 0
    kill_after(7, arguments(tiny_collection, start, groups, cut, *args))
    TRAIN.execute("train", arguments(tiny_collection, start, groups, cut, *args))
    left, right = weights(whole), weights(cut)
    assert all(torch.allclose(left[key], right[key], atol=1e-6) for key in left)


def test_two_processes_refresh_as_one(tiny_collection, start, groups, tmp_path):
    args = ["--refresh-negatives", "2", "--max-steps", "4", "--dev-split", "none", "--weight-decay", "0"]
    TRAIN.execute("train", arguments(tiny_collection, start, groups, tmp_path / "one", *args))
    command = arguments(tiny_collection, start, groups, tmp_path / "two", *args)
    assert _torchrun(command) == 0
    left, right = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(left[key], right[key], atol=1e-5) for key in left)


def test_queries_learn_towards_a_frozen_document_tower(tiny_collection, start, groups, tmp_path):
    output, index = tmp_path / "queries", tmp_path / "index"
    TRAIN.execute("train", arguments(tiny_collection, start, groups, output, "--document-tower", str(start), "--loss",
                                     "infonce", "--max-steps", "6"))  # fmt: skip
    spec = EncoderSpec.from_dict(json.loads((output / "sdr_encoder.json").read_text()), output)
    assert spec.queries_only and Path(spec.document_encoder) == start.resolve()
    encode = ["input", "--corpus", str(tiny_collection / "corpus"), "output", "--embeddings", str(index), "--to-faiss"]
    with pytest.raises(UsageError, match="encodes queries only; encode documents with"):
        ENCODE.execute("encode", [*encode, "encoder", "--encoder", str(output)])
    ENCODE.execute("encode", [*encode, "encoder", "--encoder", str(start)])
    searcher = Searcher(index, str(output))
    vectors = BiEncoder.load(output).encode_queries(["river music"])
    assert np.allclose(searcher.encoder.encode_queries(["river music"]), vectors)
    other, wrong = tmp_path / "other", tmp_path / "wrong"
    TRAIN.execute("train", arguments(tiny_collection, start, groups, other, "--max-steps", "1", "--dev-split", "none"))
    ENCODE.execute(
        "encode", [*encode[:4], "--embeddings", str(wrong), "--to-faiss", "encoder", "--encoder", str(other)]
    )
    with pytest.raises(UsageError, match=r"the document encoder of this one \(.*weights"):
        Searcher(wrong, str(output))
    short = tmp_path / "short"
    ENCODE.execute("encode", [*encode[:4], "--embeddings", str(short), "--to-faiss", "encoder", "--encoder", str(start),
                              "--max-length", "8"])  # fmt: skip
    with pytest.raises(UsageError, match="document_max_length 8"):
        Searcher(short, str(output))
    again = arguments(tiny_collection, output, groups, tmp_path / "again", "--max-steps", "1")
    with pytest.raises(UsageError, match="encodes queries only; give --document-tower"):
        TRAIN.execute("train", again)
    with pytest.raises(UsageError, match=r"--document-tower .*: must be an encoder of documents"):
        TRAIN.execute("train", [*again, "--document-tower", str(output)])
    TRAIN.execute("train", [*again, "--document-tower", str(start)])


def test_a_document_tower_must_fit(tiny_collection, start, groups, tmp_path):
    other = tmp_path / "dot"
    shutil.copytree(start, other)
    spec = EncoderSpec.from_dict(json.loads((other / "sdr_encoder.json").read_text()), other)
    dataclasses.replace(spec, similarity="dot").save(other)
    with pytest.raises(UsageError, match=r"--document-tower .*: similarity dot, the encoder has cosine"):
        TRAIN.execute(
            "train", arguments(tiny_collection, start, groups, tmp_path / "x", "--document-tower", str(other))
        )


def test_several_collections_with_weights(tiny_collection, start, groups, tmp_path, capsys):
    second = tmp_path / "second:2"  # a path that exists is a path, whatever it looks like
    shutil.copytree(tiny_collection, second)
    output = tmp_path / "checkpoint"
    command = arguments(tiny_collection, start, groups, output, "--max-steps", "4", "--dev-split", "none")
    command[1:2] = [f"{tiny_collection}:3", str(second)]
    with pytest.raises(UsageError, match="--groups: 1 files for 2 collections"):
        TRAIN.execute("train", command)
    place = command.index("--groups")
    command[place + 1 : place + 2] = [str(groups), str(groups)]
    TRAIN.execute("train", command)
    assert "training on 36 + 36 queries" in capsys.readouterr().err
    manifest = json.loads((output / "sdr_train.json").read_text())
    assert manifest["groups"] == 72 and manifest["triples"] == 32


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--matryoshka", "4096"], "--matryoshka 4096: the embeddings have"),
        (["--clusters", "4"], "--clusters: needs --batching topics"),
        (["--cluster-encoder", "x"], "--cluster-encoder: needs --batching topics"),
        (["--teacher-dropout", "0.1"], "--teacher-dropout: there is no live bi-encoder"),
        (["--loss", "kl", "--loss-option", "kl.teacher=-2"], "teacher -2: must be 0"),
        (["--batching", "topics", "--clusters", "400"], "--clusters 400: there are 36 training queries"),
        (["--loss", "kl"], "--loss kl: needs teacher scores"),
        (["--loss", "kl", "--negatives", "0"], "--loss kl: needs negatives"),
        (["--loss", "hinge-order", "--loss-option", "hinge-order.positives=false"], "--negatives at least 2"),
        (["--negative-sampling", "balanced-margins", "--negatives", "0"], "draws one positive and its negatives"),
        (["--lora-alpha", "8"], "--lora-alpha: needs --lora-rank"),
        (["--document-tower", "x", "--max-length", "9"], "--max-length: documents are encoded as --document-tower"),
        (["--loss", "kl", "--teacher", "nobody"], "--teacher nobody"),
        (["--negative-sampling", "balanced-margins"], "needs teacher scores"),
    ],
)
def test_bad_options(tiny_collection, start, groups, tmp_path, more, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        TRAIN.execute("train", [*arguments(tiny_collection, start, groups, tmp_path / "checkpoint"), *more])


def test_a_loss_without_a_teacher_stops_before_negatives_are_mined(tiny_collection, start, tmp_path):
    output = tmp_path / "checkpoint"
    with pytest.raises(UsageError, match="--loss kl: needs a teacher; give --teacher CHECKPOINT"):
        TRAIN.execute("train", arguments(tiny_collection, start, None, output, "--loss", "kl"))
    assert not output.exists()


def test_an_interrupted_training_with_another_teacher_under_the_same_name_is_refused(
    tiny_collection,
    start,
    groups,
    tmp_path,
):
    teacher, output = tmp_path / "teacher", tmp_path / "checkpoint"
    shutil.copytree(start, teacher)
    command = arguments(tiny_collection, start, groups, output, "--loss", "tct", "--teacher", str(teacher),
                        "--max-steps", "4", "--eval-steps", "2", "--dev-split", "none")  # fmt: skip
    kill_after(3, command)
    state = {key: value + 0.01 for key, value in weights(teacher).items()}
    save_file(state, teacher / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="another teachers"):
        TRAIN.execute("train", command)


def test_parameters_of_losses_learn_at_their_own_rate(tiny_collection, start, scored, tmp_path):
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, start, scored, output, "--loss", "ctkd", "--teacher", "strong",
                                     "--max-steps", "10", "--eval-steps", "10", "--learning-rate", "1e-7",
                                     "--loss-learning-rate", "0.1", "--logging-steps", "1", "--dev-split", "none",
                                     "--keep-checkpoints"))  # fmt: skip
    theta = load_file(output / ".train" / "checkpoint-10" / "loss.safetensors")
    assert abs(float(next(iter(theta.values()))) - 1) > 0.1


def test_fresh_negatives_for_queries_that_are_not_in_the_pairs_are_refused(tiny_collection, start, groups, tmp_path):
    others = tmp_path / "others.jsonl"
    others.write_text(groups.read_text().replace('"query_id": "', '"query_id": "other-'))
    command = arguments(tiny_collection, start, others, tmp_path / "x", "--refresh-negatives", "1", "--max-steps", "2",
                        "--dev-split", "none")  # fmt: skip
    with pytest.raises(DataError, match="none of the training queries is among the collection's training pairs"):
        TRAIN.execute("train", command)


def test_topic_batches_with_balanced_margins_and_a_live_teacher(tiny_collection, start, scored, tmp_path):
    output = tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, start, scored, output, "--loss", "tas-b", "--teacher", "strong",
                                     str(start), "--batching", "topics", "--clusters", "3", "--negative-sampling",
                                     "balanced-margins", "--max-steps", "3"))  # fmt: skip
    assert json.loads((output / "sdr_train.json").read_text())["steps"] == 3


def test_prod_learns_from_a_cross_encoder_against_its_own_frozen_copy(
    tiny_collection, tiny_encoder, start, groups, tmp_path
):
    ranker, output = make_cross_encoder(tmp_path / "ranker", tiny_encoder), tmp_path / "checkpoint"
    TRAIN.execute("train", arguments(tiny_collection, start, groups, output, "--loss", "lce:0.1", "kl:0.9", "lwf:1",
                                     "--loss-option", "kl.teacher=1", "kl.tau=4", "--teacher", str(ranker), str(start),
                                     "--negatives", "3", "--max-steps", "3", "--logging-steps", "1", "--dropout", "0",
                                     "--dev-split", "none", "--warmup", "0"))  # fmt: skip
    steps = json.loads((output / "train_log.json").read_text())["steps"]
    assert steps[0]["lwf"] < 1e-6 < 1e-4 < steps[-1]["lwf"]  # the copy is the encoder as it was, and stays so
    assert all(entry["kl"] > 1e-4 and entry["lce"] > 0 for entry in steps)


def test_topics_by_another_encoder(tiny_collection, start, groups, tmp_path):
    other, output = tmp_path / "other", tmp_path / "checkpoint"
    shutil.copytree(start, other)
    backbone, _ = load_weights(make_tiny_encoder(tmp_path / "raw", seed=9))
    backbone.save_pretrained(other)
    more = ["--batching", "topics", "--clusters", "4", "--max-steps", "1", "--dev-split", "none", "--keep-checkpoints"]
    TRAIN.execute("train", arguments(tiny_collection, start, groups, output, "--cluster-encoder", str(other), *more))
    queries = [json.loads(line)["query"] for line in groups.read_text().splitlines()]
    found = np.load(output / ".train" / "clusters-0.npy")
    expected, by_itself = (
        cluster_queries(BiEncoder.load(name).encode_queries(queries), 4, seed=0) for name in (other, start)
    )
    assert np.array_equal(found, expected) and not np.array_equal(found, by_itself)


def test_a_wrong_cluster_encoder_or_file_is_found_before_anything_is_mined(
    tiny_collection, tiny_encoder, start, groups, tmp_path, monkeypatch
):
    output, topics = tmp_path / "x", ["--batching", "topics", "--clusters", "4"]
    monkeypatch.setattr("pyserini_sdr.train.engine.load_data", lambda *_: pytest.fail("too late"))
    for error, message, mined, more in (
        (UsageError, "--cluster-encoder .*: must be an encoder that tells", None, [*topics, str(tiny_encoder)]),
        (DataError, "nowhere: no such checkpoint", None, [*topics, str(tmp_path / "nowhere")]),
        (DataError, r"none.jsonl: no such file \(--document-queries\)", None, ["--document-queries", "none.jsonl"]),
        (DataError, r"none.jsonl: no such file \(--groups\)", tmp_path / "none.jsonl", []),
        (DataError, r"none.trec: no such file \(--dev-run\)", None, ["--dev-run", "none.trec"]),
    ):
        if more[: len(topics)] == topics:
            more.insert(len(topics), "--cluster-encoder")
        with pytest.raises(error, match=message):
            TRAIN.execute("train", arguments(tiny_collection, start, mined, output, *more))
        assert not (output / ".train").exists()  # or the plan would refuse the corrected command


def test_another_cluster_encoder_under_the_same_name_is_refused(tiny_collection, start, groups, tmp_path, monkeypatch):
    other, output = tmp_path / "other", tmp_path / "x"
    shutil.copytree(start, other)
    command = arguments(tiny_collection, start, groups, output, "--batching", "topics", "--clusters", "4",
                        "--cluster-encoder", str(other))  # fmt: skip
    monkeypatch.setattr("pyserini_sdr.train.engine.load_data", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        TRAIN.execute("train", command)
    state = {key: value + 0.01 for key, value in weights(other).items()}
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match="another cluster_weights"):
        TRAIN.execute("train", command)


def test_clusters_leave_no_copy_of_the_weights_behind(start, groups, tmp_path):
    encoder = BiEncoder.load(start)
    options = TrainOptions(collection=["x"], encoder="x", output=tmp_path, batching="topics", clusters=4)
    source = Source(list(read_groups(groups)), {}, {})
    _cluster(options, encoder, source, tmp_path / "clusters.npy")
    assert len(set(source.clusters)) == 4 and encoder._packed == {}


def test_matryoshka_with_adapters_and_an_index_of_first_dimensions(tiny_collection, start, groups, tmp_path):
    output, index = tmp_path / "checkpoint", tmp_path / "index"
    TRAIN.execute("train", arguments(tiny_collection, start, groups, output, "--matryoshka", "16", "8", "--lora-rank",
                                     "2", "--micro-batch-size", "4", "--max-steps", "2"))  # fmt: skip
    ENCODE.execute("encode", ["input", "--corpus", str(tiny_collection / "corpus"), "output", "--embeddings",
                              str(index), "--to-faiss", "encoder", "--encoder", str(output),
                              "--truncate-dim", "8"])  # fmt: skip
    searcher = Searcher(index)
    assert searcher.index.faiss_index.d == 8
    whole = BiEncoder.load(output).encode_queries(["river music"])[:, :8]
    query = searcher.encoder.encode_queries(["river music"])
    assert np.allclose(query, whole / np.linalg.norm(whole), atol=1e-6)
    with pytest.raises(UsageError, match="holds vectors of dimension 8, the encoder gives 32"):
        Searcher(index, BiEncoder.load(output))
    with pytest.raises(UsageError, match=r"dimension 64: the embeddings of .* have 32"):
        BiEncoder.load(output, dimension=64)


def test_two_processes_with_a_live_teacher_train_as_one(tiny_collection, start, groups, tmp_path):
    args = ["--loss", "tct", "lelp", "--teacher", str(start), "--max-steps", "3", "--dev-split", "none",
            "--weight-decay", "0"]  # fmt: skip
    TRAIN.execute("train", arguments(tiny_collection, start, groups, tmp_path / "one", *args))
    assert _torchrun(arguments(tiny_collection, start, groups, tmp_path / "two", *args)) == 0
    left, right = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert all(torch.allclose(left[key], right[key], atol=1e-5) for key in left)


def _torchrun(command: list[str]) -> int:
    """`train` with two processes on this machine; its errors go to ours."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([*run, "-m", "pyserini_sdr.train", *command], env=environment).returncode
