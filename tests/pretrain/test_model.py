"""The bottleneck: what decoders see of a text; and steps in pieces."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.model.spec import EncoderSpec
from pyserini_sdr.pretrain.heads import TokenHead
from pyserini_sdr.pretrain.masking import IGNORED, Masked
from pyserini_sdr.pretrain.methods import METHODS, Row, Source
from pyserini_sdr.pretrain.model import PretrainModel, term_counts
from pyserini_sdr.pretrain.step import Step

TEXTS = [" ".join(["engine", "river", "garden", "planet", "qx"] * 6), "the river of music " * 5, "market " * 12]


def build(loaded, pooling: str = "mean", similarity: str = "cosine", decoders=("decoder",)) -> PretrainModel:
    torch.manual_seed(0)
    spec = EncoderSpec(pooling=pooling, similarity=similarity, dimension=32)
    backbone = copy.deepcopy(loaded.backbone)
    return PretrainModel(backbone, spec, pad_id=0, decoders=decoders, max_length=32, dropout=0.0).eval()


def rows_of(masker, name: str = "cot-mae") -> list[Row]:
    method = METHODS[name](masker, encoder_mask=0.3, decoder_mask=0.45, max_length=32, rarity=np.zeros(1000))
    rng = np.random.default_rng(0)
    sources = [Source(words) for words in masker.words(TEXTS)]
    return [row for source in sources for row in method.rows(source, rng)]


@pytest.mark.parametrize(("pooling", "similarity"), [("mean", "cosine"), ("cls", "dot")])
def test_the_bottleneck_is_the_vector_that_retrieval_uses(loaded, masker, pooling, similarity):
    model = build(loaded, pooling, similarity)
    rng = np.random.default_rng(0)
    unmasked = loaded.tokenizer(["river engine", "music"])["input_ids"]
    rows = [Row("mlm", masker.for_encoder(words, {0}, rng)) for words in masker.words(["river engine", "music"])]
    rows = [Row("mlm", dataclasses.replace(row.text, ids=ids)) for row, ids in zip(rows, unmasked, strict=True)]
    _, vectors = model.encode(rows)
    loaded = copy.copy(loaded)
    loaded.spec = model.spec
    expected = torch.from_numpy(loaded.encode_queries(["river engine", "music"]))
    given = model.bottleneck(vectors)
    if similarity == "cosine":
        assert torch.allclose(given / 32**0.5, expected, atol=1e-5)
        assert torch.allclose(model.bottleneck(3 * vectors), given, atol=1e-5)  # length is not retrieved by
    else:
        assert torch.allclose(given, expected, atol=1e-5)


def test_decoders_reach_the_encoder_through_the_vector_only(loaded, masker):
    model, rows = build(loaded), rows_of(masker)
    layer = model.backbone.encoder.layer[0].attention.self.query.weight
    _, vectors = model.encode(rows)
    [blocked] = torch.autograd.grad(
        sum(model.decode(rows, vectors.detach()).values()), [layer], allow_unused=True, retain_graph=True
    )
    assert blocked is None
    [through] = torch.autograd.grad(sum(model.decode(rows, vectors).values()), [layer])
    assert through.abs().sum() > 0


def test_another_vector_gives_another_loss_of_decoders_and_no_other_of_the_encoder(loaded, masker):
    model, rows = build(loaded), rows_of(masker)
    sums, vectors = model.encode(rows)
    with torch.no_grad():
        own = model.decode(rows, vectors)["decoder"]
        zeroed = model.decode(rows, torch.zeros_like(vectors))["decoder"]
        other = model.decode(rows, vectors.flip(0))["decoder"]
    assert abs(own - zeroed) > 1e-3 and abs(own - other) > 1e-4
    assert set(sums) == {"mlm"} and set(term_counts(rows)) == {"mlm", "decoder"}


def test_the_loss_of_a_term_is_the_cross_entropy_of_its_masked_tokens(loaded, masker):
    """Row by row, unpadded, without the model's own batching."""
    model, rows = build(loaded), rows_of(masker)
    sums, _ = model(rows)
    embeddings = model.backbone.get_input_embeddings().weight
    total = 0.0
    for row in rows:
        states = model.backbone(input_ids=torch.tensor([row.text.ids]))[0][0]
        labels = torch.tensor(row.text.labels)
        total += nn.functional.cross_entropy(model.head(states, embeddings), labels, reduction="sum")
    assert torch.allclose(sums["mlm"], total, rtol=1e-4)


@pytest.mark.parametrize("name", ["cot-mae", "master", "mlm"])
def test_gradients_do_not_depend_on_the_pieces(loaded, masker, name):
    kind = METHODS[name]
    decoders = [d for d in kind.decoders if d != "queries"]
    found = []
    for budget in (1, 100_000):
        model, rows = build(loaded, decoders=decoders), rows_of(masker, name)
        step = Step([*kind.terms, *decoders], decoders, weight=0.5, token_budget=budget, bf16=False)
        loss, logs = step(model, rows, lambda part: part.backward())
        gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
        found.append((loss, logs, gradients))
    (loss, logs, small), (other, _, large) = found
    assert torch.allclose(loss, other, rtol=1e-5) and small.keys() == large.keys()
    assert all(torch.allclose(small[key], large[key], atol=1e-5) for key in small)
    weights = {term: 0.5 if term in decoders else 1.0 for term in (*kind.terms, *decoders)}
    assert abs(float(loss) - sum(weight * logs[term] for term, weight in weights.items())) < 1e-4
    assert step.tokens == sum(term_counts(rows).values()) and 0 < logs["spread"] < 1


def test_held_out_losses_tell_what_the_vector_is_worth(loaded, masker):
    """Decoders get nothing but masks: what is learnt, is learnt from the vector."""
    model, rng, rows = build(loaded), np.random.default_rng(0), []
    for words in masker.words([f"{word} " * 8 for word in ("engine", "river", "market", "music")]):
        blank = Masked([masker.mask_id] * 9, [IGNORED, *(word[0] for word in words)])
        rows.append(Row("mlm", masker.for_encoder(words, {0}, rng), {"decoder": blank}))
    step = Step(["mlm", "decoder"], ["decoder"], weight=1.0, token_budget=10_000, bf16=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    before = step.measure(model, rows)
    for _ in range(60):
        optimizer.zero_grad()
        step(model, rows, lambda part: part.backward())
        optimizer.step()
    after = step.measure(model, rows)
    assert after["decoder"] < 0.5 < before["decoder"] and abs(before["vector_gain"]) < 0.5 < after["vector_gain"]


def test_a_batch_without_a_row_is_refused(loaded):
    step = Step(["mlm"], [], weight=1.0, token_budget=100, bf16=False)
    with pytest.raises(DataError, match="no document of a whole batch is long enough"):
        step(build(loaded), [], lambda part: part.backward())


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert"])
def test_the_head_of_a_checkpoint_is_taken_over(tmp_path, kind):
    """The scores are those of the checkpoint's own model."""
    import transformers

    sizes = (
        {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
        if kind == "DistilBert"
        else {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    )
    torch.manual_seed(0)
    own = getattr(transformers, f"{kind}ForMaskedLM")(getattr(transformers, f"{kind}Config")(vocab_size=50, **sizes))
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    own.eval().save_pretrained(tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    head = TokenHead(16, 16, 50)
    assert head.take_over(tmp_path)
    states = own.base_model(input_ids=ids)[0]
    scores = head(states, own.get_input_embeddings().weight)
    assert torch.allclose(scores, own(input_ids=ids).logits, atol=1e-4)
    assert not TokenHead(16, 16, 51).take_over(tmp_path)
