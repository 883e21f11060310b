"""Attention in training on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from pyserini_sdr.model.training import attention, set_dropout


def model() -> BertModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    made = BertModel(BertConfig(vocab_size=50, **sizes))
    for parameter in made.parameters():
        nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.2)
    set_dropout(made, 0.0)
    return made.train()


def gradients(one: BertModel, *, bf16: bool = False) -> list[torch.Tensor]:
    ids = torch.arange(24).view(2, 12)
    mask = torch.ones_like(ids)
    mask[1, 7:] = 0
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        states = one(input_ids=ids, attention_mask=mask)[0]
    (states.float() * mask.unsqueeze(-1) * torch.linspace(-1, 1, 32)).sum().backward()
    return [parameter.grad for parameter in one.parameters() if parameter.grad is not None]


def test_the_same_gradients_as_plain_attention() -> None:
    plain, fused = model(), model()
    plain.set_attn_implementation("eager")
    with attention(fused, "training", on_cpu=True):
        assert fused.config._attn_implementation == "sdr_float32"
        found = gradients(fused)
    expected = gradients(plain)
    assert len(found) == len(expected) > 20
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def test_under_bf16_autocast() -> None:
    fused, exact = model(), model()
    with attention(fused, "training", on_cpu=True):
        found = torch.cat([gradient.flatten() for gradient in gradients(fused, bf16=True)])
    expected = torch.cat([gradient.flatten() for gradient in gradients(exact)])
    assert torch.cosine_similarity(found, expected, dim=0) > 0.99


@pytest.mark.parametrize(("rate", "expected"), [(0.0, "sdr_float32"), (0.1, "eager")])
def test_chosen_by_dropout_and_put_back(rate: float, expected: str) -> None:
    one = model()
    set_dropout(one, rate)
    before = one.config._attn_implementation
    with attention(one, "training", on_cpu=True):
        assert one.config._attn_implementation == expected
        with attention(one, "inference", on_cpu=True):
            assert one.config._attn_implementation == "sdpa"
        assert one.config._attn_implementation == expected
    assert one.config._attn_implementation == before
    with attention(one, "training", on_cpu=False):
        assert one.config._attn_implementation == before
