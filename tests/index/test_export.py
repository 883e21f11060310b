"""`index export` writes what Anserini's dense indexers read."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, SdrError, UsageError

from .make import TYPE_FLAGS, build, clustered, index, manifest, names, spec, write_index


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("export") / "flat", clustered(300), **spec())


def read(folder: Path) -> tuple[list[str], np.ndarray]:
    """Ids and vectors of an export, in the order of its files, read without our code."""
    records: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".jsonl":
            records += map(json.loads, path.read_text("utf-8").splitlines())
        else:
            pq = pytest.importorskip("pyarrow.parquet")
            records += pq.read_table(path).to_pylist()
    return [record["docid"] for record in records], np.array([record["vector"] for record in records], np.float32)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_vectors_come_back_bit_by_bit(flat: Path, tmp_path: Path, format: str) -> None:
    output = tmp_path / "out"
    words = ("export", "--index", flat, "--to", "lucene", "--output", output, "--format", format, "--rows", 120)
    assert index(*words) == 0
    assert sorted(p.name for p in output.iterdir()) == [f"vectors-0000{n}.{format}" for n in range(3)]
    ids, vectors = read(output)
    assert ids == names(300)
    np.testing.assert_array_equal(vectors, clustered(300))
    facts = json.loads((tmp_path / "out.json").read_text())
    assert facts["kind"] == "export" and facts["count"] == 300 and facts["weights"] == "f" * 64
    with pytest.raises(DataError, match="already exists and is not empty; give another path or --overwrite"):
        index(*words)
    first = {path.name: path.read_bytes() for path in output.iterdir()}
    assert index(*words, "--overwrite") == 0
    assert {path.name: path.read_bytes() for path in output.iterdir()} == first


def test_parquet_is_of_the_types_that_anserini_reads(flat: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    index("export", "--index", flat, "--output", tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out" / "vectors-00000.parquet")
    assert [(field.name, str(field.type)) for field in schema] == [
        ("docid", "string"),
        ("vector", "list<element: float>"),
    ]


@pytest.mark.parametrize("type", ["hnsw", "ivf"])
def test_other_exact_types(flat: Path, tmp_path: Path, type: str) -> None:
    made = build(flat, tmp_path / "made", "--type", type)
    assert index("export", "--index", made, "--output", tmp_path / "out", "--format", "jsonl") == 0
    np.testing.assert_array_equal(read(tmp_path / "out")[1], clustered(300))


def test_refusals_leave_nothing(flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(error: type[Exception], message: str, source: Path, *flags: object) -> None:
        with pytest.raises(error, match=message):
            index("export", "--index", source, "--output", tmp_path / "out", *flags)
        assert not list(tmp_path.glob("*out*"))

    codes = build(flat, tmp_path / "codes", "--type", "pq", "--pq-m", TYPE_FLAGS["pq"][1])
    refused(UsageError, "codes: is of type 'pq', or made of one, whose vectors are compressed; export the", codes)
    unpacked = build(codes, tmp_path / "unpacked")
    assert manifest(unpacked)["exact"] is False
    refused(UsageError, "unpacked: is of type 'flat', or made of one", unpacked)
    long = clustered(300)
    long[200] *= 2
    refused(DataError, r"the vector of 'd83755' has length 2; Lucene scores by", write_index(tmp_path / "long", long))
    long[200] = np.nan
    refused(DataError, r"the vector of 'd83755' has length nan", write_index(tmp_path / "long", long))
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pyarrow":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    refused(SdrError, "parquet needs pyarrow: `pip install pyarrow`, or give --format jsonl", flat)


def test_into_the_index_itself(flat: Path) -> None:
    with pytest.raises(UsageError, match="is the index directory"):
        index("export", "--index", flat, "--output", flat, "--overwrite")
    assert (flat / "index").exists()


def test_overwrite_replaces_exports_only(flat: Path, tmp_path: Path) -> None:
    """A directory named by mistake stays as it is."""
    home = tmp_path / "home"
    source = write_index(home / "deep" / "flat", clustered(10))
    (home / "thesis.tex").write_text("mine")
    for output, error, message in (
        (home, UsageError, "holds the index directory"),
        (home / "deep", UsageError, "holds the index directory"),
    ):
        with pytest.raises(error, match=message):
            index("export", "--index", source, "--output", output, "--format", "jsonl", "--overwrite")
    with pytest.raises(DataError, match=r"home: holds 'deep', which no export has written, so it is not replaced"):
        index("export", "--index", flat, "--output", home, "--format", "jsonl", "--overwrite")
    assert (home / "thesis.tex").read_text() == "mine" and (source / "index").exists()
