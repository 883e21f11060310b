"""What `encode` writes: stock's files with the encoder's vectors, in every form and from every kind of corpus."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.encode import engine
from pyserini_sdr.encode.flat import HEADER_BYTES, flat_header
from pyserini_sdr.encode.loading import load_any_encoder
from pyserini_sdr.index.store import open_index
from pyserini_sdr.model.encoder import BiEncoder

from .make import read_index, run_encode


def records(collection: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (collection / "corpus" / "part-0.jsonl").read_text("utf-8").splitlines()]


def write_corpus(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> BiEncoder:
    return BiEncoder.load(checkpoint, device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def index(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny collection, encoded in chunks of 16; do not write into it."""
    return run_encode(tiny_collection, tmp_path_factory.mktemp("encoded") / "index", checkpoint)


@given(st.integers(1, 9), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_flat_header_equals_faiss(dimension: int, count: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    flat = faiss.IndexFlatIP(dimension)
    flat.add(vectors)
    written = faiss.serialize_index(flat).tobytes()
    assert flat_header(dimension, count) + vectors.tobytes() == written
    assert len(flat_header(dimension, count)) == HEADER_BYTES


@given(st.integers(1, 50), st.integers(1, 60))
def test_shards_are_stocks(count: int, number: int) -> None:
    bounds = [engine.shard_bounds(count, shard, number) for shard in range(number)]
    assert [start for start, _ in bounds] == [int(count / number) * shard for shard in range(number)]
    assert [stop for _, stop in bounds[:-1]] == [start for start, _ in bounds[1:]]
    assert (bounds[0][0], bounds[-1][1]) == (0, count)


def test_index_holds_the_encoders_vectors(index: Path, tiny_collection: Path, encoder: BiEncoder) -> None:
    ids, vectors = read_index(index)
    rows = records(tiny_collection)
    assert ids == [row["id"] for row in rows]
    np.testing.assert_allclose(vectors, encoder.encode_documents([row["contents"] for row in rows]), atol=1e-5)
    assert sorted(path.name for path in index.iterdir()) == ["docid", "index", "sdr_index.json"]


def test_manifest(index: Path, tiny_collection: Path, checkpoint: Path, encoder: BiEncoder) -> None:
    manifest = json.loads((index / "sdr_index.json").read_text())
    assert (manifest["kind"], manifest["type"], manifest["count"], manifest["dimension"]) == ("index", "flat", 60, 32)
    assert manifest["encoder"] == str(checkpoint.resolve())
    assert manifest["weights"] == encoder.fingerprint
    assert manifest["spec"] == encoder.spec.to_dict()
    assert manifest["precision"] == "float32"
    assert manifest["corpus"]["path"] == str(tiny_collection) and manifest["corpus"]["documents"] == 60
    assert manifest["config"]["output"]["chunk_size"] == 16


def test_chunk_size_and_budget_change_no_more_than_rounding(
    index: Path, tiny_collection: Path, checkpoint: Path, tmp_path: Path
) -> None:
    settings = ("--precision", "fp32", "--token-budget", 100, "--batch-size", 3)
    other = run_encode(tiny_collection, tmp_path / "i", checkpoint, out=("--to-faiss",), model=settings)
    assert (other / "docid").read_bytes() == (index / "docid").read_bytes()
    np.testing.assert_allclose(read_index(other)[1], read_index(index)[1], atol=1e-5)


def test_embeddings_file(index: Path, tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    folder = run_encode(tiny_collection, tmp_path / "e", checkpoint, out=("--chunk-size", 7))
    assert sorted(path.name for path in folder.iterdir()) == ["embeddings.jsonl", "sdr_index.json"]
    lines = [json.loads(line) for line in (folder / "embeddings.jsonl").read_text("utf-8").splitlines()]
    assert [list(line) for line in lines[:1]] == [["id", "contents", "vector"]]
    assert [(line["id"], line["contents"]) for line in lines] == [
        (row["id"], row["contents"]) for row in records(tiny_collection)
    ]
    vectors = np.array([line["vector"] for line in lines], dtype=np.float32)
    np.testing.assert_allclose(vectors, read_index(index)[1], atol=1e-5)


def test_shards_make_the_whole(index: Path, tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    shards = [
        run_encode(tiny_collection, tmp_path / f"s{shard}", checkpoint, input=("--shard-id", shard, "--shard-num", 7))
        for shard in range(7)
    ]
    parts = [read_index(shard) for shard in shards]
    assert [len(ids) for ids, _ in parts] == [8] * 6 + [12]
    ids, vectors = read_index(index)
    assert [id for part, _ in parts for id in part] == ids
    np.testing.assert_allclose(np.concatenate([part for _, part in parts]), vectors, atol=1e-5)
    assert json.loads((shards[1] / "sdr_index.json").read_text())["shard"] == {"id": 1, "num": 7, "start": 8}


def test_more_shards_than_documents(tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shard-num 100: shard 3 of 60 documents is empty"):
        run_encode(tiny_collection, tmp_path / "s", checkpoint, input=("--shard-id", 3, "--shard-num", 100))
    assert not (tmp_path / "s").exists()


ROWS: list[dict[str, object]] = [
    {"key": 7, "title": "river", "text": "the engine of music"},
    {"key": "007", "title": "", "text": "garden"},
]
CUT = [{"key": row["key"], "contents": f"{row['title']}\n{row['text']}"} for row in ROWS]


@pytest.mark.parametrize("rows", [ROWS, CUT], ids=["keys", "contents"])
@pytest.mark.parametrize(
    ("fields", "wanted", "texts"),
    [
        (("title", "text"), (), ["the engine of music", "garden"]),  # stock: text unless more is asked for
        (("title", "text"), ("--fields", "title", "text"), ["river the engine of music", "garden"]),
        (("title", "text"), ("--fields", "text"), ["the engine of music", "garden"]),
    ],
)
def test_fields(
    encoder: BiEncoder,
    checkpoint: Path,
    tmp_path: Path,
    rows: list[dict[str, object]],
    fields: tuple[str, ...],
    wanted: tuple[str, ...],
    texts: list[str],
) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", rows)
    folder = run_encode(
        corpus,
        tmp_path / "i",
        checkpoint,
        input=("--fields", *fields, "--docid-field", "key"),
        model=("--precision", "fp32", *wanted),
    )
    ids, vectors = read_index(folder)
    assert ids == ["7", "007"]
    np.testing.assert_allclose(vectors, encoder.encode_documents(texts), atol=1e-5)


def test_contents_beside_vectors_are_the_fields_read(checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", ROWS)
    flags = ("--fields", "text", "title", "--docid-field", "key")
    folder = run_encode(corpus, tmp_path / "e", checkpoint, input=flags, out=())
    lines = [json.loads(line) for line in (folder / "embeddings.jsonl").read_text().splitlines()]
    assert [line["contents"] for line in lines] == ["the engine of music\nriver", "garden\n"]


def test_add_sep_encodes_a_pair(encoder: BiEncoder, checkpoint: Path, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", ROWS)
    flags = ("--precision", "fp32", "--fields", "title", "text", "--add-sep")
    inputs = ("--fields", "title", "text", "--docid-field", "key")
    folder = run_encode(corpus, tmp_path / "i", checkpoint, input=inputs, model=flags)
    expected = encoder.encode_documents(["the engine of music", "garden"], titles=["river", ""])
    np.testing.assert_allclose(read_index(folder)[1], expected, atol=1e-5)


def test_beir_fields_by_themselves(encoder: BiEncoder, checkpoint: Path, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"_id": "a", "title": "river", "text": "of music"}, {"_id": "b", "text": "garden"}]
    folder = run_encode(write_corpus(tmp_path / "c.jsonl", rows), tmp_path / "i", checkpoint)
    ids, vectors = read_index(folder)
    assert ids == ["a", "b"]
    np.testing.assert_allclose(vectors, encoder.encode_documents(["river of music", "garden"]), atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "overrides"),
    [
        (("--pooling", "cls"), {"pooling": "cls"}),
        (("--no-l2-norm",), {"similarity": "dot"}),
        (("--prefix", "the music"), {"document_prefix": "the music"}),
        (("--prefix", ""), {"document_prefix": ""}),
        (("--max-length", 5), {"document_max_length": 5}),
    ],
)
def test_flags_override_the_spec(
    tiny_collection: Path, checkpoint: Path, tmp_path: Path, flags: tuple[object, ...], overrides: dict[str, object]
) -> None:
    folder = run_encode(tiny_collection, tmp_path / "i", checkpoint, model=("--precision", "fp32", *flags))
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32", **overrides)
    expected = encoder.encode_documents([row["contents"] for row in records(tiny_collection)])
    np.testing.assert_allclose(read_index(folder)[1], expected, atol=1e-5)
    assert json.loads((folder / "sdr_index.json").read_text())["spec"] == encoder.spec.to_dict()


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (("--dimension", 768), UsageError, "encoder: --dimension 768: the encoder's dimension is 32"),
        (("--max-length", 4096), UsageError, "maximum document length 4096: the encoder has positions for 128 tokens"),
        (("--fields", "title", "text"), UsageError, "--fields title text: give input --fields as well"),
        (("--device", "nonsense"), UsageError, "--device nonsense: "),
    ],
)
def test_refused_before_anything_is_written(
    tiny_collection: Path,
    checkpoint: Path,
    tmp_path: Path,
    flags: tuple[object, ...],
    error: type[SdrError],
    message: str,
) -> None:
    with pytest.raises(error) as caught:
        run_encode(tiny_collection, tmp_path / "i", checkpoint, model=flags)
    assert message in str(caught.value)
    assert not (tmp_path / "i").exists()


def test_raw_backbone_needs_flags(tiny_collection: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --pooling and --l2-norm or --no-l2-norm"):
        run_encode(tiny_collection, tmp_path / "i", tiny_encoder)
    flags = ("--precision", "fp32", "--pooling", "cls", "--no-l2-norm")
    assert len(read_index(run_encode(tiny_collection, tmp_path / "i", tiny_encoder, model=flags))[0]) == 60


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": "a", "contents": ""}', "c.jsonl:2: document 'a' has an empty text"),
        (b'{"contents": "x"}', "c.jsonl:2: no document id"),
        (b'{"id": "d0", "contents": "x"}', "c.jsonl:2: duplicate document id 'd0'"),
        (b'{"id": "a" "contents"}', "c.jsonl:2: invalid JSON"),
        (b"\xff\xfe", "c.jsonl:2: not UTF-8"),
    ],
)
def test_bad_corpus_leaves_nothing(checkpoint: Path, tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'{"id": "d0", "contents": "x"}\n' + line + b"\n")
    with pytest.raises(DataError) as caught:
        run_encode(tmp_path / "c.jsonl", tmp_path / "i", checkpoint)
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl"]


class BrokenEncoder:
    """Gives NaN for one document."""

    def __init__(self, encoder: BiEncoder) -> None:
        self.encoder = encoder

    def identity(self) -> dict[str, object]:
        return self.encoder.identity()

    def encode_documents(self, documents: list[str], **_: object) -> np.ndarray:
        vectors = np.ones((len(documents), 32), dtype=np.float32)
        vectors[[text.startswith("bad") for text in documents]] = np.nan
        return vectors


def test_nan_from_the_encoder_names_the_document(
    encoder: BiEncoder, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = write_corpus(tmp_path / "c.jsonl", [{"id": "d1", "contents": "x"}, {"id": "d2", "contents": "bad"}])
    monkeypatch.setattr(engine, "load_encoder", lambda options: BrokenEncoder(encoder))
    with pytest.raises(SdrError, match="document 'd2': the encoder gave NaN or infinite values"):
        run_encode(corpus, tmp_path / "i", checkpoint)
    assert not (tmp_path / "i" / "index").exists()


def test_stock_command_is_printed(
    tiny_collection: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run_encode(tiny_collection, tmp_path / "clip-index", checkpoint)
    text = capsys.readouterr().err
    assert f"python -m pyserini.search.faiss --index {folder}" in text
    assert "--encoder-class auto --pooling mean --l2-norm --query-prefix what:" in text


def test_onnx_gives_the_same_vectors(
    index: Path, tiny_collection: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    copy = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    settings = ("--backend", "onnx")
    folder = run_encode(tiny_collection, tmp_path / "i", copy, out=("--to-faiss",), model=settings)
    (ids, vectors), (expected_ids, expected) = read_index(folder), read_index(index)
    assert ids == expected_ids
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    manifest = json.loads((folder / "sdr_index.json").read_text())
    assert (manifest["backend"], manifest["precision"]) == ("onnx", "float32")
    assert "tokens/s" in capsys.readouterr().err
    for made in (folder, index):  # by either, and asked by the other
        open_index(made).check_encoder(load_any_encoder(copy, side="query", backend="onnx", device="cpu"))


def test_onnx_is_for_our_encoders() -> None:
    with pytest.raises(UsageError, match="--backend onnx: an encoder of class 'ance' runs in stock Pyserini's own way"):
        load_any_encoder("name", "ance", side="document", backend="onnx")
