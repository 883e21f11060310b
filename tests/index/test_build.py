"""`index build` and opening what it or stock made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.index.__main__ import COMMAND
from pyserini_sdr.index.store import open_index
from pyserini_sdr.model.encoder import BiEncoder

from ..encode.make import make_checkpoint, read_index, run_encode


@pytest.fixture(scope="module")
def embeddings(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(tiny_collection, tmp_path_factory.mktemp("build") / "embeddings", checkpoint, out=())


@pytest.fixture(scope="module")
def flat(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(tiny_collection, tmp_path_factory.mktemp("build") / "flat", checkpoint)


def build(source: Path, output: Path, *flags: str) -> Path:
    argv = ["build", "--input", str(source), "--output", str(output), *flags]
    assert COMMAND.execute("python -m pyserini_sdr.index", argv) == 0
    return output


def write_flat(folder: Path, vectors: np.ndarray, ids: list[str] | None = None, metric: str = "IP") -> Path:
    """An index directory as stock writes it: no manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    index = getattr(faiss, f"IndexFlat{metric}")(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    faiss.write_index(index, str(folder / "index"))
    ids = [f"d{n}" for n in range(len(vectors))] if ids is None else ids
    (folder / "docid").write_text("".join(f"{id}\n" for id in ids))
    return folder


@pytest.mark.parametrize("source", ["embeddings", "flat"])
def test_build_gives_the_encoded_index(source: str, flat: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    built = build(request.getfixturevalue(source), tmp_path / "deep" / "index")
    assert sorted(path.name for path in built.iterdir()) == ["docid", "index", "sdr_index.json"]
    assert (built / "docid").read_bytes() == (flat / "docid").read_bytes()
    assert (built / "index").read_bytes() == (flat / "index").read_bytes()
    made, before = (json.loads((folder / "sdr_index.json").read_text()) for folder in (built, flat))
    for key in ("encoder", "weights", "spec", "precision", "count", "dimension", "corpus"):
        assert made[key] == before[key], key
    assert made["sources"] == [str(request.getfixturevalue(source))]


def test_build_from_stocks_files(tmp_path: Path) -> None:
    """Several files, integer ids, no manifest: names decide the order."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "b.jsonl").write_text('{"id": 7, "contents": "x", "vector": [0, 1]}\n')
    (source / "a.jsonl").write_text('{"id": "007", "vector": [1.5, -2]}\n\n{"id": "é", "vector": [0.25, 0]}\n')
    ids, vectors = read_index(build(source, tmp_path / "index"))
    assert ids == ["007", "é", "7"]
    assert vectors.tolist() == [[1.5, -2.0], [0.25, 0.0], [0.0, 1.0]]
    assert open_index(tmp_path / "index").spec is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "d1", "vector": [1, 2, 3]}', "a.jsonl:2: vector of dimension 3 after ones of 2"),
        ('{"id": "d0", "vector": [1, 2]}', "a.jsonl:2: duplicate document id 'd0'"),
        ('{"id": "d 1", "vector": [1, 2]}', "a.jsonl:2: document id"),
        ('{"vector": [1, 2]}', "a.jsonl:2: document id"),
        ('{"id": "d1", "vector": [1, NaN]}', "a.jsonl:2: vector: NaN or infinite value"),
        ('{"id": "d1", "vector": [1, 1e40]}', "a.jsonl:2: vector: NaN or infinite value"),
        ('{"id": "d1", "vector": "1 2"}', "a.jsonl:2: vector: expected a list of numbers"),
        ('{"id": "d1", "vector": [[1], [2]]}', "a.jsonl:2: vector: expected a list of numbers"),
        ('{"id": "d1", "vector": []}', "a.jsonl:2: vector: expected a list of numbers"),
        ('{"id": "d1"}', "a.jsonl:2: vector: expected a list of numbers"),
        ('{"id": "d1"', "a.jsonl:2: invalid JSON"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_bad_embeddings_leave_no_index(tmp_path: Path, line: str, message: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.jsonl").write_text('{"id": "d0", "vector": [1, 2]}\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        build(source, tmp_path / "index")
    assert message in str(caught.value)
    assert not list((tmp_path / "index").glob("*")) if (tmp_path / "index").exists() else True


def test_refusals(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such input directory"):
        build(tmp_path / "nowhere", tmp_path / "index")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds neither index nor embedding \.jsonl files"):
        build(tmp_path / "empty", tmp_path / "index")
    (tmp_path / "empty" / "a.jsonl").write_text("\n")
    with pytest.raises(DataError, match="holds no vectors"):
        build(tmp_path / "empty", tmp_path / "index")
    with pytest.raises(UsageError, match="is the input directory"):
        build(flat, flat)
    assert not (tmp_path / "index").exists()
    for name, what in (("embeddings.jsonl", r"embeddings\.jsonl"), ("segments_2", "a Lucene index")):
        other = tmp_path / name.replace(".", "-")
        other.mkdir()
        (other / name).write_text("")
        with pytest.raises(DataError, match=f"holds {what}; give another directory"):
            build(flat, other, "--overwrite")
        assert [path.name for path in other.iterdir()] == [name]


def test_existing_index_is_kept_unless_asked(flat: Path, tmp_path: Path) -> None:
    old = write_flat(tmp_path / "index", np.ones((2, 3)))
    with pytest.raises(DataError, match="already holds an index; give another directory or --overwrite"):
        build(flat, old)
    assert len(open_index(old)) == 2
    assert len(open_index(build(flat, old, "--overwrite"))) == 60


def test_stocks_index_can_be_opened(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    index = open_index(write_flat(tmp_path / "index", vectors))
    assert index.manifest is None and index.spec is None and len(index) == 5
    np.testing.assert_array_equal(index.vectors(1, 4), vectors[1:4])


def edit_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "sdr_index.json").read_text())
    (folder / "sdr_index.json").write_text(json.dumps({**manifest, "count": 59}))


def cut(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-10])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "docid").write_text("d1\nd2\n"), "docid: holds 2 ids for 60 vectors; build the index anew"),
        (lambda f: (f / "docid").write_text("d1\n\nd2\n"), "docid:2: empty document id"),
        (edit_manifest, "sdr_index.json: says 59 vectors, index holds 60; build it anew"),
        (lambda f: cut(f, "index"), "index: cannot be read by faiss: "),
        (lambda f: (f / "index").write_bytes(b"not an index"), "index: cannot be read by faiss: "),
        (lambda f: (f / "index").write_bytes(b""), "index: cannot be read by faiss: "),
        (lambda f: (f / "docid").unlink(), "is not an index directory (index and docid are missing)"),
        (shutil.rmtree, "no such index directory"),
        (lambda f: (f / "sdr_index.json").write_text("{"), "sdr_index.json:1: invalid JSON"),
    ],
)
def test_damaged_index_is_one_line(flat: Path, tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    folder = tmp_path / "index"
    shutil.copytree(flat, folder)
    damage(folder)
    with pytest.raises(DataError) as caught:
        open_index(folder)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


def test_other_kinds_of_directory(embeddings: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds embeddings\.jsonl, not an index; python -m pyserini_sdr\.index build"):
        open_index(embeddings)
    (tmp_path / "lucene").mkdir()
    (tmp_path / "lucene" / "segments_1").write_bytes(b"")
    with pytest.raises(DataError, match=r"is a Lucene index; search it with python -m pyserini_sdr\.search bm25"):
        open_index(tmp_path / "lucene")
    with pytest.raises(UsageError, match="an L2 index: its scores are distances"):
        open_index(write_flat(tmp_path / "l2", np.ones((2, 3)), metric="L2"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "cls"}, "pooling 'mean' ≠ 'cls'"),
        ({"similarity": "dot"}, "similarity 'cosine' ≠ 'dot'"),
        ({"document_prefix": "of:"}, "document_prefix 'in:' ≠ 'of:'"),
        ({"document_max_length": 39}, "document_max_length 40 ≠ 39"),
    ],
)
def test_encoder_with_another_document_side(
    flat: Path, checkpoint: Path, changes: dict[str, object], message: str
) -> None:
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32", **changes)
    with pytest.raises(UsageError) as caught:
        open_index(flat).check_encoder(encoder)
    assert message in str(caught.value) and str(flat) in str(caught.value)


def test_encoder_with_other_weights_or_another_query_side(
    flat: Path, checkpoint: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    from ..tiny import make_tiny_encoder

    index = open_index(flat)
    index.check_encoder(BiEncoder.load(checkpoint, device="cpu", query_prefix="else:", query_max_length=9))
    other = make_checkpoint(tmp_path / "other", make_tiny_encoder(tmp_path / "raw", seed=1))
    with pytest.raises(UsageError, match=r"differs from this one in weights [0-9a-f]{12} ≠ [0-9a-f]{12}"):
        index.check_encoder(BiEncoder.load(other, device="cpu"))
    wide = make_checkpoint(tmp_path / "wide", make_tiny_encoder(tmp_path / "raw64", dim=64))
    with pytest.raises(SdrError, match="holds vectors of dimension 32, the encoder gives 64"):
        index.check_encoder(BiEncoder.load(wide, device="cpu"))
