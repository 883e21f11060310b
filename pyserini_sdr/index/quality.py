"""How good an approximate index is: recall against exact search, and queries per second of both."""

from __future__ import annotations

import time
from typing import Any

import faiss
import numpy as np

from .pool import Pool
from .store import Index

DEPTHS = (10, 100)
_TIE = 1e-6


def stored_queries(pool: Pool, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A sample of the stored vectors as queries, and their positions."""
    positions = pool.sample(count, seed + 1)  # not the vectors that it was trained on
    return pool.take(positions), positions


def measure(index: Index, pool: Pool, queries: np.ndarray, own: np.ndarray | None = None) -> dict[str, Any]:
    """Recall@k, speed, and for compressed vectors how near they are to the exact ones.

    Args:
        index: what was built.
        pool: the vectors that it was built of.
        queries: (n, dim) float32.
        own: positions of the queries themselves, which do not count as found; None for queries from outside.

    Returns:
        `recall@k` (the mean part of the k best that the index gives; of documents with equal scores any will do),
        `queries_per_second`, `exact_queries_per_second` (streamed, one pass over all vectors), `queries`.
    """
    spare = 0 if own is None else 1
    depth = min(max(DEPTHS) + spare, len(pool))
    start = time.perf_counter()
    _, found = index.search(queries, depth)
    middle = time.perf_counter()
    best = _exact_scores(pool, queries, depth, own)
    seconds = (middle - start, time.perf_counter() - middle)
    facts: dict[str, Any] = {"queries": len(queries)}
    for k in DEPTHS:
        if k <= depth - spare:
            facts[f"recall@{k}"] = round(_recall(pool, queries, found, best, k, own), 4)
    facts["queries_per_second"] = _rate(len(queries), seconds[0])
    facts["exact_queries_per_second"] = _rate(len(queries), seconds[1])
    return facts


def likeness(index: Index, pool: Pool, positions: np.ndarray) -> dict[str, float]:
    """Cosine of stored vectors with the exact ones: `mean` and `min`; `index verify` goes by them."""
    pairs = index.take(positions), pool.take(positions)
    norms = np.linalg.norm(pairs[0], axis=1) * np.linalg.norm(pairs[1], axis=1)
    cosine = (pairs[0] * pairs[1]).sum(1) / np.maximum(norms, 1e-12)
    return {"mean": round(float(cosine.mean()), 4), "min": round(float(cosine.min()), 4)}


def _exact_scores(pool: Pool, queries: np.ndarray, depth: int, own: np.ndarray | None) -> np.ndarray:
    """The `depth` best scores of each query in descending order, (n, depth), without its own vector."""
    best = np.full((len(queries), depth), -np.inf, np.float32)
    start = 0
    for vectors in pool.blocks():
        block, positions = faiss.knn(queries, vectors, min(depth, len(vectors)), metric=faiss.METRIC_INNER_PRODUCT)
        if own is not None:
            block[positions + start == own[:, None]] = -np.inf
        best = -np.partition(-np.concatenate([best, block], axis=1), depth - 1, axis=1)[:, :depth]
        start += len(vectors)
    return -np.sort(-best, axis=1)


def _recall(
    pool: Pool, queries: np.ndarray, found: np.ndarray, best: np.ndarray, k: int, own: np.ndarray | None
) -> float:
    right = 0
    for row, query in enumerate(queries):
        positions = found[row][found[row] >= 0]
        if own is not None:
            positions = positions[positions != own[row]]
        scores = pool.take(positions[:k]) @ query
        right += int((scores >= best[row, k - 1] - _TIE).sum())
    return right / (len(queries) * k)


def _rate(count: int, seconds: float) -> float:
    return float(f"{count / max(seconds, 1e-9):.3g}")


def report(facts: dict[str, Any]) -> str:
    """What was measured, on one line."""
    recalls = [f"{name} {facts[name]:.3f}" for name in facts if name.startswith("recall@")]
    speeds = f"{facts['queries_per_second']:g} queries/s, exact search {facts['exact_queries_per_second']:g}"
    return f"{', '.join(recalls) or 'too few vectors for recall'} ({facts['queries']} {facts['of']}); {speeds}"
