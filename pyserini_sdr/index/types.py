"""The types of index: what each is, what it can do, and how large it gets. Nothing here loads faiss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FLAT_HEADER = 45
_HEADERS = 150
"""Bytes around the arrays of a file, about; matters for toy indexes only."""
_BINARY_HEADER = 33


@dataclass(frozen=True)
class IndexType:
    """A type that `index build --type` makes.

    Args:
        summary: one line for lists.
        parameters: the flags that it takes, as fields of `BuildOptions`.
        trained: it learns from a sample of the vectors.
        exact: it gives back the vectors as they were put in.
        stock: stock Pyserini's `pyserini.search.faiss` reads and searches it.
        no_append, no_delete: why not, where FAISS cannot.
    """

    summary: str
    parameters: tuple[str, ...] = ()
    trained: bool = False
    exact: bool = False
    stock: bool = True
    no_append: str | None = None
    no_delete: str | None = None


_GRAPH_DELETE = "vectors cannot be taken out of a graph"
_PQ, _IVF, _HNSW = ("pq_m", "pq_nbits"), ("nlist", "nprobe"), ("M", "efC", "ef_search")
_TRAINING = ("train_size", "train_from")

TYPES: Mapping[str, IndexType] = {
    "flat": IndexType("every vector as it is; exact search", exact=True),
    "hnsw": IndexType("flat vectors and a graph through them", _HNSW, exact=True, no_delete=_GRAPH_DELETE),
    "hnsw-pq": IndexType(
        "a graph made with the exact vectors, which are then kept as PQ codes",
        (*_HNSW, *_PQ, *_TRAINING),
        trained=True,
        no_append="its graph was made with exact vectors, which it does not keep",
        no_delete=_GRAPH_DELETE,
    ),
    "ivf": IndexType("exact vectors in lists, of which a few are searched", (*_IVF, *_TRAINING), True, True),
    "ivf-pq": IndexType("PQ codes in lists, of which a few are searched", (*_IVF, *_PQ, *_TRAINING), True),
    "opq": IndexType("ivf-pq after a learned rotation (OPQ)", (*_IVF, *_PQ, *_TRAINING), True),
    "pq": IndexType("PQ codes, all of them searched", (*_PQ, *_TRAINING), True),
    "sq8": IndexType("one byte per dimension, all vectors searched", _TRAINING, True),
    "binary": IndexType("one bit per dimension: Hamming distance, then the best rescored", stock=False),
}

Parameters = Mapping[str, int]
"""Resolved parameters of a type, by the names of `BuildOptions`."""


def code_bytes(parameters: Parameters) -> int:
    """Bytes of a vector's PQ code."""
    return (parameters["pq_m"] * parameters["pq_nbits"] + 7) // 8


def file_bytes(type: str, count: int, dimension: int, parameters: Parameters) -> int:
    """Size of the `index` file, estimated: exact for flat, within a few per cent for the others."""
    floats = 4 * dimension * count
    if type == "flat":
        return FLAT_HEADER + floats
    if type == "binary":
        return _BINARY_HEADER + count * (dimension // 8)
    if type == "sq8":
        return _HEADERS + count * dimension + 8 * dimension
    size = _HEADERS
    if "pq_m" in parameters:
        size += count * code_bytes(parameters) + 4 * dimension * 2 ** parameters["pq_nbits"]
    else:
        size += floats
    if "nlist" in parameters:
        size += 8 * count + parameters["nlist"] * (4 * dimension + 8)
    if "M" in parameters:
        size += graph_bytes(count, parameters["M"])
    if type == "opq":
        size += 4 * dimension * dimension
    return size


def graph_bytes(count: int, m: int) -> int:
    """Size of an HNSW graph: 2·M links on the ground level, M on every level above, of which a vector has 1/(M−1)."""
    return int(count * (4 * (2 * m + m / (m - 1)) + 8 + 4))


def building_bytes(type: str, count: int, dimension: int, parameters: Parameters, block_rows: int) -> int:
    """Memory that building takes, estimated; pages of mapped input files are not counted, the system can drop them."""
    block = 4 * dimension * min(count, block_rows)
    hashes = 24 * count
    if type == "flat":
        return 2 * block + hashes
    held = file_bytes(type, count, dimension, parameters)
    if type == "hnsw-pq":  # the graph is made with the exact vectors
        held += 4 * dimension * count
    sample = 4 * dimension * parameters.get("train_size", 0)
    return max(held + 2 * block, 3 * sample) + hashes
