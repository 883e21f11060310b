"""Scores of queries with a block of documents, fast, and how far they may be off.

A bf16 matrix product is several times as fast as a float32 one where the CPU has instructions for it. With q̂, x̂ the
rounded vectors and γ the roundoff of a float32 sum of d products, the product before its own rounding differs from the
float32 score s by at most

    a = ‖q − q̂‖·‖x‖ + ‖q̂‖·‖x − x̂‖ + O(γ)·‖q‖·‖x‖        (Cauchy–Schwarz)

and rounding it to bf16 keeps its order. So a document with s ≥ t has an approximate score of at least t − a rounded
down, and a comparison with that loses none. In float32 only the last term is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
import torch

_SLACK = 1.001
"""The norms in the bound are computed in float32 themselves."""
_QUERIES = 1024
"""Queries scored at a time: their scores with a block stay in a core's second-level cache."""

Pairs = tuple[np.ndarray, np.ndarray]
"""Query rows and document rows, both (n,) int64."""


@dataclass(frozen=True)
class Block:
    """What the bound needs to know of a block of documents.

    Args:
        norm: the largest norm of a document, ‖x‖.
        residual: the largest norm of what rounding takes from one, ‖x − x̂‖.
    """

    norm: float
    residual: float


class Error:
    """The bound a for one batch of queries.

    Args:
        queries: (n, dim) float32.
        rounded: whether scores are products of vectors rounded to bf16.
    """

    def __init__(self, queries: np.ndarray, *, rounded: bool) -> None:
        self._gamma = 4 * queries.shape[1] * 2.0**-24
        self._norms = np.linalg.norm(queries, axis=1).astype(np.float64)
        self._residuals = np.zeros(len(queries))
        if rounded:
            taken = queries - torch.from_numpy(queries).bfloat16().float().numpy()
            self._residuals += np.linalg.norm(taken, axis=1)

    def bound(self, block: Block) -> np.ndarray:
        """a for every query and any document of a block, (n,) float64."""
        with np.errstate(invalid="ignore"):  # documents that are not finite are refused elsewhere
            rounding = self._residuals * block.norm + (self._norms + self._residuals) * block.residual
        return _SLACK * (rounding + self._gamma * self._norms * block.norm) + np.finfo(np.float32).tiny

    def floor(self, least: np.ndarray, block: Block) -> np.ndarray:
        """The approximate score that a document with a score of `least` (n,) has at least, (n,) float32."""
        return np.nextafter((least - self.bound(block)).astype(np.float32), np.float32(-np.inf))


class Scorer(Protocol):
    """One batch of queries against blocks of documents; used by one thread at a time."""

    def load(self, documents: np.ndarray, known: Block | None) -> Block:
        """Takes a block of documents (n, dim) float32; computes what is not known of it."""

    def above(self, floor: np.ndarray) -> Iterator[Pairs]:
        """Pairs whose approximate score with the block is at least `floor` (queries,)."""


class Bfloat16Scorer:
    """Products of rounded vectors on the CPU.

    Args:
        queries: (n, dim) bfloat16.
        rows: documents of a block at most.
    """

    def __init__(self, queries: torch.Tensor, rows: int) -> None:
        self._queries, count = queries, min(len(queries), _QUERIES)
        self._documents = self._room = torch.empty((rows, queries.shape[1]), dtype=torch.bfloat16)
        self._product = torch.empty(count * rows, dtype=torch.bfloat16)
        self._mask = np.empty(count * rows, dtype=bool)

    def load(self, documents: np.ndarray, known: Block | None) -> Block:
        source = torch.from_numpy(documents)
        self._documents = self._room[: len(documents)].copy_(source)
        return known or Block(_largest_norm(source), _largest_norm(source - self._documents))

    def _products(self) -> Iterator[tuple[int, torch.Tensor]]:
        for start in range(0, len(self._queries), _QUERIES):
            part = self._queries[start : start + _QUERIES]
            shape = (len(part), len(self._documents))
            yield start, torch.mm(part, self._documents.T, out=self._product[: shape[0] * shape[1]].view(shape))

    def above(self, floor: np.ndarray) -> Iterator[Pairs]:
        for start, product in self._products():
            bits, least = product.view(torch.int16).numpy(), _bits_below(floor[start : start + len(product)])
            if (least <= 0).any():  # positive numbers are in the order of their bits as they are
                bits, least = _ordered(bits), _ordered(least)
            mask = self._mask[: bits.size].reshape(bits.shape)
            yield _pairs(np.greater_equal(bits, least[:, None], out=mask), start)


def _pairs(mask: np.ndarray, start: int) -> Pairs:
    found = np.flatnonzero(mask)
    rows = found // mask.shape[1]
    return rows + start, found - rows * mask.shape[1]


def _largest_norm(vectors: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(vectors, dim=1).max())


def _bits_below(values: np.ndarray) -> np.ndarray:
    """The largest bf16 numbers that are not above `values` (n,) float32, as their bits (n,) int16."""
    bits = values.view(np.int32)
    towards_zero = (bits >> 16).astype(np.int16)
    return np.where((bits < 0) & (bits & 0xFFFF != 0), towards_zero + np.int16(1), towards_zero)


def _ordered(bits: np.ndarray) -> np.ndarray:
    """bf16 bits as int16 numbers in the order of the values."""
    return bits ^ ((bits >> 15) & np.int16(0x7FFF))


class Float32Scorer:
    """Products in float32, on the CPU or a GPU.

    Args:
        queries: (n, dim) float32, where they are to be computed.
    """

    def __init__(self, queries: torch.Tensor) -> None:
        self._queries = queries
        self._documents = queries[:0]

    def load(self, documents: np.ndarray, known: Block | None) -> Block:
        self._documents = torch.from_numpy(documents).to(self._queries.device)
        return known or Block(_largest_norm(self._documents), 0.0)

    def above(self, floor: np.ndarray) -> Iterator[Pairs]:
        for start in range(0, len(self._queries), _QUERIES):
            product = self._queries[start : start + _QUERIES] @ self._documents.T
            least = floor[start : start + _QUERIES, None]
            if product.device.type == "cpu":  # NumPy compares and collects faster than torch does
                yield _pairs(product.numpy() >= least, start)
            else:
                rows, columns = (product >= torch.from_numpy(least).to(product.device)).nonzero(as_tuple=True)
                yield rows.cpu().numpy() + start, columns.cpu().numpy()


class DirectScorer:
    """Products in float32 of one query after the other, read straight from the memory map, aligned or not.

    Args:
        queries: (n, dim) float32; a few.
    """

    def __init__(self, queries: np.ndarray) -> None:
        self._queries = queries
        self._documents = queries[:0]

    def load(self, documents: np.ndarray, known: Block | None) -> Block:
        self._documents = documents
        if known is not None:
            return known
        squares = np.empty(len(documents), np.float32)
        faiss.fvec_norms_L2sqr(faiss.swig_ptr(squares), faiss.swig_ptr(documents), documents.shape[1], len(documents))
        return Block(float(np.sqrt(squares.max())), 0.0)

    def above(self, floor: np.ndarray) -> Iterator[Pairs]:
        count, dimension = self._documents.shape
        products, documents = np.empty(count, np.float32), faiss.swig_ptr(self._documents)
        for row, query in enumerate(self._queries):
            faiss.fvec_inner_products_ny(faiss.swig_ptr(products), faiss.swig_ptr(query), documents, dimension, count)
            found = np.flatnonzero(products >= floor[row])
            yield np.full(len(found), row), found
