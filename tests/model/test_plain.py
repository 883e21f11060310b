"""Checkpoints without transformers: the same vectors, and the ordinary way wherever anything is in doubt."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoTokenizer, ElectraConfig, ElectraModel

from pyserini_sdr.core.files import cache_folder
from pyserini_sdr.model import encoder as encoder_module
from pyserini_sdr.model import plain as plain_module
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.fingerprint import tokens_fingerprint
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


def cut(folder: Path) -> None:
    text = (folder / "sdr_plain.json").read_text()
    (folder / "sdr_plain.json").write_text(text[: len(text) // 2])


def of_an_older_kind(folder: Path) -> None:
    record = json.loads((folder / "sdr_plain.json").read_text())
    del record["settings"]["pad_id"]
    (folder / "sdr_plain.json").write_text(json.dumps(record))


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def with_another_tokenizer(folder: Path) -> None:
    """One that can be read, and gives other tokens."""
    made = json.loads((folder / "tokenizer.json").read_text())
    made["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(made))


def without_record(folder: Path) -> None:
    (folder / "sdr_plain.json").unlink()


@pytest.mark.parametrize("damage", [cut, of_an_older_kind, without_tokenizer, with_another_tokenizer, without_record])
def test_a_damaged_note_is_made_again(damage: Callable[[Path], None], checkpoint: Path) -> None:
    expected = load(checkpoint).encode_queries(TEXTS)
    (folder,) = cache_folder("plain").iterdir()
    damage(folder)
    assert open_plain(checkpoint) is None
    ordinary = load(checkpoint)
    assert not is_plain(ordinary)
    repaired = load(checkpoint)
    assert is_plain(repaired) and list(cache_folder("plain").iterdir()) == [folder]
    for encoder in (ordinary, repaired):
        np.testing.assert_array_equal(encoder.encode_queries(TEXTS), expected)


def test_tokenizers_by_version_count(checkpoint: Path) -> None:
    config = checkpoint / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"fast_tokenizer_files": ["tokenizer.4.0.0.json"]}))
    shutil.copy(checkpoint / "tokenizer.json", checkpoint / "tokenizer.4.0.0.json")
    before = load(checkpoint).encode_queries(TEXTS)
    assert is_plain(load(checkpoint))
    made = json.loads((checkpoint / "tokenizer.4.0.0.json").read_text())
    words = made["model"]["vocab"]
    words["the"], words["of"] = words["of"], words["the"]
    (checkpoint / "tokenizer.4.0.0.json").write_text(json.dumps(made))
    assert open_plain(checkpoint) is None
    assert not np.array_equal(load(checkpoint).encode_queries(TEXTS), before)


def test_fingerprint_of_tokens_stays_what_indexes_hold(tmp_path: Path) -> None:
    named = "config tokenizer tokenizer_config special_tokens_map added_tokens vocab"
    others = ["vocab.txt", "merges.txt", "spm.model", "sentencepiece.bpe.model"]
    for name in [f"{name}.json" for name in named.split()] + others:
        (tmp_path / name).write_text(name)
    (tmp_path / "tokenizer_old.json").write_text("not read by anything")
    assert tokens_fingerprint(tmp_path) == "2da2799b6d380f2a18c5df62230a6b569bbefff570d70b8466e38c656125d4e0"


@pytest.mark.parametrize("options", [{"device": "meta"}, {"device": "cpu", "precision": "fp16"}])
def test_only_where_the_packed_pass_runs(
    options: dict[str, str], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(checkpoint)
    for name in ("open_plain", "note_plain"):
        monkeypatch.setattr(encoder_module, name, lambda *_: pytest.fail("looked for a note that is of no use"))
    assert not is_plain(BiEncoder.load(checkpoint, lazy=True, **options, **SPEC))


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """An item for every proof that a checkpoint is plain."""
    done: list[None] = []
    proof = plain_module._same

    def counted(*arguments: Any) -> bool:
        done.append(None)
        return proof(*arguments)

    monkeypatch.setattr(plain_module, "_same", counted)
    return done


@pytest.mark.parametrize("why", ["a file is there", "read-only"])
def test_no_place_to_write_to(
    why: str, checkpoint: Path, proofs: list[None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if why == "read-only":
        monkeypatch.setattr(os, "access", lambda place, mode: not mode & os.W_OK)
    else:
        (tmp_path / "cache").write_text("a file")
    monkeypatch.setattr(plain_module, "weights_fingerprint", lambda _: pytest.fail("a hash for nothing"))
    for _ in range(2):
        assert load(checkpoint).encode_queries(TEXTS).shape == (4, 32)
    assert not proofs


def test_a_note_that_cannot_be_written_to_is_read(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(checkpoint)
    monkeypatch.setattr(os, "access", lambda place, mode: not mode & os.W_OK)
    assert is_plain(load(checkpoint))


def test_a_full_disk(checkpoint: Path, proofs: list[None]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        encoders = [load(checkpoint) for _ in range(2)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not proofs and not any(map(is_plain, encoders))
    assert not list(cache_folder("plain").iterdir())
    load(checkpoint)
    assert len(proofs) == 1 and is_plain(load(checkpoint))


@pytest.mark.parametrize(("kind", "stops"), [(Exception, False), (ZeroDivisionError, True)])
def test_errors_of_tokenizers_stop_nothing(
    kind: type[Exception], stops: bool, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: str) -> None:
        raise kind("of the library")

    monkeypatch.setattr(plain_module, "tokenizers", SimpleNamespace(Tokenizer=SimpleNamespace(from_str=fails)))
    if stops:  # a defect is not hidden
        with pytest.raises(kind):
            load(checkpoint)
    else:
        assert not is_plain(load(checkpoint)) and not cache_folder("plain").exists()


def test_no_cache_at_all(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a home nor a directory for temporary files that is one's own."""
    for name in ("PYSERINI_SDR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    for _ in range(2):
        assert not is_plain(load(checkpoint))


def test_a_backbone_that_is_asked_for_counts(checkpoint: Path) -> None:
    load(checkpoint)
    encoder = load(checkpoint)
    assert is_plain(encoder)
    with torch.no_grad():
        encoder.backbone.embeddings.word_embeddings.weight.mul_(torch.linspace(-1, 1, 32))
    changed = encoder.encode_queries(TEXTS)
    assert not np.allclose(changed, load(checkpoint).encode_queries(TEXTS), atol=1e-2)
