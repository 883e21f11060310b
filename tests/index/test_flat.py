"""Flat index files read by memory map: the vectors faiss wrote, and every damage told."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.encode.flat import HEADER_BYTES, flat_header
from pyserini_sdr.index.flat import open_flat


def write(path: Path, vectors: np.ndarray) -> Path:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    faiss.write_index(index, str(path))
    return path


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (100, 32), (0, 5)])
def test_vectors_are_those_that_faiss_wrote(tmp_path: Path, shape: tuple[int, int]) -> None:
    vectors = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    flat = open_flat(write(tmp_path / "index", vectors))
    assert (len(flat), flat.dimension) == shape
    assert flat.vectors.shape == shape and np.array_equal(flat.vectors, vectors)
    if not shape[0]:
        return
    with pytest.raises(ValueError, match="read-only"):
        flat.vectors[...] = 0
    some = np.array([shape[0] - 1, 0, shape[0] // 2])
    assert np.array_equal(flat.take(some), vectors[some])
    half = shape[0] // 2
    for out in (None, np.full((shape[0] + 2, shape[1]), np.nan, np.float32)):
        rows = flat.read(half, shape[0], out)
        assert np.array_equal(rows, vectors[half:]) and rows.flags.aligned and rows.flags.c_contiguous


@given(dimension=st.integers(1, 5), count=st.integers(0, 6))
def test_header_of_ours_is_read(tmp_path_factory: pytest.TempPathFactory, dimension: int, count: int) -> None:
    path = tmp_path_factory.mktemp("flat") / "index"
    path.write_bytes(flat_header(dimension, count) + bytes(4 * dimension * count))
    flat = open_flat(path)
    assert (flat.dimension, flat.count, flat.vectors.shape) == (dimension, count, (count, dimension))


@pytest.mark.parametrize("factory", ["SQ8", "PQ2x4", "HNSW4", "IVF2,Flat", "L2norm,Flat"])
def test_other_types_are_not_flat(tmp_path: Path, factory: str) -> None:
    index = faiss.index_factory(4, factory, faiss.METRIC_INNER_PRODUCT)
    vectors = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index"))
    assert open_flat(tmp_path / "index") is None


def test_an_l2_index_is_not_flat_inner_product(tmp_path: Path) -> None:
    faiss.write_index(faiss.IndexFlatL2(4), str(tmp_path / "index"))
    assert open_flat(tmp_path / "index") is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: raw[:20], "is cut within its header (20 bytes)"),
        (lambda raw: raw[:-1], "index: 92 bytes, 4 vectors of dimension 3 take 93; build it anew"),
        (lambda raw: raw + b"x", "index: 94 bytes, 4 vectors of dimension 3 take 93"),
        (lambda raw: flat_header(3, 5) + raw[HEADER_BYTES:], "93 bytes, 5 vectors of dimension 3 take 105"),
        (lambda raw: raw[:4] + b"\0\0\0\0" + raw[8:], "damaged header: dimension 0, 4 vectors, 12 numbers"),
        (lambda raw: raw[:33] + b"\1" + raw[34:], "damaged header: dimension 3, 4 vectors, 12 numbers, metric 1"),
        (lambda raw: raw[:37] + b"\2" + raw[38:], "damaged header: dimension 3, 4 vectors, 2 numbers"),
    ],
)
def test_damage(tmp_path: Path, change, message: str) -> None:
    path = write(tmp_path / "index", np.ones((4, 3)))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        open_flat(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read: No such file"):
        open_flat(tmp_path / "index")
