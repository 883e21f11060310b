"""Noisy self-distillation: the student's documents are noised, the teacher's are not; the teacher drops out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.train.__main__ import COMMAND as TRAIN
from pyserini_sdr.train.batches import BatchSource, Source
from pyserini_sdr.train.noise import Noise
from pyserini_sdr.train.step import Step
from pyserini_sdr.train.teachers import Teachers

from .test_batches import Texts, group
from .test_step import make_step, text_batch
from .test_teachers import choose, sources
from .test_train import arguments, weights

TEXT = " ".join(f"Sentence w{number} is here." for number in range(8))


def test_words_are_dropped_at_the_rate_and_by_seed_step_and_text():
    noise = Noise(word_drop=0.1, seed=3)
    kept = [len(re.findall(r"w\d", noise(TEXT, step))) for step in range(300)]
    assert np.mean(kept) == pytest.approx(8 * 0.9, abs=0.2)
    assert noise(TEXT, 1) == Noise(word_drop=0.1, seed=3)(TEXT, 1)
    assert len({noise(TEXT, 1), noise(TEXT, 2), Noise(word_drop=0.1, seed=4)(TEXT, 1)}) == 3
    assert "  " not in noise(TEXT, 1) and noise(TEXT, 1).count(".") == 8


def test_a_text_is_never_left_without_words():
    noise = Noise(word_drop=0.9)
    assert all(re.search(r"\w", noise("two words.", step)) for step in range(50))
    assert noise("", 0) == "" and noise("...", 0) == "..."


@pytest.mark.parametrize("k", [1, 2])
def test_sentences_move_by_k_places_at_most(k):
    moves = []
    for step in range(200):
        found = [int(n) for n in re.findall(r"w(\d)", Noise(sentence_shuffle=k)(TEXT, step))]
        assert sorted(found) == list(range(8))
        moves.append(max(abs(place - n) for place, n in enumerate(found)))
    assert max(moves) == k
    assert Noise(sentence_shuffle=k)("one sentence only", 0) == "one sentence only"


def test_only_the_students_documents_are_noised():
    groups = [group(str(i), [f"p{i}"], [f"n{i}"]) for i in range(6)]
    plain, noisy = (
        BatchSource([Source(groups, Texts(), {})], batch_size=6, steps=2, noise=noise).batch(1)
        for noise in (None, Noise(word_drop=0.5))
    )
    assert plain.student_documents is None and plain.documents == noisy.documents and plain.queries == noisy.queries
    assert noisy.student_documents != noisy.documents and len(noisy.student_documents) == len(noisy.documents)


@pytest.fixture
def encoder(tiny_encoder) -> BiEncoder:
    return BiEncoder.load(tiny_encoder, raw_backbone=True, precision="fp32")


def test_the_step_encodes_what_the_student_sees_and_asks_teachers_about_the_rest(encoder):
    asked = []

    class Spy(Teachers):
        def observe(self, batch, device):
            asked.append(list(batch.documents))
            return None, {}

    encoder.backbone.eval()
    plain, altered = text_batch(), text_batch()
    altered.student_documents = [f"{text} music" for text in altered.documents]
    other = text_batch()
    other.documents = altered.student_documents
    step: Step = make_step(encoder, "infonce", teachers=Spy())
    values = [float(step(encoder.backbone, batch, 0.0)[0].detach()) for batch in (plain, altered, other)]
    assert values[1] == values[2] != values[0]
    assert asked[1] == plain.documents


def test_a_teacher_drops_out_by_seed_and_step_and_leaves_all_other_draws_alone(encoder):
    def scores(rate: float, *, seed: int = 0, step: int = 0, losses=("tct",)) -> tuple[torch.Tensor, dict]:
        teachers = choose(["model"], sources(), *losses, encoder=encoder, dropout=rate, seed=seed)
        batch = text_batch()
        batch.step = step
        return teachers.observe(batch, torch.device("cpu"))

    torch.manual_seed(5)
    plain, first, again = scores(0.0)[0], scores(0.15)[0], scores(0.15)[0]
    assert torch.equal(first, again) and not torch.allclose(plain, first, atol=1e-3)
    assert not torch.equal(first, scores(0.15, step=1)[0]) and not torch.equal(first, scores(0.15, seed=1)[0])
    torch.testing.assert_close(scores(1e-9)[0], plain, atol=1e-5, rtol=0)  # the same model, but for what is dropped
    _, features = scores(0.15, losses=("tct", "embed-distill", "lead"))
    assert set(features) >= {"teacher_query", "teacher_document_layers"} and scores(0.15)[1] == {}
    assert not encoder.backbone.training
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


def test_dropout_wants_a_live_bi_encoder():
    for given, names in ((["t"], ("kl",)), (None, ("infonce",))):
        with pytest.raises(UsageError, match="--teacher-dropout: there is no live bi-encoder among the teachers"):
            choose(given, sources("t"), *names, dropout=0.1)


def test_noisy_self_distillation_as_a_user_runs_it(tiny_collection, tiny_encoder, groups, tmp_path):
    """Stage two of a run against the checkpoint of stage one, with noise and without."""
    short = ["--max-steps", "3", "--dev-split", "none", "--dropout", "0"]
    first = tmp_path / "first"
    TRAIN.execute("train", arguments(tiny_collection, tiny_encoder, groups, first, "--loss", "infonce", *short))
    distil = ["--loss", "infonce:0.4", "kl:0.6", "--loss-option", "kl.teacher_temperature=0.05", "--teacher",
              str(first), "--negatives", "3", *short]  # fmt: skip
    noisy = ["--word-drop", "0.1", "--sentence-shuffle", "2", "--teacher-dropout", "0.15"]
    found = []
    for number, more in enumerate((noisy, [])):
        output = tmp_path / str(number)
        TRAIN.execute("train", arguments(tiny_collection, first, groups, output, *distil, *more))
        found.append(weights(output))
    assert any(not torch.allclose(found[0][key], found[1][key], atol=1e-4) for key in found[0])
    assert json.loads((tmp_path / "0" / "sdr_train.json").read_text())["config"]["word_drop"] == 0.1
    with pytest.raises(UsageError, match="--word-drop: documents are encoded as --document-tower says"):
        TRAIN.execute("train", arguments(tiny_collection, first, groups, tmp_path / "x", "--document-tower",
                                         str(first), "--word-drop", "0.1"))  # fmt: skip
