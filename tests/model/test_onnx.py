"""`OnnxEncoder`: the vectors of `BiEncoder`, without torch once the encoder has been exported."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.model import onnx, onnx_export
from pyserini_sdr.model.checkpoint import save_checkpoint
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.names import ResolvedEncoder
from pyserini_sdr.model.onnx import OnnxEncoder

TEXTS = ["river", "the engine of music " * 30, "é garden, market!", "", "planet with 12 rivers", "x" * 50]
SPEC = {"query_prefix": "what:", "document_prefix": "in:", "query_max_length": 16, "document_max_length": 40}


def save(folder: Path, backbone: Path, **spec: object) -> Path:
    given = {"pooling": "mean", "similarity": "cosine", **SPEC, **spec}
    encoder = BiEncoder.load(backbone, device="cpu", precision="fp32", **given)
    save_checkpoint(folder, encoder.backbone, encoder.tokenizer, encoder.spec)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has been exported."""
    folder = save(tmp_path_factory.mktemp("onnx") / "checkpoint", tiny_encoder)
    OnnxEncoder.load(folder, device="cpu")
    return folder


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_vectors_are_those_of_torch(checkpoint: Path, pooling: str, similarity: str) -> None:
    spec = {"pooling": pooling, "similarity": similarity}
    ours = OnnxEncoder.load(checkpoint, device="cpu", **spec)
    torch_encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32", **spec)
    ours.token_budget = 50  # several batches, with padding
    for method, arguments in (
        ("encode_queries", {}),
        ("encode_documents", {}),
        ("encode_documents", {"titles": TEXTS}),
    ):
        found, expected = (getattr(one, method)(TEXTS[::-1], **arguments) for one in (ours, torch_encoder))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_it_passes_for_the_encoder_that_made_an_index(checkpoint: Path) -> None:
    ours, other = OnnxEncoder.load(checkpoint, device="cpu"), BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    assert ours.fingerprint == other.fingerprint and ours.spec == other.spec
    assert ours.identity() == {**other.identity(), "backend": "onnx"}
    assert not ours.truncated
    small = OnnxEncoder.load(checkpoint, device="cpu", dimension=8)
    assert small.truncated and small.encode_queries(["river"]).shape == (1, 8)


def test_nothing_to_encode(checkpoint: Path) -> None:
    encoder = OnnxEncoder.load(checkpoint, device="cpu")
    assert encoder.encode_documents([]).shape == encoder.encode_queries([]).shape == (0, 32)


def test_two_parts_make_the_whole(checkpoint: Path) -> None:
    encoder, batches = OnnxEncoder.load(checkpoint, device="cpu"), []
    encoder.max_batch = 4
    prepared = encoder.prepare_documents(TEXTS)
    whole = encoder.encode_documents(TEXTS)
    assert (encoder.encode_prepared(prepared, on_batch=batches.append) == whole).all()
    assert batches == [4, 2]
    assert prepared.tokens == sum(len(ids) for ids in prepared.ids) and max(map(len, prepared.ids)) == 40


def test_no_torch_once_exported(checkpoint: Path) -> None:
    code = (
        "import sys\n"
        "from pyserini_sdr.encode.loading import load_any_encoder\n"
        "encoder = load_any_encoder(sys.argv[1], side='query', backend='onnx', device='cpu')\n"
        "print(encoder.encode_queries(['river']).shape, {'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(checkpoint)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 32) set()"


def test_exported_once(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    monkeypatch.setattr(onnx_export, "export", lambda *_: pytest.fail("exported again"))
    OnnxEncoder.load(copy, device="cpu")
    for weights in copy.glob("*.safetensors"):  # what was exported is all that is needed
        weights.unlink()
    before = OnnxEncoder.load(checkpoint, device="cpu")
    assert OnnxEncoder.load(copy, device="cpu").fingerprint == before.fingerprint


def test_other_weights_are_exported_anew(checkpoint: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    from ..tiny import make_tiny_encoder

    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    save(copy, make_tiny_encoder(tmp_path / "other", seed=1))
    found = OnnxEncoder.load(copy, device="cpu").encode_queries(TEXTS)
    np.testing.assert_allclose(found, BiEncoder.load(copy, device="cpu").encode_queries(TEXTS), atol=1e-5)
    assert (
        json.loads((copy / "onnx" / "sdr_onnx.json").read_text())["weights"] != OnnxEncoder.load(checkpoint).fingerprint
    )


@pytest.mark.parametrize("why", ["hub", "foreign"])
def test_places_of_others_are_left_alone(
    tiny_encoder: Path, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYSERINI_SDR_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = save(tmp_path / "checkpoint", tiny_encoder)
    if why == "foreign":
        (folder / "onnx").mkdir()
        (folder / "onnx" / "model.onnx").write_bytes(b"of sentence-transformers")
    resolved = ResolvedEncoder("name", folder, "hub" if why == "hub" else "path")
    place, _ = onnx.exported(resolved)
    assert place.parent == tmp_path / "cache" / "pyserini_sdr" / "onnx"
    assert onnx.exported(resolved)[0] == place
    assert not (folder / "onnx" / "sdr_onnx.json").exists()


def test_export_that_differs_is_refused(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "checkpoint", tiny_encoder)
    monkeypatch.setattr(onnx_export, "_TOLERANCE", -1.0)
    with pytest.raises(SdrError, match=r"the exported model differs from the checkpoint by .* use --backend torch"):
        OnnxEncoder.load(folder, device="cpu")
    assert not (folder / "onnx").exists()


def test_missing_package_is_named(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = save(tmp_path / "checkpoint", tiny_encoder)
    monkeypatch.setattr(onnx_export.importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    with pytest.raises(SdrError, match=r"needs the package onnx; pip install 'pyserini_sdr\[onnx\]'"):
        OnnxEncoder.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "bf16"}, "--precision bf16: --backend onnx computes in fp32"),
        ({"device": "cuda:7"}, "--device cuda:7: --backend onnx knows cpu and cuda"),
        ({"dimension": 99}, "dimension 99: the embeddings of"),
    ],
)
def test_what_cannot_be(checkpoint: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        OnnxEncoder.load(checkpoint, **options)


def test_damaged_files(checkpoint: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    (copy / "onnx" / "model.onnx").write_bytes(b"half")
    with pytest.raises(DataError, match=r"model\.onnx: cannot be loaded by onnxruntime: .*; delete"):
        OnnxEncoder.load(copy, device="cpu")
    (copy / "onnx" / "sdr_onnx.json").write_text("{}")
    with pytest.raises(DataError, match=r"sdr_onnx\.json: is not the record of an export; delete"):
        OnnxEncoder.load(copy, device="cpu")
    shutil.rmtree(copy / "onnx")
    for weights in copy.glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(DataError, match="holds neither weights nor an export of them"):
        OnnxEncoder.load(copy, device="cpu")
