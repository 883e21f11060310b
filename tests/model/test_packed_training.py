"""The packed training pass: the model's own gradients, and dropout that is random, unbiased and repeatable."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from pyserini_sdr.core.errors import SdrError
from pyserini_sdr.model.batching import pad
from pyserini_sdr.model.encoder import forward
from pyserini_sdr.model.layers import forward_layers
from pyserini_sdr.model.packed import pack
from pyserini_sdr.model.packed_training import PackedTraining, _deal, dropout_rates
from pyserini_sdr.model.training import set_dropout
from pyserini_sdr.model.training_ops import Masks, attend, drop_add, norm

_BERT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def _bert() -> nn.Module:
    return BertModel(BertConfig(vocab_size=60, **_BERT), add_pooling_layer=False)


def _roberta() -> nn.Module:
    return RobertaModel(RobertaConfig(vocab_size=60, pad_token_id=1, **_BERT), add_pooling_layer=False)


def _distilbert() -> nn.Module:
    return DistilBertModel(DistilBertConfig(vocab_size=60, dim=32, n_layers=2, n_heads=4, hidden_dim=64))


def made(kind) -> nn.Module:
    torch.manual_seed(0)
    model = kind()
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.2)
    return model.eval()


def texts(longest: int = 40) -> list[list[int]]:
    draw = random.Random(1)
    return [[draw.randrange(5, 60) for _ in range(draw.randint(1, longest))] for _ in range(20)]


def gradients(model: nn.Module, states: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(4))).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def packed_gradients(model: nn.Module, seed: int = 0, **options) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    one = PackedTraining.of(model)
    assert one is not None
    return gradients(model, one(texts(), "mean", torch.float32, **options))


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """To 1e-5 of the whole gradient, 1e-4 of every tensor: in float32 some are 1e-5 from the exact ones both ways."""
    assert found.keys() == expected.keys()
    whole, differences = (
        torch.cat([gradient.flatten() for gradient in some])
        for some in (expected.values(), [found[name] - gradient for name, gradient in expected.items()])
    )
    assert differences.norm() <= 1e-5 * whole.norm()
    for name, gradient in expected.items():  # but for biases of keys, which have none
        assert (found[name] - gradient).norm() <= 1e-4 * (gradient.norm() + 0.1), name


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", [_bert, _roberta, _distilbert])
def test_the_states_and_gradients_of_the_model(kind, pooling) -> None:
    model = made(kind)
    ids, mask = pad(texts(), model.config.pad_token_id)
    expected = forward(model, ids, mask, pooling)
    for most in (None, 3):
        found = PackedTraining.of(model)(texts(), pooling, torch.float32, most=most)
        assert torch.allclose(found, expected, atol=1e-5)
        assert_close(gradients(model, found), gradients(model, forward(model, ids, mask, pooling)))


def test_all_layers() -> None:
    model = made(_bert)
    ids, mask = pad(texts(), 0)
    found = gradients(model, PackedTraining.of(model)(texts(), "mean", torch.float32, layers=True))
    assert_close(found, gradients(model, forward_layers(model, ids, mask, "mean")))


def test_bf16_is_close() -> None:
    model = made(_bert)
    one = PackedTraining.of(model)
    exact, found = (gradients(model, one(texts(), "mean", dtype)) for dtype in (torch.float32, torch.bfloat16))
    pairs = [torch.cat([gradient.flatten() for gradient in some.values()]) for some in (found, exact)]
    assert F.cosine_similarity(*pairs, dim=0) > 0.998


def test_recomputation_and_seed_decide_the_masks() -> None:
    model = made(_bert).train()
    set_dropout(model, 0.3)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)  # two workers
        kept = packed_gradients(model)
        again = packed_gradients(model)
        assert all(torch.equal(again[name], gradient) for name, gradient in kept.items())
        other = packed_gradients(model, seed=1)
        name = "embeddings.word_embeddings.weight"
        assert (kept[name] - other[name]).norm() > 0.1 * kept[name].norm()
        recomputed = packed_gradients(model, most=1000)
        assert all(torch.equal(recomputed[name], gradient) for name, gradient in kept.items())
    finally:
        torch.set_num_threads(before)


def test_masks_do_not_depend_on_threads_or_pieces(monkeypatch) -> None:
    model = made(_bert).train()
    set_dropout(model, 0.3)
    monkeypatch.setattr("pyserini_sdr.model.packed_training._LEAST", 64)
    before, found = torch.get_num_threads(), []
    try:
        for threads, options in ((1, {}), (2, {}), (3, {}), (1, {"most": 3}), (2, {"most": 4})):
            torch.set_num_threads(threads)
            found.append(packed_gradients(model, **options))
            monkeypatch.setattr("pyserini_sdr.model.training_ops._TABLE", 1 << 12)  # and not on the parts of attention
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert_close(other, found[0])


def test_dropout_is_unbiased_and_of_its_rate() -> None:
    masks = Masks(1, [2, 3], [400, 600])
    for rate in (0.1, 0.5):
        mask, scale = masks.of_rows((1000, 100), rate, torch.float32)
        assert set(mask.unique().tolist()) == {-1, 0}
        kept = float((mask != 0).float().mean())
        assert kept == pytest.approx(1 - rate, abs=0.005) and scale == pytest.approx(1 / (1 - rate), rel=1e-4)
        for along in (0, 1):  # neither rows nor columns share a mask
            assert (mask != 0).float().mean(dim=along).std() == pytest.approx(
                (rate * (1 - rate) / mask.shape[along]) ** 0.5, rel=0.3
            )
    dropped = drop_add(torch.ones(1000, 100).bfloat16(), torch.ones(1000, 100).bfloat16(), 0.1, masks)
    assert dropped.float().mean() == pytest.approx(2, abs=0.01) and dropped.unique().numel() == 2
    drawn = Masks(3, [0], [8])
    first, again = (some.of_rows((9, 8), 0.5, torch.bfloat16)[0] for some in (drawn, Masks(3, [0], [8])))
    assert first.dtype == torch.int16 and torch.equal(first, again) and bool(first[8].all())  # filling stays
    assert not torch.equal(first, drawn.of_rows((9, 8), 0.5, torch.bfloat16)[0])


def test_gradients_with_dropout_are_those_of_the_same_masks() -> None:
    """One text that fills its width: the pass draws one mask of (heads, width, width)."""
    torch.manual_seed(0)
    qkv = torch.randn(16, 24, requires_grad=True)
    groups = pack([[1] * 16], multiple=16).groups
    weight = torch.randn(16, 8)
    found = attend(qkv, groups, 2, 0.4, Masks(5, [0], [16]))
    (of_found,) = torch.autograd.grad((found * weight).sum(), qkv)
    mask, scale = Masks(5, [0], [16]).of_texts(slice(None), [512], (2, 16, 16), 0.4, torch.float32)
    query, key, value = qkv.view(16, 3, 2, 4).permute(1, 2, 0, 3)
    table = torch.softmax(query @ key.transpose(1, 2) / 2, -1) * (mask != 0) * scale
    expected = (table @ value).transpose(0, 1).reshape(16, 8)
    (of_expected,) = torch.autograd.grad((expected * weight).sum(), qkv)
    assert torch.allclose(found, expected, atol=1e-5) and torch.allclose(of_found, of_expected, atol=1e-5)

    x, residual = torch.randn(2, 9, 8, requires_grad=True)
    mask, scale = Masks(6, [0], [9]).of_rows((9, 8), 0.4, torch.float32)
    pair = [
        torch.autograd.grad((some**2).sum(), (x, residual))
        for some in (drop_add(x, residual, 0.4, Masks(6, [0], [9])), residual + x * (mask != 0) * scale)
    ]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(*pair, strict=True))


def test_weights_of_normalisations_have_exact_gradients_in_bf16() -> None:
    """4,096 rows of almost the same gradient, as mean pooling makes them; torch's own kernel is off by half."""
    torch.manual_seed(0)
    x, gradient = torch.randn(4096, 32), torch.randn(4, 32).repeat_interleave(1024, 0) / 200
    weight, bias = torch.rand(32, requires_grad=True), torch.rand(32, requires_grad=True)
    exact, found = (
        torch.autograd.grad(norm(x.to(dtype), (weight, bias), 1e-12), (weight, bias), gradient.to(dtype))
        for dtype in (torch.float32, torch.bfloat16)
    )
    plain = torch.autograd.grad(F.layer_norm(x, (32,), weight, bias, 1e-12), (weight, bias), gradient)
    for one, other, third in zip(exact, found, plain, strict=True):
        assert torch.allclose(one, third, rtol=1e-3, atol=1e-3)
        assert (other - third).norm() < 0.02 * third.norm()


