"""The encoder: its vectors equal a plain loop's, and wrong checkpoints are refused in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.model.device import resolve_device
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.pretrained import load_weights
from pyserini_sdr.model.spec import SPEC_FILE, EncoderSpec

WEIGHTS = "model.safetensors"


def plain(encoder: BiEncoder, texts: list[str], max_length: int) -> np.ndarray:
    """One text at a time, with nothing but transformers and the formulas of pooling and normalisation."""
    rows = []
    for text in texts:
        inputs = encoder.tokenizer(text, truncation=True, max_length=max_length, return_tensors="pt")
        with torch.no_grad():
            states = encoder.backbone(**inputs).last_hidden_state[0].numpy()
        row = states[0] if encoder.spec.pooling == "cls" else states.mean(axis=0)
        rows.append(row / np.linalg.norm(row) if encoder.spec.similarity == "cosine" else row)
    return np.stack(rows)


def test_vectors_equal_a_plain_loop(checkpoint: Path, texts: list[str]) -> None:
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    spec = encoder.spec
    queries = plain(encoder, [f"{spec.query_prefix} {text}".lstrip() for text in texts], spec.query_max_length)
    documents = plain(encoder, [f"{spec.document_prefix} {text}".lstrip() for text in texts], spec.document_max_length)
    for budget, most in ((4096, None), (90, None), (300, 3)):
        encoder.token_budget, encoder.max_batch = budget, most
        np.testing.assert_allclose(encoder.encode_queries(texts), queries, atol=1e-5)
        np.testing.assert_allclose(encoder.encode_documents(texts), documents, atol=1e-5)


def test_order_types_and_empty_list(encoder: BiEncoder, texts: list[str]) -> None:
    forward, backward = encoder.encode_documents(texts), encoder.encode_documents(texts[::-1])
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-5)
    assert forward.dtype == np.float32 and forward.shape == (len(texts), 32)
    for empty in (encoder.encode_queries([]), encoder.encode_documents([])):
        assert empty.dtype == np.float32 and empty.shape == (0, 32)
    np.testing.assert_allclose(np.linalg.norm(forward, axis=1), 1, atol=1e-5)


def test_on_batch_counts_every_text(encoder: BiEncoder, texts: list[str]) -> None:
    done: list[int] = []
    encoder.encode_documents(texts, on_batch=done.append)
    assert sum(done) == len(texts)


def test_titles_are_the_first_of_a_pair(encoder: BiEncoder) -> None:
    pair = encoder.encode_documents(["river the"], titles=["music of"])
    joined = plain(encoder, ["music of [SEP] river the"], 64)
    np.testing.assert_allclose(pair, joined, atol=1e-5)


def test_bf16_is_close_and_queries_stay_float32(tiny_encoder: Path, encoder: BiEncoder, texts: list[str]) -> None:
    low = BiEncoder.load(tiny_encoder, device="cpu", precision="bf16", pooling="mean", similarity="cosine")
    cosine = (low.encode_documents(texts) * encoder.encode_documents(texts)).sum(axis=1)
    assert cosine.min() >= 0.999
    assert (low.encode_documents(texts) != encoder.encode_documents(texts)).any()
    np.testing.assert_array_equal(low.encode_queries(texts), encoder.encode_queries(texts))


def test_identity(tiny_encoder: Path, encoder: BiEncoder) -> None:
    identity = json.loads(json.dumps(encoder.identity()))
    assert identity["encoder"] == str(tiny_encoder.resolve())
    assert EncoderSpec(**identity["spec"]) == encoder.spec
    assert (identity["precision"], identity["device"]) == ("float32", "cpu")
    assert len(identity["weights"]) == 64
    with pytest.raises(SdrError, match="not loaded from files"):
        _ = BiEncoder(encoder.backbone, encoder.tokenizer, encoder.spec).fingerprint


def test_device_that_is_not_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(UsageError, match="--device nonsense: "):
        resolve_device("nonsense")
    if not torch.cuda.is_available():
        assert resolve_device("auto") == torch.device("cpu")
        with pytest.raises(UsageError, match="--device cuda:0: "):
            resolve_device("cuda:0")


def test_raw_backbone_must_be_asked_for(tiny_encoder: Path) -> None:
    with pytest.raises(UsageError, match="give --pooling"):
        BiEncoder.load(tiny_encoder, device="cpu")
    raw = BiEncoder.load(tiny_encoder, device="cpu", raw_backbone=True)
    assert (raw.spec.pooling, raw.spec.similarity) == ("mean", "cosine")


def change_weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})

    return apply


def cut_in_half(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def edit_config(name: str, **changes: object) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**values, **changes}))

    return apply


LAST = "encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_weights(lambda t: t.pop(LAST)), f"1 weights are missing ({LAST}); the checkpoint does not fit"),
        (change_weights(lambda t: t.update(extra=torch.zeros(2))), "1 weights are unexpected (extra)"),
        (
            change_weights(lambda t: t.update({"cls.predictions.bias": torch.zeros(2)})),
            "1 weights are unexpected (cls.predictions.bias)",  # a head has no place in a checkpoint of ours
        ),
        (change_weights(lambda t: t.update({LAST: torch.zeros(3, 3)})), f"1 weights are misshapen ({LAST}"),
        (cut_in_half, "damaged weights: "),
        (lambda folder: (folder / WEIGHTS).unlink(), "cannot be loaded as an encoder: "),
        (edit_config(SPEC_FILE, dimension=64), "says dimension 64, the model has 32"),
        (edit_config("config.json", model_type="nonsense"), "cannot be loaded as an encoder: "),
    ],
)
def test_damaged_checkpoint_is_one_line(
    checkpoint: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    damage(folder)
    with pytest.raises(DataError) as caught:
        BiEncoder.load(folder, device="cpu")
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_pooler_may_be_missing(checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    change_weights(lambda t: [t.pop(name) for name in list(t) if name.startswith("pooler.")])(folder)
    assert BiEncoder.load(folder, device="cpu").encode_queries(["river"]).shape == (1, 32)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("BertForMaskedLM", {"intermediate_size": 64}),
        ("RobertaForMaskedLM", {"intermediate_size": 64}),
        ("ModernBertForMaskedLM", {"intermediate_size": 64, "pad_token_id": 0}),
        ("DistilBertForMaskedLM", {}),
        ("ElectraForPreTraining", {"intermediate_size": 64, "embedding_size": 32}),
        ("MPNetForMaskedLM", {"intermediate_size": 64}),
    ],
)
def test_heads_of_foreign_backbones_are_left_out(
    tiny_encoder: Path, tmp_path: Path, kind: str, settings: dict[str, int]
) -> None:
    """Published backbones come with their pre-training heads."""
    import transformers

    cls = getattr(transformers, kind)
    sizes = {"vocab_size": 250, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, **settings}
    if kind.startswith("DistilBert"):
        sizes = {"vocab_size": 250, "dim": 32, "n_layers": 1, "n_heads": 4, "hidden_dim": 64}
    shutil.copytree(tiny_encoder, tmp_path / kind, ignore=shutil.ignore_patterns(WEIGHTS, "config.json"))
    cls(cls.config_class(**sizes)).save_pretrained(tmp_path / kind)
    backbone, _ = load_weights(tmp_path / kind)
    assert backbone.config.hidden_size == 32
