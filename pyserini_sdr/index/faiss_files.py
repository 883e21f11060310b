"""FAISS indexes of every type, opened and read alike: class → type name, parameters, vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np

from ..core.errors import DataError, UsageError
from .binary import from_bits, stored_bits

_MAPPED = getattr(faiss, "IO_FLAG_MMAP_IFC", 0) | faiss.IO_FLAG_READ_ONLY
_MAPPED_LISTS = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY
_CLASSES = (  # subclasses before their bases
    ("binary", "IndexBinaryFlat"),
    ("ivf-pq", "IndexIVFPQ"),
    ("ivf", "IndexIVFFlat"),
    ("hnsw-pq", "IndexHNSWPQ"),
    ("hnsw", "IndexHNSWFlat"),
    ("pq", "IndexPQ"),
    ("flat", "IndexFlat"),
)


def open_mapped(path: Path) -> Any:
    """The index in a file, for searching; its vectors stay in the file where FAISS can map it (1.11 and later).

    Raises:
        DataError: FAISS cannot read it.
    """
    try:
        with path.open("rb") as handle:
            kind = handle.read(4)
        if kind.startswith(b"IB"):
            return faiss.read_index_binary(str(path), _MAPPED)
        lists = kind.startswith(b"Iw") or kind == b"IxPT"  # inverted lists have a mapping of their own
        return faiss.read_index(str(path), _MAPPED_LISTS if lists else _MAPPED)
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def read_whole(path: Path) -> Any:
    """The index in a file, in memory, for changing it."""
    try:
        with path.open("rb") as handle:
            binary = handle.read(2) == b"IB"
        return faiss.read_index_binary(str(path)) if binary else faiss.read_index(str(path))
    except RuntimeError as error:
        raise _unreadable(path, error) from error


def write(index: Any, path: Path) -> None:
    """Writes an index of any type."""
    try:
        if isinstance(index, faiss.IndexBinary):
            faiss.write_index_binary(index, str(path))
        else:
            faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise DataError(path, f"cannot be written by faiss: {_cause(error)}", remedy="is the disk full?") from error


def unreadable_vectors(path: Path, error: RuntimeError) -> DataError:
    """The fault of a file that opens but does not give its vectors back."""
    return DataError(path, f"its vectors cannot be read: {_cause(error)}", remedy="build it anew")


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    return DataError(path, f"cannot be read by faiss: {_cause(error)}", remedy="build it anew")


def _cause(error: RuntimeError) -> str:
    text = str(error).strip().splitlines()[0]
    return text.rsplit("Error: ", 1)[-1][:200]


def is_inner_product(index: Any) -> bool:
    """Whether larger scores are better (a binary index is rescored by inner product)."""
    return isinstance(index, faiss.IndexBinary) or index.metric_type == faiss.METRIC_INNER_PRODUCT


def inner(index: Any) -> Any:
    """The index behind a transformation of vectors, or the index itself."""
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index


def lists_of(index: Any) -> Any | None:
    """The part with inverted lists, None if there is none."""
    found = inner(index)
    return found if isinstance(found, faiss.IndexIVF) else None


def type_of(index: Any) -> str:
    """The name of its type in `index.types.TYPES`, or the name of a class that we do not make."""
    if isinstance(index, faiss.IndexPreTransform):
        first = faiss.downcast_VectorTransform(index.chain.at(0))
        rotation = type(first) in (faiss.OPQMatrix, faiss.LinearTransform) and first.is_orthonormal
        if index.chain.size() == 1 and rotation and type_of(inner(index)) == "ivf-pq":
            return "opq"  # its matrix comes back from a file as a LinearTransform
        return type(index).__name__
    if isinstance(index, faiss.IndexScalarQuantizer) and index.sq.qtype == faiss.ScalarQuantizer.QT_8bit:
        return "sq8"
    for name, class_name in _CLASSES:
        if isinstance(index, getattr(faiss, class_name)):
            return name
    return type(index).__name__


def parameters_of(index: Any) -> dict[str, int]:
    """What the file says of its parameters, by the names of the flags of `index build`."""
    found: dict[str, int] = {}
    part = inner(index)
    if isinstance(part, faiss.IndexHNSW):
        found |= {"M": part.hnsw.nb_neighbors(1), "efC": part.hnsw.efConstruction, "ef_search": part.hnsw.efSearch}
        part = faiss.downcast_index(part.storage)
    if isinstance(part, faiss.IndexIVF):
        found |= {"nlist": part.nlist, "nprobe": part.nprobe}
    if isinstance(part, faiss.IndexPQ | faiss.IndexIVFPQ):
        found |= {"pq_m": part.pq.M, "pq_nbits": part.pq.nbits}
    return found


def set_search(index: Any, name: object, *, nprobe: int | None, ef_search: int | None) -> None:
    """Sets what is not None; `UsageError` where the type has no such parameter."""
    part = inner(index)
    if nprobe is not None:
        if not isinstance(part, faiss.IndexIVF):
            raise UsageError(f"--nprobe {nprobe}: {name} is an index of type {type_of(index)!r}, which has no lists")
        part.nprobe = min(nprobe, part.nlist)
    if ef_search is not None:
        if not isinstance(part, faiss.IndexHNSW):
            raise UsageError(f"--ef-search {ef_search}: {name} is of type {type_of(index)!r}, which has no graph")
        part.hnsw.efSearch = ef_search


def vectors(index: Any, start: int, stop: int) -> np.ndarray:
    """Stored (or reconstructed) vectors (stop − start, dim) float32."""
    if isinstance(index, faiss.IndexBinary) or lists_of(index) is not None:
        return take(index, np.arange(start, stop))
    return index.reconstruct_n(start, stop - start)


def take(index: Any, positions: np.ndarray) -> np.ndarray:
    """Stored (or reconstructed) vectors of some positions, (len(positions), dim) float32."""
    if isinstance(index, faiss.IndexBinary):
        return from_bits(stored_bits(index)[positions])
    lists = lists_of(index)
    if lists is not None and lists.direct_map.type == faiss.DirectMap.NoMap:  # else every vector is looked for
        lists.make_direct_map()
    return index.reconstruct_batch(np.ascontiguousarray(positions, np.int64))
