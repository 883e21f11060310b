"""Checkpoints: the same bytes whatever happened before, the same vectors in every library that loads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pyserini_sdr.model.checkpoint import save_checkpoint
from pyserini_sdr.model.encoder import BiEncoder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_bytes_do_not_depend_on_what_was_tokenized(checkpoint: Path, tmp_path: Path) -> None:
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    encoder.tokenizer(["the river", "a"], padding=True, truncation=True, max_length=5)
    encoder.encode_documents(["river " * 50])
    save_checkpoint(tmp_path / "again", encoder.backbone, encoder.tokenizer, encoder.spec)
    assert contents(tmp_path / "again") == contents(checkpoint)
    assert encoder.tokenizer.model_max_length == encoder.spec.query_max_length
    assert encoder.tokenizer(["a " * 99], truncation=True, max_length=6)["input_ids"][0][5:]  # still usable


def test_saving_leaves_the_tokenizer_alone(checkpoint: Path, tmp_path: Path) -> None:
    encoder = BiEncoder.load(checkpoint, device="cpu")
    encoder.tokenizer.model_max_length = 77
    save_checkpoint(tmp_path / "x", encoder.backbone, encoder.tokenizer, encoder.spec)
    assert encoder.tokenizer.model_max_length == 77


def test_files_name_no_place_and_no_state(checkpoint: Path) -> None:
    for name, content in contents(checkpoint).items():
        if name.endswith(".json"):
            assert str(checkpoint.parent).encode() not in content, name
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text())
    assert tokenizer["truncation"] is None and tokenizer["padding"] is None
    spec = BiEncoder.load(checkpoint, device="cpu").spec
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    assert settings["model_max_length"] == spec.query_max_length  # what stock truncates queries by


def test_reloaded_is_the_same(checkpoint: Path, texts: list[str], tmp_path: Path) -> None:
    first = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    save_checkpoint(tmp_path / "copy", first.backbone, first.tokenizer, first.spec)
    second = BiEncoder.load(tmp_path / "copy", device="cpu", precision="fp32")
    assert second.spec == first.spec and second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(second.encode_documents(texts), first.encode_documents(texts))


@pytest.mark.filterwarnings("ignore")
def test_sentence_transformers_gives_the_same_vectors(checkpoint: Path, texts: list[str]) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    ours = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    theirs = library.SentenceTransformer(str(checkpoint), device="cpu")
    np.testing.assert_allclose(theirs.encode_query(texts), ours.encode_queries(texts), atol=1e-5)
    np.testing.assert_allclose(theirs.encode_document(texts), ours.encode_documents(texts), atol=1e-5)
    assert theirs.similarity_fn_name == ours.spec.similarity


@pytest.mark.filterwarnings("ignore")
def test_what_sentence_transformers_saves_is_the_same_encoder(
    checkpoint: Path, texts: list[str], tmp_path: Path
) -> None:
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    library.SentenceTransformer(str(checkpoint), device="cpu").save(str(tmp_path / "theirs"))
    assert not (tmp_path / "theirs" / "sdr_encoder.json").exists()
    ours = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    back = BiEncoder.load(tmp_path / "theirs", device="cpu", precision="fp32")
    assert back.spec.document_side() == ours.spec.document_side()
    assert (back.spec.query_prefix, back.spec.query_max_length) == (ours.spec.query_prefix, ours.spec.query_max_length)
    np.testing.assert_allclose(back.encode_queries(texts), ours.encode_queries(texts), atol=1e-5)


def test_plain_transformers_gives_the_same_vectors(checkpoint: Path, texts: list[str]) -> None:
    from transformers import AutoModel, AutoTokenizer

    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    spec = encoder.spec
    model, tokenizer = AutoModel.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)
    inputs = tokenizer(
        [spec.document_text(text) for text in texts],
        truncation=True,
        max_length=spec.document_max_length,
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    vectors = states[:, 0] if spec.pooling == "cls" else (states * mask).sum(1) / mask.sum(1)
    if spec.normalize:
        vectors = torch.nn.functional.normalize(vectors, dim=1)
    np.testing.assert_allclose(vectors.numpy(), encoder.encode_documents(texts), atol=1e-5)
