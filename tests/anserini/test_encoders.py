"""Encoders of stock classes in our shape: the stock class's vectors, whole weights, refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pyserini_sdr.anserini import compat, encoders, jvm
from pyserini_sdr.anserini.encoder_classes import ENCODER_CLASSES, StockSpec, class_name, problem_with, refuse_fixed
from pyserini_sdr.anserini.encoders import StockEncoder
from pyserini_sdr.anserini.java import Java, NoJavaError
from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.encode.loading import stock_search_flags
from pyserini_sdr.model.fingerprint import weights_fingerprint

from .stock_models import make_ance, make_dpr

TITLES = ["river", "engine", "", "music"]
TEXTS = ["riverba of the riverdo", "engineba " * 30, "garden", "the musicfi and musicgu"]
RESOLVED = SimpleNamespace(directory="model")


@pytest.fixture(scope="module")
def checkpoints(found_java: Java, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Class → a checkpoint of it; `dpr-query` is the other one of DPR."""
    jvm.start()
    folder = tmp_path_factory.mktemp("stock")
    return {
        "ance": make_ance(folder / "roberta"),
        "contriever": tiny_encoder,
        "dpr": make_dpr(folder / "context", tiny_encoder, "Context"),
        "dpr-query": make_dpr(folder / "question", tiny_encoder, "Question", seed=1),
        "sentence-transformers": tiny_encoder,
        "tct_colbert": tiny_encoder,
    }


def stock(name: str, side: str, checkpoint: Path) -> Any:
    """The class as `pyserini.encode` has it, built by hand; ANCE with its weights put in (stock 1.6 fails to)."""
    import pyserini.encode

    entry, weights = ENCODER_CLASSES[name], checkpoint / "pytorch_model.bin"
    if name == "ance":  # stock 2.4 wants this file too
        torch.save(encoders._read_weights(checkpoint), weights)
    try:
        with encoders._whole_weights(checkpoint, side):
            return getattr(pyserini.encode, getattr(entry, side))(str(checkpoint), device="cpu", **entry.arguments)
    finally:
        weights.unlink(missing_ok=True)


@pytest.mark.parametrize("name", sorted(ENCODER_CLASSES))
def test_vectors_are_those_of_the_stock_class(checkpoints: dict[str, Path], name: str) -> None:
    """In the order given, whatever the batches; titles as the class takes them."""
    encoder = StockEncoder(checkpoints[name], name, side="document", device="cpu")
    encoder.token_budget, encoder.max_batch = 60, 2
    batches: list[int] = []
    plain = encoder.encode_documents(TEXTS, on_batch=batches.append)
    assert sum(batches) == len(TEXTS) and max(batches) <= 2 and len(batches) > 2
    assert plain.dtype == np.float32 and plain.shape == (4, encoder.spec.dimension)
    reference = stock(name, "document", checkpoints[name])
    alone = np.concatenate([reference.encode([text], max_length=256) for text in TEXTS])
    np.testing.assert_allclose(plain, alone, atol=1e-5)
    assert abs(plain[0] - plain[3]).max() > 1e-3
    paired = encoder.encode_documents(TEXTS, titles=TITLES)
    expected = [
        reference.encode([text], titles=[title], max_length=256, add_sep=True)
        for title, text in zip(TITLES, TEXTS, strict=True)
    ]
    np.testing.assert_allclose(paired, np.concatenate(expected), atol=1e-5)
    assert abs(paired - plain).max() > 1e-3


@pytest.mark.parametrize("name", sorted(ENCODER_CLASSES))
def test_queries_are_those_of_the_stock_class(checkpoints: dict[str, Path], name: str) -> None:
    checkpoint = checkpoints.get(f"{name}-query", checkpoints[name])
    encoder = StockEncoder(checkpoint, name, side="query", device="cpu")
    reference = stock(name, "query", checkpoint)
    vectors = encoder.encode_queries(TEXTS[:3])
    np.testing.assert_allclose(vectors, np.stack([reference.encode(text) for text in TEXTS[:3]]), atol=1e-6)
    assert vectors.dtype == np.float32
    assert encoder.encode_queries([]).shape == (0, encoder.spec.dimension)


def test_documents_are_cut_at_their_length(checkpoints: dict[str, Path]) -> None:
    encoder = StockEncoder(checkpoints["tct_colbert"], "tct_colbert", side="document", document_max_length=8)
    one, other = encoder.encode_documents(["river and engine of garden market " + end for end in ("music", "planet")])
    np.testing.assert_allclose(one, other, atol=1e-6)
    assert encoder.spec.document_max_length == 8


def test_identity(checkpoints: dict[str, Path]) -> None:
    encoder = StockEncoder(checkpoints["contriever"], "contriever", side="query", device="cpu")
    identity = json.loads(json.dumps(encoder.identity()))
    assert identity == {
        "encoder": str(checkpoints["contriever"].resolve()),
        "weights": weights_fingerprint(checkpoints["contriever"]),
        "spec": {"encoder_class": "contriever", "dimension": 32, "document_max_length": 256},
        "precision": "float32",
        "device": "cpu",
    }
    assert StockSpec.from_dict(identity["spec"], "x.json") == encoder.spec


