"""Checkpoints without transformers: the same vectors, and the ordinary way wherever anything is in doubt."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, ElectraConfig, ElectraModel

from pyserini_sdr.core.files import cache_folder
from pyserini_sdr.model import encoder as encoder_module
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.plain import open_plain

from .test_packed import _BERT, MODELS, model

SPEC = {"pooling": "mean", "similarity": "cosine", "query_max_length": 20, "document_max_length": 40}
TEXTS = ["what is riverba", "", "the of and " * 20, "musicdo Planetra, garden"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYSERINI_SDR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tiny_encoder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_encoder, tmp_path / "checkpoint")


def load(directory: Path, **options: Any) -> BiEncoder:
    return BiEncoder.load(directory, device="cpu", lazy=True, **SPEC, **options)


def is_plain(encoder: BiEncoder) -> bool:
    return not vars(encoder).keys() & {"backbone", "tokenizer"}


@pytest.mark.parametrize("kind", MODELS)
def test_vectors_are_those_of_the_ordinary_way(kind: str, tiny_encoder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    own: nn.Module = model(kind, vocab_size=len(tokenizer))
    own.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    for precision in ("fp32", "bf16"):
        ordinary = BiEncoder.load(tmp_path / "model", device="cpu", precision=precision, **SPEC)
        noting, plain = load(tmp_path / "model", precision=precision), load(tmp_path / "model", precision=precision)
        assert is_plain(plain) and (precision == "bf16" or not is_plain(noting))
        assert plain.identity() == ordinary.identity() and plain.pad_id == ordinary.pad_id
        np.testing.assert_array_equal(plain.encode_queries(TEXTS), ordinary.encode_queries(TEXTS))
        np.testing.assert_array_equal(plain.encode_documents(TEXTS), ordinary.encode_documents(TEXTS))
        pairs = [encoder.encode_documents(TEXTS, titles=TEXTS[::-1]) for encoder in (plain, ordinary)]
        np.testing.assert_array_equal(*pairs)
        assert is_plain(plain)


def test_transformers_is_not_imported(checkpoint: Path) -> None:
    load(checkpoint)
    code = (
        "import sys\n"
        "from pyserini_sdr.encode.loading import load_any_encoder\n"
        "encoder = load_any_encoder(sys.argv[1], side='query', device='cpu', pooling='mean', similarity='cosine')\n"
        "encoder.encode_queries(['the river'])\n"
        "print('transformers' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, checkpoint], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("what", ["weights", "tokenizer", "config", "versions", "record", "copy of the tokenizer"])
def test_any_change_leads_back(what: str, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(checkpoint)
    assert open_plain(checkpoint) is not None
    (folder,) = cache_folder("plain").iterdir()
    if what == "weights":
        tensors = load_file(checkpoint / "model.safetensors")
        tensors["embeddings.LayerNorm.bias"] += 1
        save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    elif what in ("tokenizer", "config"):
        path = checkpoint / ("tokenizer.json" if what == "tokenizer" else "config.json")
        path.write_text(json.dumps(json.loads(path.read_text()), indent=7))
    elif what == "versions":
        monkeypatch.setattr("pyserini_sdr.model.plain.versions", lambda names: {"transformers": "another"})
    elif what == "record":
        (folder / "sdr_plain.json").write_text('{"architecture": {}}')
    else:
        (folder / "tokenizer.json").write_text("{")
    assert open_plain(checkpoint) is None
    assert not is_plain(load(checkpoint))


def test_what_is_not_plain_is_not_noted(tiny_encoder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    sizes = {**_BERT, "vocab_size": len(tokenizer)}
    cases: dict[str, nn.Module] = {
        "activation": model("bert", vocab_size=len(tokenizer), hidden_act="relu"),
        "architecture": ElectraModel(ElectraConfig(**sizes, embedding_size=64)),
    }
    for name, own in cases.items():
        own.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        for _ in range(2):
            encoder = load(tmp_path / name)
            assert not is_plain(encoder) and encoder.encode_queries(TEXTS).shape == (4, 64)
    assert not cache_folder("plain").exists()


def test_weights_that_are_not_as_in_the_files_are_not_noted(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = encoder_module.load_weights

    def changed(directory: Path) -> tuple[nn.Module, Any]:
        backbone, tokenizer = loaded(directory)
        with torch.no_grad():
            backbone.encoder.layer[1].output.LayerNorm.bias[3] += 1e-6
        return backbone, tokenizer

    monkeypatch.setattr(encoder_module, "load_weights", changed)
    load(checkpoint)
    assert open_plain(checkpoint) is None


def test_no_place_to_write_to(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    for _ in range(2):
        assert load(checkpoint).encode_queries(TEXTS).shape == (4, 32)


def test_a_backbone_that_is_asked_for_counts(checkpoint: Path) -> None:
    load(checkpoint)
    encoder = load(checkpoint)
    assert is_plain(encoder)
    with torch.no_grad():
        encoder.backbone.embeddings.word_embeddings.weight.mul_(torch.linspace(-1, 1, 32))
    changed = encoder.encode_queries(TEXTS)
    assert not np.allclose(changed, load(checkpoint).encode_queries(TEXTS), atol=1e-2)
