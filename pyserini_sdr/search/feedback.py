"""Pseudo-relevance feedback for dense queries: a query moves towards its best documents and is searched again.

Average and Rocchio after Li et al. 2021 (arXiv 2108.11044), with the arithmetic of `pyserini.search.faiss --prf-depth`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Feedback:
    """How queries move.

    Args:
        depth: best documents looked at.
        method: `avg`: mean of the query and all of them; `rocchio`: alpha·query + beta·mean of the `topk` best
            − gamma·mean of the `bottomk` last of them.
        alpha, beta, gamma: weights of Rocchio.
        topk, bottomk: documents taken for relevant, and for not relevant.
    """

    depth: int
    method: Literal["avg", "rocchio"] = "avg"
    alpha: float = 0.9
    beta: float = 0.1
    gamma: float = 0.1
    topk: int = 3
    bottomk: int = 0

    def move(self, query: np.ndarray, documents: np.ndarray) -> np.ndarray:
        """The query to search with, (dim,) float32; not normalised again, as in stock Pyserini.

        Args:
            query: (dim,) float32.
            documents: (at most depth, dim) float32, best first.
        """
        if not len(documents):
            return query
        if self.method == "avg":
            return np.mean(np.vstack((query, documents)), axis=0).astype(np.float32)
        moved = self.alpha * query + self.beta * np.mean(documents[: self.topk], axis=0)
        if self.bottomk > 0:
            moved = moved - self.gamma * np.mean(documents[-self.bottomk :], axis=0)
        return moved.astype(np.float32)
