"""The packed forward pass against the model's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pyserini_sdr.model import packed as packed_module
from pyserini_sdr.model.batching import pad
from pyserini_sdr.model.encoder import BiEncoder, forward
from pyserini_sdr.model.packed import PackedEncoder, pack
from pyserini_sdr.model.token_budget import batches_of_tokens

_SIZES = {"vocab_size": 100, "max_position_embeddings": 140}
_BERT = {**_SIZES, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
MODELS = {
    "bert": (transformers.BertModel, transformers.BertConfig, _BERT),
    "roberta": (transformers.RobertaModel, transformers.RobertaConfig, _BERT),
    "xlm-roberta": (transformers.XLMRobertaModel, transformers.XLMRobertaConfig, _BERT),
    "mpnet": (transformers.MPNetModel, transformers.MPNetConfig, _BERT),
    "distilbert": (
        transformers.DistilBertModel,
        transformers.DistilBertConfig,
        {**_SIZES, "dim": 64, "n_layers": 2, "n_heads": 4, "hidden_dim": 128},
    ),
}
TEXTS = [33, 32, 20, 17, 16, 9, 8, 3, 1]
"""Lengths on both sides of a width, alone in it and together."""


def model(kind: str, **settings: Any) -> nn.Module:
    """A random model whose every weight matters: large ones, no bias zero, no normalisation the identity."""
    cls, config, values = MODELS[kind]
    torch.manual_seed(0)
    made = cls(config(**{**values, **settings})).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.2)
    return made


def token_ids(lengths: list[int], seed: int = 0) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(5, 100, size=length).tolist() for length in lengths]


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("kind", MODELS)
def test_equals_the_models_own_pass(kind: str, pooling: str) -> None:
    own, texts = model(kind), token_ids(TEXTS)
    packed = PackedEncoder.of(own, torch.float32)
    assert packed is not None
    with torch.inference_mode():
        expected = torch.cat([forward(own, *pad([ids], 1), pooling) for ids in texts])
        assert torch.allclose(packed.pooled(texts, pooling), expected, atol=2e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_bf16_keeps_the_direction(kind: str) -> None:
    own, texts = model(kind), token_ids(TEXTS)
    packed = PackedEncoder.of(own, torch.bfloat16)
    assert packed is not None
    with torch.inference_mode():
        expected = torch.cat([forward(own, *pad([ids], 1), "mean") for ids in texts])
        assert nn.functional.cosine_similarity(packed.pooled(texts, "mean"), expected).min() > 0.999


def test_plain_products_where_torch_lacks_the_packed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    own, texts = model("bert"), token_ids(TEXTS)
    fast = PackedEncoder.of(own, torch.float32)
    monkeypatch.setattr(packed_module, "_onednn", lambda dtype: False)
    plain = PackedEncoder.of(own, torch.float32)
    assert fast is not None and plain is not None
    with torch.inference_mode():
        assert torch.allclose(fast.pooled(texts, "mean"), plain.pooled(texts, "mean"), atol=1e-5)


@pytest.mark.parametrize(
    "own",
    [
        model("bert", hidden_act="relu"),
        model("bert", is_decoder=True),
        transformers.ElectraModel(transformers.ElectraConfig(**_BERT, embedding_size=64)),
    ],
    ids=["another activation", "a decoder", "another architecture"],
)
def test_unknown_models_have_none(own: nn.Module) -> None:
    assert PackedEncoder.of(own, torch.float32) is None


def test_a_layer_that_is_more_than_linear_has_none() -> None:
    own = model("bert")

    class Adapted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) * 1.001  # too little for a comparison of states to notice

    query = own.encoder.layer[0].attention.self.query
    adapted = Adapted(query.in_features, query.out_features)
    adapted.load_state_dict(query.state_dict())
    own.encoder.layer[0].attention.self.query = adapted
    assert PackedEncoder.of(own, torch.float32) is None


def test_a_model_that_computes_something_else_has_none() -> None:
    own = model("bert")
    own.encoder.layer[1].register_forward_hook(lambda module, given, states: states.flip(-1))
    assert PackedEncoder.of(own, torch.float32) is None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_packing_puts_every_token_in_its_place(lengths: list[int]) -> None:
    lengths = sorted(lengths, reverse=True)
    texts = token_ids(lengths)
    packing = pack(texts)
    count = sum(lengths)
    assert packing.ids[:count].tolist() == [id for ids in texts for id in ids]
    assert packing.positions[:count].tolist() == [place for length in lengths for place in range(length)]
    assert packing.owner[:count].bincount().tolist() == lengths
    assert (packing.owner[count:] == len(texts)).all()
    assert packing.starts.tolist() == np.cumsum([0, *lengths[:-1]]).tolist()
    seen = []
    for group in packing.groups:
        rows = torch.arange(group.span.start, group.span.stop)
        assert group.width % 16 == 0
        if group.rows is not None:
            assert group.places is not None and group.mask is not None
            assert group.rows[group.places].equal(rows)
            real = (group.mask[:, 0, 0] == 0).flatten()
            assert real.nonzero().flatten().equal(group.places)
        seen += rows.tolist()
    assert seen == list(range(count))


@given(st.lists(st.integers(0, 60), max_size=80), st.integers(1, 200), st.none() | st.integers(1, 9))
def test_batches_hold_every_text_once_within_the_budget(lengths: list[int], budget: int, most: int | None) -> None:
    batches = list(batches_of_tokens(lengths, budget, most))
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[row] for row in batch) <= budget
        assert most is None or len(batch) <= most
        sizes = [lengths[row] for row in batch]
        assert sizes == sorted(sizes, reverse=True)


def test_few_row_counts() -> None:
    counts = {len(pack(token_ids([length] * texts)).ids) for length in (1, 7, 30) for texts in (1, 5, 33, 80, 130)}
    assert counts <= {16, 32, 64, 128, 256, 512, 1024, 2048, 4096}


def test_documents_do_not_depend_on_budget_or_threads(tiny_encoder: Any) -> None:
    texts = [" ".join(["river", "engine"] * (number % 25 + 1)) for number in range(60)]
    encoder = BiEncoder.load(tiny_encoder, precision="fp32", raw_backbone=True)
    whole = encoder.encode_documents(texts)
    encoder.token_budget = 64
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        counted: list[int] = []
        small = encoder.encode_documents(texts, on_batch=counted.append)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert sum(counted) == len(texts) and len(counted) > 5
    assert np.allclose(whole, small, atol=1e-5)
    assert encoder._packed_pass(torch.float32) is not None
