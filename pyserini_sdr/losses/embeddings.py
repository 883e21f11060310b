"""Losses that make embeddings like a teacher's, whatever the scores: of texts, or of differences between texts.

Vectors are compared as they are indexed: unit vectors of the encoder where its similarity is cosine, the teacher's as
given. Where the two have different dimensions, one learned matrix W, without bias, maps the encoder's queries and
documents to the teacher's dimension; it stays in training. Nothing is learned through the teacher's vectors.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, linear, normalize
from torch.utils.checkpoint import checkpoint

from ..core.errors import DataError, UsageError
from .base import IGNORE, OWN_POS, Loss, LossBatch, Need, Shapes
from .lists import wide

Targets = Literal["self", "teacher"]
"""Whose document similarities are the targets: the encoder's as it is trained, or those of the live bi-encoder."""

_CELLS = 2**24
"""Numbers in the largest temporary of `comparative` with kl: 64 MiB in single precision."""


def student_vectors(batch: LossBatch) -> tuple[Tensor, Tensor]:
    """(B, D) queries and (M, D) documents as the encoder's similarity sees them, in single precision at least."""
    if batch.similarity == "cosine":
        return wide(batch.unit_query), wide(batch.unit_document)
    return wide(batch.query), wide(batch.document)


def teacher_vectors(batch: LossBatch) -> tuple[Tensor, Tensor]:
    """(B, Dt) queries and (M, Dt) documents of the teacher, detached, in single precision at least."""
    return wide(feature(batch, "teacher_query").detach()), wide(feature(batch, "teacher_document").detach())


def unit_documents(batch: LossBatch, targets: Targets) -> Tensor:
    """(M, D) unit vectors of the documents: the encoder's own, or those of the live teacher, detached."""
    return batch.unit_document if targets == "self" else normalize(teacher_vectors(batch)[1], dim=1)


def target_needs(targets: Targets) -> frozenset[Need]:
    """What a loss needs whose targets are similarities of documents."""
    return frozenset() if targets == "self" else frozenset({Need.TEACHER_VECTORS})


def feature(batch: LossBatch, name: str) -> Tensor:
    """What the batch's features hold under a name (`LossBatch.features`); `DataError` if nothing."""
    if name not in batch.features:
        raise DataError(
            "batch", f"holds no {name}", remedy="train with a live bi-encoder as teacher: it gives vectors and states"
        )
    return batch.features[name]


class _Matching(Loss):
    """What both losses share: the map to the teacher's dimension, where one is needed.

    Attributes:
        projection: W, D → Dt; None where the dimensions are equal.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER_VECTORS})
    truncates: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.projection: nn.Linear | None = None

    def build(self, shapes: Shapes) -> None:
        if shapes.dimension != shapes.teacher_dimension:
            self.projection = nn.Linear(shapes.dimension, shapes.teacher_dimension, bias=False)

    def _mapped(self, vectors: Tensor) -> Tensor:
        """(n, Dt) W e of (n, D) vectors."""
        if self.projection is None:
            return vectors
        return linear(vectors, self.projection.weight.to(vectors.dtype))


class EmbedDistill(_Matching):
    """Embedding matching of EmbedDistill (arXiv 2301.12005), in the form that third parties use.

    Sum over the chosen sides of the mean over texts of the distance between W e and the teacher's e_T:
    `l2` ‖W e − e_T‖₂, `mse` its square divided by the number of dimensions, `cosine` 1 − cos(W e, e_T). Documents that
    are `IGNORE` for every query do not count.

    The paper's asymmetric student trains a query encoder in front of the teacher's frozen documents: `documents=False`.

    Args:
        metric: `l2`, `mse` or `cosine`.
        queries: match the queries.
        documents: match the documents.
    """

    def __init__(
        self, metric: Literal["l2", "mse", "cosine"] = "l2", queries: bool = True, documents: bool = True
    ) -> None:
        super().__init__()
        if not queries and not documents:
            raise UsageError("queries False, documents False: nothing is left to match")
        self.metric, self.queries, self.documents = metric, queries, documents

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        query, document = student_vectors(batch)
        teacher_query, teacher_document = teacher_vectors(batch)
        log: dict[str, Tensor] = {}
        if self.queries:
            log["query_distance"] = self._distance(query, teacher_query).mean()
        if self.documents:
            used = (batch.relation != IGNORE).any(dim=0)
            if not used.any():
                raise DataError("batch", "holds no document that counts for a query", remedy="check the groups")
            log["document_distance"] = self._distance(document[used], teacher_document[used]).mean()
        return torch.stack(list(log.values())).sum(), {name: value.detach() for name, value in log.items()}

    def _distance(self, student: Tensor, teacher: Tensor) -> Tensor:
        """(n,) distances of (n, D) and (n, Dt) vectors."""
        mapped = self._mapped(student)
        if self.metric == "cosine":
            return 1 - cosine_similarity(mapped, teacher, dim=1)
        if self.metric == "mse":
            return (mapped - teacher).square().mean(dim=1)
        return torch.linalg.vector_norm(mapped - teacher, dim=1)  # its gradient at 0 is 0


class Comparative(_Matching):
    """Comparative knowledge distillation (arXiv 2311.02253): differences of embeddings like the teacher's.

    z_i: the queries of the batch and the documents that are somebody's positive. Over all ordered pairs i ≠ j:

    * `mse`: mean over pairs and dimensions of ((z_i − z_j) − (z_i − z_j)_T)²;
    * `kl`: mean over pairs of KL( softmax((z_i − z_j)_T) ‖ softmax(z_i − z_j) ), softmax over dimensions.

    The difference is taken of the mapped vectors W z. A shift common to all vectors costs nothing.

    Args:
        form: `mse` or `kl`.
    """

    def __init__(self, form: Literal["mse", "kl"] = "mse") -> None:
        super().__init__()
        self.form = form

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        positive = (batch.relation == OWN_POS).any(dim=0)
        query, document = student_vectors(batch)
        student = self._mapped(torch.cat([query, document[positive]]))
        query, document = teacher_vectors(batch)
        teacher = torch.cat([query, document[positive]])
        size = len(student)
        if size < 2:
            raise DataError("batch", "holds one query and no positive", remedy="check the groups")
        if self.form == "mse":
            # Σ_ij ‖(δ_i − δ_j)‖² = 2n Σ_i ‖δ_i − mean δ‖²: no (n, n, D) array is made.
            gap = student - teacher
            return 2 * (gap - gap.mean(dim=0)).square().sum() / ((size - 1) * gap.shape[1]), {}
        step = max(1, _CELLS // teacher.numel())
        total = student.new_zeros(())
        for start in range(0, size, step):
            rows = slice(start, start + step)
            # Recomputed in the backward pass, so that one block of pairs × dimensions is alive at a time.
            total = total + checkpoint(
                _divergence, student, teacher, rows, use_reentrant=False, preserve_rng_state=False
            )
        return total / (size * (size - 1)), {}


def _divergence(student: Tensor, teacher: Tensor, rows: slice) -> Tensor:
    """Sum over i in rows and all j of the KL between softmaxes of differences; i = j adds 0."""
    target = torch.log_softmax(teacher[rows, None, :] - teacher, dim=2)
    return (target.exp() * (target - torch.log_softmax(student[rows, None, :] - student, dim=2))).sum()
