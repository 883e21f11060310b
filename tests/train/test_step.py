"""The step: pieces and recomputation change nothing but memory; two processes compute what one does."""

from __future__ import annotations

import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import SdrError
from pyserini_sdr.losses.base import OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, Loss, LossBatch
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.train.batches import TextBatch
from pyserini_sdr.train.step import Step

CPU = torch.device("cpu")


def text_batch(size: int = 6) -> TextBatch:
    relation = torch.full((size, 2 * size), OTHER_POS, dtype=torch.int8)
    relation[:, size:] = OTHER_NEG
    relation[torch.arange(size), torch.arange(size)] = OWN_POS
    relation[torch.arange(size), torch.arange(size) + size] = OWN_NEG
    words = ["river", "music", "engine", "garden", "what", "is"]
    texts = [" ".join(words[(i + k) % 6] for k in range(1 + i % 5)) for i in range(3 * size)]
    return TextBatch(texts[:size], texts[size:], relation, size)


def make_step(encoder: BiEncoder, name: str = "distributed-margin", **options) -> Step:
    return Step(encoder.tokenizer, encoder.spec, [(losses.build(name), name, 1.0)], device=CPU, bf16=False, **options)


def gradients(encoder: BiEncoder, step: Step, *, seed: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    encoder.backbone.zero_grad()
    torch.manual_seed(seed)
    loss, _ = step(encoder.backbone, text_batch(), 0.0)
    loss.backward()
    return float(loss.detach()), {
        n: p.grad.clone() for n, p in encoder.backbone.named_parameters() if p.grad is not None
    }


@pytest.fixture
def encoder(tiny_encoder) -> BiEncoder:
    return BiEncoder.load(tiny_encoder, raw_backbone=True, precision="fp32")


@pytest.mark.parametrize("name", ["distributed-margin", "infonce"])
def test_pieces_and_recomputation_give_the_same_gradients(encoder, name):
    encoder.backbone.eval()  # no dropout: pieces of another size would draw other masks
    loss, plain = gradients(encoder, make_step(encoder, name))
    for options in ({"token_budget": 16}, {"micro_batch_size": 2}, {"micro_batch_size": 1, "token_budget": 8}):
        other, pieced = gradients(encoder, make_step(encoder, name, **options))
        assert other == pytest.approx(loss, abs=1e-6)
        assert plain.keys() == pieced.keys()
        for key, gradient in plain.items():
            assert torch.allclose(gradient, pieced[key], atol=1e-6), (options, key)


def test_recomputation_repeats_the_dropout_of_the_first_pass(encoder, monkeypatch):
    """The same pieces with and without recomputation, dropout on: equal only if masks are drawn again alike."""
    encoder.backbone.train()
    assert encoder.backbone.config.hidden_dropout_prob > 0
    recomputed = gradients(encoder, make_step(encoder, micro_batch_size=2))
    monkeypatch.setattr("pyserini_sdr.train.step.checkpoint", lambda run, *args, **_: run(*args))
    kept = gradients(encoder, make_step(encoder, micro_batch_size=2))
    assert recomputed[0] == kept[0]
    for key, gradient in kept[1].items():
        assert torch.allclose(gradient, recomputed[1][key], atol=1e-7), key
    assert gradients(encoder, make_step(encoder, micro_batch_size=2), seed=1)[0] != kept[0]  # dropout does something


def test_embeddings_come_back_in_the_order_of_the_texts(encoder):
    encoder.backbone.eval()
    seen = {}

    class Spy(Loss):
        def forward(self, batch: LossBatch):
            seen["document"] = batch.unit_document.detach()
            return batch.scores.sum(), {}

    step = Step(encoder.tokenizer, encoder.spec, [(Spy(), "spy", 1.0)], device=CPU, bf16=False, token_budget=12)
    batch = text_batch()
    step(encoder.backbone, batch, 0.0)
    assert torch.allclose(seen["document"], torch.from_numpy(encoder.encode_documents(batch.documents)), atol=1e-6)


def test_weighted_losses_add_up_and_are_logged(encoder):
    encoder.backbone.eval()
    pair = [(losses.build(name), name, weight) for name, weight in (("distributed-margin", 2.0), ("infonce", 0.5))]
    step = Step(encoder.tokenizer, encoder.spec, pair, device=CPU, bf16=False)
    total, logs = step(encoder.backbone, text_batch(), 0.0)
    assert float(total.detach()) == pytest.approx(2 * logs["distributed-margin"] + 0.5 * logs["infonce"], rel=1e-6)
    assert 0 <= logs["document_spread"] <= 1


def test_a_loss_that_is_nan_stops_training(encoder):
    class Broken(Loss):
        def forward(self, batch: LossBatch):
            return batch.scores.sum() * float("nan"), {}

    step = Step(encoder.tokenizer, encoder.spec, [(Broken(), "broken", 1.0)], device=CPU, bf16=False)
    with pytest.raises(SdrError, match="NaN"):
        step(encoder.backbone, text_batch(), 0.0)
