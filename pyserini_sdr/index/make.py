"""Making FAISS indexes of every type: trained on a sample, filled block by block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss

from ..core.errors import UsageError
from ..core.progress import bar
from ..core.runtime import available_cores
from ..encode.layout import INDEX
from . import faiss_files
from .binary import to_bits
from .pool import Pool
from .store import require_index_directory
from .types import Parameters

_IP = faiss.METRIC_INNER_PRODUCT


@contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """FAISS runs with so many threads inside the block; 0 is one per core."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads or available_cores())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def empty_index(type: str, dimension: int, parameters: Parameters, seed: int) -> Any:
    """An index without vectors, untrained; inner product everywhere (of unit vectors that is their cosine)."""
    if type == "hnsw":
        return _graph(dimension, parameters, seed)
    if type == "sq8":
        return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, _IP)
    if type == "binary":
        return faiss.IndexBinaryFlat(dimension)
    if type in ("pq", "hnsw-pq"):
        index = faiss.IndexPQ(dimension, parameters["pq_m"], parameters["pq_nbits"], _IP)
        _prepare(index.pq.cp, seed)
        return index
    quantizer = faiss.IndexFlatIP(dimension)
    if type == "ivf":
        lists = faiss.IndexIVFFlat(quantizer, dimension, parameters["nlist"], _IP)
    else:
        m, bits = parameters["pq_m"], parameters["pq_nbits"]
        lists = faiss.IndexIVFPQ(quantizer, dimension, parameters["nlist"], m, bits, _IP)
        _prepare(lists.pq.cp, seed)
    _prepare(lists.cp, seed)  # FAISS makes centroids of length 1 for inner product by itself
    lists.nprobe = parameters["nprobe"]
    if type != "opq":
        return lists
    rotation = faiss.OPQMatrix(dimension, parameters["pq_m"])
    codes = faiss.ProductQuantizer(dimension, parameters["pq_m"], parameters["pq_nbits"])
    _prepare(codes.cp, seed)
    rotation.pq = codes
    index = faiss.IndexPreTransform(rotation, lists)
    index.referenced_objects.append(codes)  # alive as long as the rotation, which holds only its address
    return index


def _graph(dimension: int, parameters: Parameters, seed: int) -> Any:
    index = faiss.IndexHNSWFlat(dimension, parameters["M"], _IP)
    index.hnsw.efConstruction, index.hnsw.efSearch = parameters["efC"], parameters["ef_search"]
    index.hnsw.rng = faiss.RandomGenerator(seed)
    return index


def _prepare(clustering: Any, seed: int) -> None:
    clustering.seed = seed
    clustering.min_points_per_centroid = 1  # we warn ourselves, once


def trained_from(directory: Path, type: str, dimension: int, nprobe: int | None) -> Any:
    """An index without vectors that has learned what another one has (of `hnsw-pq`, its codes alone).

    Raises:
        UsageError: the other is of another type or dimension.
    """
    index = faiss_files.read_whole(require_index_directory(directory) / INDEX)
    if faiss_files.type_of(index) != type or index.d != dimension:
        raise UsageError(
            f"--train-from {directory}: is an index of type {faiss_files.type_of(index)!r} and dimension {index.d}, "
            f"not {type!r} and {dimension}"
        )
    index.reset()
    if type == "hnsw-pq":  # only its codes have been learned; the graph is made anew
        index = faiss.clone_index(faiss.downcast_index(index.storage))
    faiss_files.set_search(index, directory, nprobe=nprobe, ef_search=None)
    return index


def train(index: Any, pool: Pool, size: int, seed: int) -> None:
    """Trains an index on a sample of the pool."""
    index.train(pool.take(pool.sample(size, seed)))


def fill(index: Any, pool: Pool) -> None:
    """Adds all vectors of the pool to an index of any type, a block at a time."""
    with bar(total=len(pool), unit="doc", desc="add") as progress:
        for vectors in pool.blocks():
            index.add(to_bits(vectors) if isinstance(index, faiss.IndexBinary) else vectors)
            progress.update(len(vectors))


def make(type: str, pool: Pool, parameters: Parameters, *, seed: int, learned: Any | None = None) -> Any:
    """An index of the vectors of a pool, in memory.

    Args:
        type: one of `index.types.TYPES`, but not flat (`writing.write_flat` streams that to its file).
        parameters: of `parameters.resolve`.
        seed: of sample, training and graph.
        learned: an empty, trained index to fill.
    """
    index = learned or empty_index(type, pool.dimension, parameters, seed)
    if learned is None and "train_size" in parameters:
        train(index, pool, parameters["train_size"], seed)
    fill(index, pool)
    if type != "hnsw-pq":
        return index
    graph = _graph(pool.dimension, parameters, seed)
    fill(graph, pool)
    return _graph_over(index, graph)


def _graph_over(codes: Any, graph: Any) -> Any:
    """An `IndexHNSWPQ` with the links of a graph and the codes of an `IndexPQ`, searched by inner product.

    FAISS's own way compares codes by L2 distance while it makes the links, whatever the metric, and what stock Pyserini
    makes of it (L2 index, metric set to inner product afterwards) scores everything −3.4e38. Links made with the exact
    vectors are better than those, and searching goes through `IndexPQ`'s inner products.
    """
    index = faiss.IndexHNSWPQ()
    index.d, index.ntotal, index.is_trained, index.metric_type = codes.d, codes.ntotal, True, _IP
    index.hnsw = graph.hnsw
    index.storage, index.own_fields = codes, True
    codes.this.disown()
    return index