def test_missing_weights_are_refused(checkpoints: dict[str, Path]) -> None:
    """Stock gives vectors of random weights here."""
    from transformers import PreTrainedModel

    before = PreTrainedModel.__dict__["from_pretrained"]
    with pytest.raises(DataError) as caught:
        StockEncoder(checkpoints["dpr"], "dpr", side="query")
    message = str(caught.value)
    assert message.startswith(f"{checkpoints['dpr']}: lacks 37 weights of a DPRQuestionEncoder (question_encoder.")
    assert message.endswith("is it the query encoder of this class?")
    assert PreTrainedModel.__dict__["from_pretrained"] is before


def test_ance_head_is_that_of_the_checkpoint(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source = checkpoints["ance"]
    weights = load_file(source / "model.safetensors")
    model = StockEncoder(source, "ance", side="document")._documents.model
    np.testing.assert_array_equal(model.embeddingHead.weight.detach().numpy(), weights["embeddingHead.weight"].numpy())
    assert not model.training
    for path in source.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file({key: value for key, value in weights.items() if "norm.bias" not in key}, tmp_path / "model.safetensors")
    with pytest.raises(DataError, match=r"lacks 1 weights of a AnceEncoder \(norm\.bias"):
        StockEncoder(tmp_path, "ance", side="document")


def test_damaged_checkpoint_is_one_line(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    for path in checkpoints["tct_colbert"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"no weights at all")
    with pytest.raises(DataError, match="cannot be loaded as a query encoder of class 'tct_colbert': "):
        StockEncoder(tmp_path, "tct_colbert", side="query")


def test_text_that_the_class_cannot_take_is_one_line(checkpoints: dict[str, Path]) -> None:
    """DPR does not truncate queries; stock dies with a traceback."""
    encoder = StockEncoder(checkpoints["dpr-query"], "dpr", side="query", device="cpu")
    with pytest.raises(SdrError, match=r"encoder class 'dpr' fails on a query \(.+\): is it longer than"):
        encoder.encode_queries(["river " * 200])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "mean"}, "--pooling: encoder class 'tct_colbert' fixes it"),
        ({"similarity": "dot"}, "--l2-norm: encoder class 'tct_colbert' fixes it"),
        ({"document_prefix": ""}, "--prefix: encoder class"),
        ({"query_prefix": "q:"}, "--query-prefix: encoder class"),
        ({"query_max_length": 32}, "the length of a query: encoder class"),
        ({"precision": "bf16"}, "--precision bf16: encoder class 'tct_colbert' computes in fp32"),
    ],
)
def test_settings_that_the_class_fixes(settings: dict[str, Any], message: str) -> None:
    """Refused before anything is loaded: the checkpoint is not even looked for."""
    with pytest.raises(UsageError) as caught:
        StockEncoder("nowhere", "tct_colbert", side="query", **settings)
    assert str(caught.value).startswith(message)


def test_settings_not_given_are_nothing_to_refuse() -> None:
    refuse_fixed("ance", {"pooling": None, "document_prefix": None})


def test_names() -> None:
    assert class_name(None) == class_name("auto") == "auto"
    assert class_name("sentence") == class_name("sentence-transformers") == "sentence-transformers"
    assert problem_with("tct_colbert") is None
    assert problem_with("tct-colbert").startswith("unknown encoder class 'tct-colbert'; did you mean 'tct_colbert'?")
    with pytest.raises(UsageError, match="is no stock class here"):
        StockEncoder("nowhere", "auto", side="query")


@pytest.mark.parametrize(
    "values",
    [
        {"encoder_class": "nonsense", "dimension": 32, "document_max_length": 256},
        {"encoder_class": "ance", "dimension": 32},
    ],
)
def test_damaged_spec(values: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"^i/sdr_index\.json: the encoder spec .* is not of a known encoder class"):
        StockSpec.from_dict(values, "i/sdr_index.json")


def test_no_java(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise NoJavaError("no Java", "install one")

    monkeypatch.setattr(jvm, "start", none)
    with pytest.raises(NoJavaError, match="no Java"):
        StockEncoder(tiny_encoder, "tct_colbert", side="document")


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    """Encoding, searching and mining with an encoder of ours need no pyserini."""
    code = (
        "import sys, pyserini_sdr.mine.engine, pyserini_sdr.encode.engine\n"
        "print({'pyserini', 'jnius', 'pyserini_sdr.anserini.encoders'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("pyserini", "transformers", "loads"),
    [("1.6.0", "5.23.0", False), ("1.6.0", "4.57.1", True), ("2.0.0", "5.0.0", False), ("2.1.0", "5.23.0", True)],
)
def test_who_loads_ance(pyserini: str, transformers: str, loads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command for stock is not printed where stock would fail."""
    monkeypatch.setattr(compat.metadata, "version", {"pyserini": pyserini, "transformers": transformers}.get)
    assert compat.loads_own_models() is loads
    assert stock_search_flags(SimpleNamespace(spec=StockSpec("ance", 768, 256), resolved=RESOLVED)) == (
        {"encoder": "model", "encoder_class": "ance"} if loads else None
    )
