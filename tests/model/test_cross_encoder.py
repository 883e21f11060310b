"""`CrossEncoder`: transformers' own logits, truncation, order, precision, refusals, saving."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.model import cross_encoder
from pyserini_sdr.model.cross_encoder import CrossEncoder

from ..teach.make import make_cross_encoder
from .conftest import make_texts


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("cross") / "one", tiny_encoder)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    documents = make_texts(30, seed=3)
    return [(query, document) for query in ("river bado", "what is the engine") for document in documents]


def by_transformers(checkpoint: Path, pairs: list[tuple[str, str]]) -> np.ndarray:
    """Logits of transformers, one pair at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.no_grad():
        rows = [
            model(
                **tokenizer([query], [document], truncation="only_second", max_length=64, return_tensors="pt")
            ).logits[0]
            for query, document in pairs
        ]
    return torch.stack(rows).numpy()


def test_one_label_is_its_logit(checkpoint, pairs):
    scores = CrossEncoder.load(checkpoint, device="cpu", precision="fp32").score(pairs)
    assert scores.dtype == np.float32 and scores.std() > 0.1
    np.testing.assert_allclose(scores, by_transformers(checkpoint, pairs)[:, 0], atol=1e-4)


def test_two_labels_are_the_difference(tiny_encoder, tmp_path, pairs):
    folder = make_cross_encoder(tmp_path / "two", tiny_encoder, labels=2)
    expected = by_transformers(folder, pairs)
    scores = CrossEncoder.load(folder, device="cpu", precision="fp32").score(pairs)
    np.testing.assert_allclose(scores, expected[:, 1] - expected[:, 0], atol=1e-4)


def test_token_types_reach_the_model(checkpoint, pairs):
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="fp32")
    inputs = encoder.inputs(encoder.tokenize(pairs[:3]))
    assert inputs["token_type_ids"].unique().tolist() == [0, 1]
    encoder.tokenizer.model_input_names = ["input_ids", "attention_mask"]
    without = CrossEncoder(encoder.model, encoder.tokenizer, 64, precision="fp32").score(pairs)
    assert np.abs(without - encoder.score(pairs)).max() > 1e-3


def test_order_and_batches_change_nothing(checkpoint, pairs):
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="fp32")
    seen: list[int] = []
    scores = encoder.score(pairs, on_batch=seen.append)
    assert sum(seen) == len(pairs)
    np.testing.assert_allclose(encoder.score(pairs[::-1])[::-1], scores, atol=1e-4)
    encoder.token_budget, encoder.max_batch = 100, 3
    np.testing.assert_allclose(encoder.score(pairs), scores, atol=1e-4)
    assert encoder.score([]).shape == (0,)


def test_slices_change_nothing(checkpoint, pairs, monkeypatch):
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="fp32")
    whole, tokenize, sizes, seen = encoder.score(pairs), encoder.tokenize, [], []
    monkeypatch.setattr(encoder, "tokenize", lambda part: sizes.append(len(part)) or tokenize(part))
    monkeypatch.setattr(cross_encoder, "_SLICE", 25)
    np.testing.assert_allclose(encoder.score(pairs, on_batch=seen.append), whole, atol=1e-4)
    assert sizes == [25, 25, 10] and sum(seen) == 60


def test_the_query_survives_truncation(checkpoint):
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="fp32", max_length=16)
    query = " ".join(["river", "engine", "garden", "market", "planet"])
    ((ids, _),) = encoder.tokenize([(query, "music " * 100)])
    assert len(ids) == 16
    words = encoder.tokenizer.convert_ids_to_tokens(ids)
    assert words[1:6] == query.split() and words.count("music") == 16 - 3 - 5


def test_a_query_longer_than_half_is_cut(checkpoint):
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="fp32", max_length=16)
    tokenized = encoder.tokenize([("river " * 50, "music engine"), ("river " * 50, "music " * 50), ("ü" * 99, "")])
    words = encoder.tokenizer.convert_ids_to_tokens(tokenized[0][0])
    assert words.count("river") == 8 and words[-3:-1] == ["music", "engine"]
    assert len(tokenized[1][0]) == 16


def test_bf16_orders_as_float32_and_does_not_tie(checkpoint, pairs):
    exact = CrossEncoder.load(checkpoint, device="cpu", precision="fp32").score(pairs)
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="bf16")
    rough = encoder.score(pairs)
    assert np.corrcoef(exact, rough)[0, 1] > 0.99
    assert len(set(rough.tolist())) > 0.9 * len(set(exact.tolist()))  # logits in bf16 would coincide
    assert next(encoder.model.parameters()).dtype == torch.float32


def test_default_and_longest_lengths(checkpoint):
    assert CrossEncoder.load(checkpoint).max_length == 64  # the tokenizer's; the model has 128 positions
    assert CrossEncoder.load(checkpoint, max_length=100).max_length == 100
    with pytest.raises(UsageError, match="maximum length 129: the model has positions for 128 tokens"):
        CrossEncoder.load(checkpoint, max_length=129)


def test_saving(checkpoint, tmp_path, pairs):
    encoder = CrossEncoder.load(checkpoint, device="cpu", precision="fp32", max_length=48)
    before = encoder.score(pairs)
    for name in ("one", "two"):
        encoder.save(tmp_path / name)
    again = CrossEncoder.load(tmp_path / "one", device="cpu", precision="fp32")
    assert again.max_length == 48
    np.testing.assert_array_equal(again.score(pairs), before)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert again.fingerprint == CrossEncoder.load(tmp_path / "two").fingerprint
    assert again.identity()["max_length"] == 48
    with pytest.raises(DataError, match="not empty"):
        encoder.save(tmp_path / "one")


def test_three_labels_are_refused(tiny_encoder, tmp_path):
    folder = make_cross_encoder(tmp_path / "three", tiny_encoder, labels=3)
    with pytest.raises(DataError, match=r"config\.json: has 3 labels, a cross-encoder for ranking has 1 or 2"):
        CrossEncoder.load(folder)


def test_a_backbone_without_a_head_is_refused(tiny_encoder):
    with pytest.raises(DataError, match=r"2 weights are missing \(classifier\.bias, classifier\.weight\).*--train"):
        CrossEncoder.load(tiny_encoder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bert.encoder.layer.0.output.dense.bias"), "1 weights are missing (bert.encoder"),
        (lambda state: state.update({"extra.weight": torch.zeros(2)}), "1 weights are unexpected (extra.weight)"),
        (lambda state: state.update({"classifier.bias": torch.zeros(2)}), "1 weights are misshapen (classifier.bias)"),
    ],
)
def test_weights_that_do_not_fit(checkpoint, tmp_path, change, message):
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in checkpoint.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DataError, match=re.escape(message)):
        CrossEncoder.load(folder)
    (folder / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="damaged weights"):
        CrossEncoder.load(folder)


def test_not_a_checkpoint(tmp_path):
    with pytest.raises(DataError, match="no such checkpoint directory"):
        CrossEncoder.load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nothing"}))
    with pytest.raises(DataError, match="cannot be loaded as a cross-encoder"):
        CrossEncoder.load(tmp_path)