def test_the_gradient_of_a_weight_does_not_cancel_where_the_mean_is_large() -> None:
    """Numbers around 30 that differ by 1: gradient · x and gradient · mean are almost the same."""
    torch.manual_seed(0)
    x, gradient = (torch.randn(512, 32) + 30).bfloat16(), torch.randn(512, 32).bfloat16()
    weight, bias = torch.rand(32, requires_grad=True), torch.rand(32, requires_grad=True)
    exact = torch.autograd.grad(F.layer_norm(x.float(), (32,), weight, bias, 1e-12), weight, gradient.float())[0]
    found = torch.autograd.grad(norm(x, (weight, bias), 1e-12), weight, gradient)[0]
    assert (found - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("kind", [_bert, _distilbert])
def test_a_padding_token_in_a_text_is_not_learned(kind) -> None:
    model = made(kind)
    some = [[7, 0, 8], [9, 10, 0]]
    ids = torch.tensor(some)
    found = gradients(model, PackedTraining.of(model)(some, "mean", torch.float32))
    assert not found["embeddings.word_embeddings.weight"][0].any()
    assert_close(found, gradients(model, forward(model, ids, torch.ones_like(ids), "mean")))


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(SdrError, match="a text has no token"):
        PackedTraining.of(made(_bert))([[5, 6], []], "mean", torch.float32)


def test_rates_are_those_of_the_modules() -> None:
    model = made(_distilbert).train()
    model.embeddings.dropout.p = 0.2
    for layer in model.transformer.layer:
        layer.attention.dropout.p, layer.ffn.dropout.p = 0.3, 0.4
    assert dropout_rates(model).embeddings == 0.2
    assert list(dropout_rates(model).blocks) == [(0.3, 0.0, 0.4)] * 2
    assert list(dropout_rates(model.eval()).blocks) == [(0.0, 0.0, 0.0)] * 2
    bert = made(_bert).train()
    bert.encoder.layer[1].attention.self.dropout.p = 0.25
    assert list(dropout_rates(bert).blocks) == [(0.1, 0.1, 0.1), (0.25, 0.1, 0.1)]


def test_models_that_have_no_packed_pass() -> None:
    assert PackedTraining.of(made(lambda: MPNetModel(MPNetConfig(vocab_size=60, **_BERT)))) is None
    assert PackedTraining.of(made(_bert).bfloat16()) is None
    relu = made(lambda: BertModel(BertConfig(vocab_size=60, hidden_act="relu", **_BERT))).train()
    assert PackedTraining.of(relu) is None and relu.training
    renamed = made(_bert).train()  # as another version of transformers may
    renamed.encoder.layer[1].output.other = renamed.encoder.layer[1].output.__dict__["_modules"].pop("dropout")
    renamed.encoder.layer[1].output.forward = lambda states, given: renamed.encoder.layer[1].output.LayerNorm(
        renamed.encoder.layer[1].output.dense(states) + given
    )
    assert PackedTraining.of(renamed) is None and renamed.training


def test_pieces_hold_every_text_once() -> None:
    lengths = [random.Random(2).randint(1, 200) for _ in range(97)]
    for most in (None, 5):
        dealt = _deal(lengths, most)
        assert sorted(row for rows in dealt for row in rows) == list(range(97))
        assert most is None or max(map(len, dealt)) <= most
    assert _deal([3], None)[0].tolist() == [0]
