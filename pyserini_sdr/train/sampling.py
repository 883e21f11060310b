"""Which queries stand together in a batch, and which of a query's documents are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..data.group import Candidate, Group

Batching = Literal["random", "topics"]
NegativeSampling = Literal["uniform", "balanced-margins"]

MARGIN_BINS = 10
"""Bins of the teacher's margins in balanced sampling (TAS-B, section 4.2)."""


def draw(rng: np.random.Generator, candidates: Sequence[Candidate], number: int) -> list[Candidate]:
    """At most `number` of the candidates, without replacement."""
    if number >= len(candidates):
        return list(candidates)
    return [candidates[i] for i in rng.permutation(len(candidates))[:number].tolist()]


def balanced_pair(
    rng: np.random.Generator, group: Group, teacher: str, negatives: int
) -> tuple[list[Candidate], list[Candidate]]:
    """One positive and up to `negatives` negatives whose teacher margins are spread evenly (TAS-B).

    The range of the margins t(q,d+) − t(q,d−) of the group is cut into ten equal bins; a bin that holds a pair is drawn
    uniformly, then a pair in it; further negatives likewise, for the same positive.

    Args:
        rng: of this query and epoch.
        group: with scores of `teacher` for all its documents.
        teacher: name of the scores.
        negatives: how many to draw.
    """
    scores = group.scores[teacher]
    pairs = [(p, n) for p in group.positives for n in group.negatives]
    margins = np.array([scores[p.key] - scores[n.key] for p, n in pairs])
    edges = np.linspace(margins.min(), margins.max(), MARGIN_BINS + 1)[1:-1]
    bins = np.digitize(margins, edges)
    chosen: list[tuple[Candidate, Candidate]] = []
    left = np.ones(len(pairs), dtype=bool)
    while left.any() and len(chosen) < negatives:
        filled = np.unique(bins[left])
        inside = np.flatnonzero(left & (bins == filled[rng.integers(len(filled))]))
        position = int(inside[rng.integers(len(inside))])
        chosen.append(pairs[position])
        if len(chosen) == 1:
            left &= np.array([p == chosen[0][0] for p, _ in pairs])
        left[position] = False
    return [chosen[0][0]], [n for _, n in chosen]


def query_order(size: int, rng: np.random.Generator, clusters: np.ndarray | None, batch_size: int) -> np.ndarray:
    """An epoch's order of the queries, (size,).

    Args:
        size: number of queries.
        rng: of the epoch.
        clusters: cluster of every query: then each batch is of one cluster as far as it goes round; what is left over
            of the clusters fills the last batches, neighbouring clusters together.
        batch_size: queries per batch.
    """
    if clusters is None:
        return rng.permutation(size)
    batches, rest = [], []
    for cluster in rng.permutation(clusters.max() + 1):
        members = rng.permutation(np.flatnonzero(clusters == cluster))
        whole = len(members) // batch_size * batch_size
        batches += np.split(members[:whole], whole // batch_size) if whole else []
        rest.append(members[whole:])
    left = np.concatenate(rest)
    whole = len(left) // batch_size * batch_size
    batches += np.split(left[:whole], whole // batch_size) if whole else []
    order = [batches[i] for i in rng.permutation(len(batches))]
    return np.concatenate([*order, left[whole:]]).astype(np.int64)


def cluster_queries(vectors: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The k-means cluster of every query vector, (n,) int64.

    Args:
        vectors: (n, dim) float32.
        clusters: how many.
        seed: of the starting points.
    """
    import faiss

    means = faiss.Kmeans(vectors.shape[1], clusters, niter=20, seed=seed + 1, min_points_per_centroid=1)
    means.train(np.ascontiguousarray(vectors, dtype=np.float32))
    return means.index.search(vectors, 1)[1][:, 0].astype(np.int64)
