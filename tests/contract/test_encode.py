"""Stock `pyserini.encode` and ours, given the same arguments, write the same documents and vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.anserini.stock import StockCommand, encode_command
from pyserini_sdr.encode.__main__ import COMMAND
from pyserini_sdr.model.spec import read_spec

from ..encode.make import make_checkpoint, read_index

TITLED = [
    {"id": f"d{n}", "title": f"music {n}", "text": " ".join(["river of engine", "the garden"] * (1 + n % 4))}
    for n in range(12)
]


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts are longer than what it keeps of a document."""
    return make_checkpoint(tmp_path_factory.mktemp("contract") / "checkpoint", tiny_encoder, document_max_length=24)


def stock_command(corpus: Path, output: Path, checkpoint: Path, **changes: object) -> StockCommand:
    """Stock's command for our checkpoint; ours is given the same arguments, but for the output."""
    spec = read_spec(checkpoint, {})
    settings = {
        "corpus": corpus,
        "embeddings": output,
        "encoder": checkpoint,
        "dimension": spec.dimension,
        "pooling": spec.pooling,
        "l2_norm": spec.normalize,
        "document_prefix": spec.document_prefix,
        "max_length": spec.document_max_length,
        "batch_size": 7,
        **changes,
    }
    return encode_command(**settings)


def ours(command: StockCommand, stock: Path, output: Path, *flags: str) -> Path:
    argv = [str(output) if word == str(stock) else word for word in command.args]
    assert COMMAND.execute("python -m pyserini_sdr.encode", [*argv, *flags]) == 0
    return output


def worst_cosine(one: np.ndarray, other: np.ndarray) -> float:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(axis=1) / norms).min())


def test_same_arguments_same_index(tiny_collection: Path, checkpoint: Path, tmp_path: Path):
    stock = tmp_path / "stock"
    command = stock_command(tiny_collection / "corpus", stock, checkpoint)
    command.run(output=stock)
    index = ours(command, stock, tmp_path / "fp32", "--precision", "fp32")
    low = ours(command, stock, tmp_path / "bf16", "--precision", "bf16")
    ids, vectors = read_index(stock)
    assert len(ids) == 60
    assert (index / "docid").read_bytes() == (low / "docid").read_bytes() == (stock / "docid").read_bytes()
    assert (index / "index").read_bytes()[:45] == (stock / "index").read_bytes()[:45]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert worst_cosine(read_index(index)[1], vectors) >= 0.99999
    assert worst_cosine(read_index(low)[1], vectors) >= 0.999


def test_fields_and_embeddings_file(checkpoint: Path, tmp_path: Path):
    """`title` and `text`, no normalisation, no prefix (stock puts it between the two), as JSON lines."""
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in TITLED))
    stock = tmp_path / "stock"
    command = stock_command(
        corpus,
        stock,
        checkpoint,
        fields=("title", "text"),
        pooling="cls",
        l2_norm=False,
        document_prefix=None,
        to_faiss=False,
    )
    command.run(output=stock)
    folder = ours(command, stock, tmp_path / "ours", "--precision", "fp32", "--prefix", "", "--no-l2-norm")
    both = [
        [json.loads(line) for line in (where / "embeddings.jsonl").read_text("utf-8").splitlines()]
        for where in (folder, stock)
    ]
    assert [list(record) for record in both[0]] == [list(record) for record in both[1]]
    for key in ("id", "contents"):
        assert [record[key] for record in both[0]] == [record[key] for record in both[1]]
    vectors = [np.array([record["vector"] for record in records]) for records in both]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)


def test_only_text_is_encoded_unless_more_is_asked_for(checkpoint: Path, tmp_path: Path):
    """Stock's `encoder --fields` is `text` by default, whatever is read."""
    corpus, stock = tmp_path / "corpus.jsonl", tmp_path / "stock"
    corpus.write_text("".join(json.dumps(record) + "\n" for record in TITLED))
    words = stock_command(corpus, stock, checkpoint, fields=("title", "text")).args
    at = words.index("--fields", words.index("encoder"))
    command = StockCommand("pyserini.encode", (*words[:at], *words[at + 3 :]))
    command.run(output=stock)
    folder = ours(command, stock, tmp_path / "ours", "--precision", "fp32")
    np.testing.assert_allclose(read_index(folder)[1], read_index(stock)[1], atol=1e-4)
    more = ours(command, stock, tmp_path / "more", "--precision", "fp32", "--fields", "title", "text")
    assert abs(read_index(folder)[1] - read_index(more)[1]).max() > 1e-3
