"""Binary indexes: one bit per dimension, found by Hamming distance, the best rescored with the query as it is."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np

_CANDIDATES, _PER_HIT = 1000, 4
"""At least so many candidates by Hamming distance are rescored, and so many for each result that is wanted."""


def to_bits(vectors: np.ndarray) -> np.ndarray:
    """Signs of vectors (n, dim) as bytes (n, dim / 8) uint8, in the order of bits that stock Pyserini's BPR has."""
    return np.packbits(vectors > 0, axis=1)


def from_bits(codes: np.ndarray) -> np.ndarray:
    """Vectors of length 1 with the signs of `codes`, (n, dim) float32."""
    signs = np.unpackbits(codes, axis=1).astype(np.float32)
    return (signs * 2 - 1) / np.float32(np.sqrt(signs.shape[1]))


def stored_bits(index: Any) -> np.ndarray:
    """The codes of an `IndexBinaryFlat`, (n, dim / 8) uint8, not copied."""
    size = index.ntotal * index.code_size
    return faiss.rev_swig_ptr(index.xb.data(), size).reshape(index.ntotal, index.code_size)


def search_binary(index: Any, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates by Hamming distance, ranked by inner product of the query and the signs (Yamada et al. 2021, BPR).

    Args:
        index: an `IndexBinaryFlat`.
        queries: (n, dim) float32.
        depth: results per query, at most `index.ntotal`.

    Returns:
        Scores (n, depth) float32 and positions (n, depth) int64; ties by position.
    """
    candidates = min(index.ntotal, max(_CANDIDATES, _PER_HIT * depth))
    _, found = index.search(to_bits(queries), candidates)
    codes = stored_bits(index)
    scores = np.empty((len(queries), depth), np.float32)
    positions = np.empty((len(queries), depth), np.int64)
    for row, query in enumerate(queries):
        rows = np.sort(found[row])
        similarity = from_bits(codes[rows]) @ query
        best = np.argsort(-similarity, kind="stable")[:depth]
        scores[row], positions[row] = similarity[best], rows[best]
    return scores, positions
