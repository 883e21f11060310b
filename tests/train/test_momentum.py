"""A teacher that follows the encoder: its weights, what it says, resumption, and what is refused."""

from __future__ import annotations

import copy
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.train.__main__ import COMMAND as TRAIN
from pyserini_sdr.train.momentum import Follower
from pyserini_sdr.train.teachers import Teachers

from .test_teachers import choose, sources
from .test_train import arguments, kill_after, weights

EMA = ["--loss", "adaptive-margin", "--loss-option", "adaptive-margin.targets=teacher", "--negatives", "2",
       "--dropout", "0", "--dev-split", "none"]  # fmt: skip


@pytest.fixture(scope="module")
def start(tiny_encoder, tmp_path_factory):
    """A checkpoint that tells its pooling, as a teacher must."""
    from pyserini_sdr.model.checkpoint import save_checkpoint

    folder = tmp_path_factory.mktemp("start")
    encoder = BiEncoder.load(tiny_encoder, device="cpu", raw_backbone=True)
    save_checkpoint(folder, encoder.backbone, encoder.tokenizer, encoder.spec)
    return folder


def moved(backbone: torch.nn.Module, seed: int) -> torch.nn.Module:
    """A copy whose weights differ."""
    other, generator = copy.deepcopy(backbone), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return other


def test_weights_are_an_exponential_moving_average_and_the_teacher_speaks_by_them(start):
    teacher = BiEncoder.load(start, device="cpu", precision="fp32")
    before = {name: parameter.detach().numpy().copy() for name, parameter in teacher.backbone.named_parameters()}
    first = teacher.encode_documents(["river music", "a"]), teacher.encode_queries(["river"])
    follower = Follower(teacher, teacher.backbone, 0.75)
    for seed in (1, 2):
        follower.backbone = moved(teacher.backbone, seed)
        follower.on_step_end()
        before = {
            name: 0.75 * before[name] + 0.25 * parameter.detach().numpy()
            for name, parameter in follower.backbone.named_parameters()
        }
    for name, parameter in teacher.backbone.named_parameters():
        np.testing.assert_allclose(parameter.detach().numpy(), before[name], atol=1e-6)
    fresh = BiEncoder(teacher.backbone, teacher.tokenizer, teacher.spec, precision="fp32")
    assert np.array_equal(teacher.encode_documents(["river music", "a"]), fresh.encode_documents(["river music", "a"]))
    assert np.array_equal(teacher.encode_queries(["river"]), fresh.encode_queries(["river"]))
    assert not np.allclose(teacher.encode_documents(["river music", "a"]), first[0], atol=1e-3)


def test_a_momentum_of_one_is_a_frozen_teacher_and_none_is_the_encoder_itself(tiny_collection, start, groups, tmp_path):
    found = {}
    for name, more in {"frozen": [], "1": ["--teacher-momentum", "1"], "0": ["--teacher-momentum", "0"]}.items():
        command = arguments(tiny_collection, start, groups, tmp_path / name, *EMA, "--max-steps", "5",
                            "--teacher", str(start), *more)  # fmt: skip
        TRAIN.execute("train", command)
        found[name] = weights(tmp_path / name)
    own = ["adaptive-margin.detach_target=true" if word.endswith("=teacher") else word for word in EMA]
    TRAIN.execute("train", arguments(tiny_collection, start, groups, tmp_path / "own", *own, "--max-steps", "5"))
    found["own"] = weights(tmp_path / "own")

    def distance(one: str, other: str) -> float:
        return max(float((found[one][key] - found[other][key]).abs().max()) for key in found["own"])

    assert distance("frozen", "1") == 0
    assert distance("0", "own") < 0.1 * distance("frozen", "own")  # but for the other pass that a teacher takes
    assert json.loads((tmp_path / "1" / "sdr_train.json").read_text())["config"]["teacher_momentum"] == 1
    assert not list((tmp_path / "0").glob("teacher*"))


def test_a_resumed_training_goes_on_with_its_teacher(tiny_collection, start, groups, tmp_path):
    more = [*EMA, "--teacher", str(start), "--teacher-momentum", "0.8", "--max-steps", "8", "--eval-steps", "3"]
    TRAIN.execute("train", arguments(tiny_collection, start, groups, tmp_path / "whole", *more))
    command = arguments(tiny_collection, start, groups, tmp_path / "cut", *more)
    kill_after(5, command)
    TRAIN.execute("train", command)
    assert json.loads((tmp_path / "cut" / "sdr_train.json").read_text())["resumed_after_step"] == 3
    left, right = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    for key in left:
        assert torch.allclose(left[key], right[key], atol=1e-6), key


def test_who_can_follow(start):
    encoder = BiEncoder.load(start, device="cpu")
    with pytest.raises(
        UsageError, match="--teacher-momentum: needs one live bi-encoder among the teachers; there is none"
    ):
        Follower.of(choose(["t"], sources("t"), "kl"), encoder, 0.9)
    with pytest.raises(UsageError, match="there are 2: a, b"):
        Follower.of(Teachers(["a", "b"], [encoder, encoder]), encoder, 0.9)
    trained = BiEncoder.load(start, device="cpu", pooling="cls")
    with pytest.raises(UsageError, match="the teacher a has the pooling 'mean', the encoder 'cls'; they must agree"):
        Follower.of(Teachers(["a"], [encoder]), trained, 0.9)
    other = SimpleNamespace(backbone=torch.nn.Linear(2, 2))
    with pytest.raises(UsageError, match="the teacher a must be an encoder like that of --encoder"):
        Follower.of(Teachers(["a"], [encoder]), other, 0.9)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--teacher-momentum", "0.9"],
            "--teacher-momentum: needs one live bi-encoder among the teachers; there is none",
        ),
        (["--teacher-momentum", "1.5"], "--teacher-momentum 1.5"),
        (["--teacher-momentum", "0.9", "--lora-rank", "4"], "cannot be used with --lora-rank"),
        (["--teacher-momentum", "0.9", "--document-tower", "x"], "cannot be used with --document-tower"),
    ],
)
def test_bad_options(tiny_collection, start, groups, tmp_path, more, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        TRAIN.execute("train", arguments(tiny_collection, start, groups, tmp_path / "x", *more))
