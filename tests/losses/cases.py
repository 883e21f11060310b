"""Batches and option settings on which losses are tested, and the same batch for both sides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from pyserini_sdr import losses
from pyserini_sdr.losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, Loss, LossBatch, Shapes

from .reference import Arrays

MARGINS = ("static-margin", "adaptive-margin", "distributed-margin")
"""These have their own tests, in `test_margins.py`."""

NAMES = list(losses.LOSSES)

CASES: list[tuple[str, dict[str, Any]]] = [
    ("infonce", {}),
    ("infonce", {"temperature": 0.3, "in_batch": False}),
    ("lce", {}),
    ("lce", {"temperature": 0.2, "in_batch": True}),
    ("full-contrastive", {}),
    ("full-contrastive", {"temperature": 0.3}),
    ("self-scaled", {}),
    ("self-scaled", {"rivals": "all"}),
    ("self-scaled", {"rivals": "documents"}),
    ("bixse", {}),
    ("bixse", {"scale": 3.0, "bias": -1.0, "learn": False}),
    ("bixse", {"grades": "teacher", "teacher_temperature": 2.0}),
    ("margin-mse", {}),
    ("margin-mse", {"scale": 4.0, "pairs": "all"}),
    ("tas-b", {}),
    ("tas-b", {"alpha": 0.3, "scale": 3.0}),
    ("ranknet", {}),
    ("ranknet", {"temperature": 0.4, "target": "probability", "teacher_temperature": 2.0}),
    ("hinge-order", {}),
    ("hinge-order", {"margin": 0.4, "positives": False}),
    ("lambda-mrr", {}),
    ("lambda-mrr", {"temperature": 0.3, "relevant": 2}),
    ("lambda-mrr", {"relevant": 1, "tail": "halves"}),
    ("kl", {}),
    ("kl", {"teacher": 2, "tau": 4.0, "temperature": 0.2}),
    ("kl", {"teacher": -1, "pace": 0.3}),
    ("kl", {"documents": "batch", "pace": 0.6, "weighting": "difficulty", "temperature": 0.3}),
    ("kl", {"temperature": 0.3, "teacher_temperature": 2.0, "documents": "batch", "weighting": "difficulty"}),
    ("kl", {"weighting": "confidence", "teacher_temperature": 1.5}),
    ("kl", {"weighting": "difficulty"}),
    ("kl", {"anneal": 7}),
    ("listnet", {}),
    ("listnet", {"teacher": 1, "tau": 2.0, "pace": 0.4, "temperature": 0.3}),
    ("listnet", {"temperature": 0.3, "documents": "batch", "weighting": "confidence", "anneal": 4}),
    ("tct", {}),
    ("tct", {"documents": "own", "weighting": "difficulty"}),
    ("tct", {"teacher": 1, "tau": 3.0, "pace": 0.8}),
    ("lwf", {}),
    ("lwf", {"temperature": 0.3, "documents": "batch", "teacher": 1, "tau": 1.5, "pace": 0.5}),
    ("ckl", {}),
    ("ckl", {"temperature": 0.3, "teacher": 2, "tau": 2.0, "pace": 0.3}),
    ("ckl", {"gamma": 2.0, "beta": 1.5, "temperature": 0.4}),
    ("ckl", {"gamma": 1.0, "beta": 1.0, "documents": "batch", "weighting": "confidence", "anneal": 3}),
    ("ckl", {"gamma": 0.5, "weighting": "difficulty", "temperature": 0.4}),
    ("rankdistil", {}),
    ("rankdistil", {"samples": 3, "top": 2, "temperature": 0.4, "teacher_temperature": 2.0}),
    ("nkd", {}),
    ("nkd", {"gamma": 0.5, "tau": 2.0, "temperature": 0.3, "teacher_temperature": 2.0, "documents": "batch"}),
    ("tf-nkd", {}),
    ("tf-nkd", {"temperature": 0.4, "documents": "own"}),
    ("osakd", {}),
    ("osakd", {"k": 2, "temperature": 0.3, "documents": "own"}),
    ("osakd", {"k": 1}),
    ("document-targets", {}),
    ("document-targets", {"temperature": 0.3, "target_temperature": 0.2, "documents": "own"}),
    ("document-targets", {"temperature": 0.3, "targets": "teacher"}),
    ("adaptive-softmax", {}),
    ("adaptive-softmax", {"temperature": 0.3, "alpha": 0.5, "margin": "distance", "documents": "own"}),
    ("adaptive-softmax", {"temperature": 0.3, "targets": "teacher"}),
    ("ctkd", {}),
    ("ctkd", {"start": 2.0, "range": 5.0, "strength": 0.5, "ramp": 0.5, "temperature": 0.2, "documents": "batch"}),
    ("ar2", {}),
    ("ar2", {"weight": 0.8, "form": "code", "temperature": 0.3, "teacher_temperature": 2.0, "teacher": -1}),
    ("ar2", {"weight": 1.0, "temperature": 0.3}),
    ("ca-mkd", {}),
    ("ca-mkd", {"weights": "uniform", "tau": 2.0}),
    ("ca-mkd", {"tau": 1.0, "temperature": 0.3, "teacher_temperature": 3.0}),
    ("mtd", {}),
    ("mtd", {"favour": "disagreement", "tau": 3.0, "temperature": 0.2, "teacher_temperature": 2.0}),
    ("cerberus", {}),
    ("cerberus", {"temperature": 0.3, "teacher_temperature": 2.0}),
    ("embed-distill", {}),
    ("embed-distill", {"metric": "mse", "queries": False}),
    ("embed-distill", {"metric": "cosine"}),
    ("embed-distill", {"documents": False}),
    ("comparative", {}),
    ("comparative", {"form": "kl"}),
    ("lelp", {"subclasses": 2}),
    ("lelp", {"subclasses": 1, "beta": 0.5, "temperature": 0.3, "teacher_temperature": 2.0}),
    ("lead", {}),
    ("lead", {"layers": 2, "temperature": 0.3, "teacher_temperature": 0.5, "layer_temperature": 0.7}),
    ("lead", {"layers": 1, "documents": "own"}),
]


IDS = [f"{name}-{'-'.join(map(str, options.values()))}" if options else name for name, options in CASES]


def make_relation(rng: np.random.Generator, groups: list[tuple[int, int]], documents: int) -> np.ndarray:
    """Groups of (positives, negatives) from the same documents, so that some are shared; the last column is padding."""
    relation = np.full((len(groups), documents), IGNORE, dtype=np.int8)
    order = [rng.permutation(documents - 1) for _ in groups]
    positive = {d for o, (p, _) in zip(order, groups, strict=True) for d in o[:p]}
    negative = {d for o, (p, n) in zip(order, groups, strict=True) for d in o[p : p + n]}
    for i, (o, (p, n)) in enumerate(zip(order, groups, strict=True)):
        for d in positive | negative:
            if rng.random() > 0.1:  # else a positive of this query that is known from elsewhere
                relation[i, d] = OTHER_NEG if d in negative else OTHER_POS
        relation[i, o[:p]], relation[i, o[p : p + n]] = OWN_POS, OWN_NEG
    return relation


def random_arrays(
    seed: int,
    similarity: str = "cosine",
    *,
    groups: tuple[tuple[int, int], ...] = ((1, 3), (2, 3), (0, 3), (1, 0), (3, 1), (2, 4)),
    documents: int = 11,
    dimension: int = 5,
    teachers: int = 2,
    teacher_dimension: int = 7,
    unscored: float = 0.1,
    progress: float = 0.35,
) -> Arrays:
    """Ragged groups, shared documents, known positives, a padding column; of each teacher some scores are missing."""
    rng = np.random.default_rng(seed)
    queries = len(groups)
    relation = make_relation(rng, list(groups), documents)
    teacher = rng.normal(size=(teachers, queries, documents)) * 2
    teacher[rng.random(teacher.shape) < unscored] = np.nan

    def vectors(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    features = {
        "teacher_query": vectors(queries, teacher_dimension),
        "teacher_document": vectors(documents, teacher_dimension),
        "query_layers": vectors(queries, 3, dimension),
        "document_layers": vectors(documents, 3, dimension),
        "teacher_query_layers": vectors(queries, 4, teacher_dimension),
        "teacher_document_layers": vectors(documents, 4, teacher_dimension),
    }
    query, document = vectors(queries, dimension), vectors(documents, dimension)
    return Arrays(query, document, relation, similarity, teacher, features, progress)


def small_arrays(seed: int, similarity: str = "cosine") -> Arrays:
    """Small enough for finite differences; every query and teacher counts."""
    return random_arrays(
        seed, similarity, groups=((1, 2), (2, 1), (1, 3)), documents=7, dimension=3, teacher_dimension=4, unscored=0.0
    )


def to_batch(a: Arrays, dtype: torch.dtype = torch.float64, teacher_dtype: torch.dtype | None = None) -> LossBatch:
    """The batch; embeddings and the encoder's layers are leaves that want gradients."""
    teacher_dtype = teacher_dtype or dtype

    def leaf(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(x, dtype=dtype).requires_grad_()

    features = {
        key: torch.tensor(x, dtype=teacher_dtype) if key.startswith("teacher") else leaf(x)
        for key, x in a.features.items()
    }
    return LossBatch(
        leaf(a.query),
        leaf(a.document),
        torch.tensor(a.relation),
        a.similarity,
        None if a.teacher is None else torch.tensor(a.teacher, dtype=teacher_dtype),
        features,
        a.progress,
        torch.Generator().manual_seed(11),
    )


def leaves(batch: LossBatch) -> dict[str, torch.Tensor]:
    """What gradients flow into, by name."""
    inner = {key: x for key, x in batch.features.items() if not key.startswith("teacher")}
    return {"query": batch.query, "document": batch.document, **inner}


def shapes(a: Arrays) -> Shapes:
    vectors = a.features.get("teacher_query")
    return Shapes(
        a.query.shape[1], 0 if a.teacher is None else len(a.teacher), 0 if vectors is None else vectors.shape[1]
    )


@contextmanager
def float64_parameters() -> Iterator[None]:
    """Modules made inside start in float64; `.double()` afterwards would keep what float32 rounded."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def make_loss(name: str, options: dict[str, Any], a: Arrays, seed: int | None = None) -> Loss:
    """The loss in float64, built for the batch; with a seed, its matrices are moved away from where they start."""
    with float64_parameters():
        loss = losses.build(name, **options)
        loss.build(shapes(a))
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in loss.parameters():
                if parameter.dim() >= 2:
                    noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
                    parameter.add_(noise * 0.3)
    return loss
