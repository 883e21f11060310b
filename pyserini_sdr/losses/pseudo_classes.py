"""LELP: sub-classes of relevant and not relevant, found in a teacher's embeddings of pairs, as the student's targets.

arXiv 2409.20449 divides the classes of a classifier; its S, β and code could not be found. Our reading, for retrieval:

* the teacher is a bi-encoder whose score is the sum of e = q_T ⊙ d_T: a linear classifier of the pair's embedding e
  whose output weights are all ones. The classes are relevant (positives) and not relevant (own negatives);
* e without its mean over dimensions lies in the null space of those weights: what the score does not tell;
* per class, e is centred and projected on S directions: the leading eigenvectors of the class's covariance, turned by a
  random rotation so that they share the variance, each then divided by its standard deviation. Mean and covariance run
  over batches; they are buffers, and belong to a checkpoint of the training;
* pseudo-class probability = class probability × softmax over s of (projection_s / β).

Directions are only defined up to a rotation among themselves; from the second batch on they are turned to lie as close
as possible to those of the batch before, so that a sub-class keeps its meaning.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..core.errors import UsageError
from .base import OWN_POS, Loss, LossBatch, Need, Shapes
from .checks import require_positive
from .embeddings import student_vectors, teacher_vectors
from .lists import Lists, teacher_mean

_CLASSES = 2
_SEED = 0


class PseudoClasses(Loss):
    """Cross entropy with 2·S pseudo-classes (LELP, arXiv 2409.20449; see the module's text).

    Mean over the scored documents of the queries' own groups. Class probability of relevance: the document's teacher
    probability divided by the largest of its list; of the rest: 1 − that. The student's probabilities are the
    softmax of a linear head of e_q ⊙ e_d, divided by the temperature; the head stays in training.

    A training step must call it once: each call in training mode updates the running mean and covariance.

    Args:
        subclasses: S, of either class.
        beta: β; small values make sub-classes hard.
        temperature: of the student: divides the head's output.
        teacher_temperature: of the class probabilities.
        momentum: share of the old mean and covariance that an update keeps; the first batch initialises.

    Attributes:
        rotation: (S, S) fixed random orthogonal matrix, double precision.
        seen: (2,) whether a class (relevant, not relevant) had a document yet.
        mean: (2, Dt) running means. covariance: (2, Dt, Dt) running covariances. axes: (2, Dt, S) current directions.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER_VECTORS, Need.TEACHER, Need.NEGATIVES})
    truncates: ClassVar[bool] = False

    def __init__(
        self,
        subclasses: int = 4,
        beta: float = 1.0,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if subclasses < 1:
            raise UsageError(f"subclasses {subclasses}: must be 1 or more")
        require_positive(beta=beta, temperature=temperature, teacher_temperature=teacher_temperature)
        if not 0 <= momentum < 1:
            raise UsageError(f"momentum {momentum}: must be 0 or more and less than 1")
        self.subclasses, self.beta, self.momentum = subclasses, beta, momentum
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.rotation = _random_rotation(subclasses)  # no buffer: a constant, which only a class's first batch uses

    def build(self, shapes: Shapes) -> None:
        size = shapes.teacher_dimension
        if self.subclasses >= size:
            raise UsageError(
                f"subclasses {self.subclasses}: must be fewer than the dimensions of the teacher's embeddings, {size}"
            )
        self.head = nn.Linear(shapes.dimension, _CLASSES * self.subclasses)
        self.register_buffer("seen", torch.zeros(_CLASSES, dtype=torch.bool))
        self.register_buffer("mean", torch.zeros(_CLASSES, size))
        self.register_buffer("covariance", torch.zeros(_CLASSES, size, size))
        self.register_buffer("axes", torch.zeros(_CLASSES, size, self.subclasses))

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        teacher = teacher_mean(batch)
        lists = Lists.of(batch, teacher=teacher)
        row, cell = torch.nonzero(lists.mask, as_tuple=True)
        query, column = lists.query[row], lists.column[row, cell]
        relevance = _relevance(lists, teacher, self.teacher_temperature)[row, cell]
        with torch.no_grad(), torch.autocast(batch.query.device.type, enabled=False):  # covariances need the digits
            target = self._targets(batch, query, column, relevance)

        student_query, student_document = student_vectors(batch)
        pair = student_query[query] * student_document[column]
        logits = linear(pair, self.head.weight.to(pair.dtype), self.head.bias.to(pair.dtype))
        loss = -(target * torch.log_softmax(logits / self.temperature, dim=1)).sum(dim=1).mean()
        return loss, {"target_entropy": torch.special.entr(target).sum(dim=1).mean()}

    def _targets(self, batch: LossBatch, query: Tensor, column: Tensor, relevance: Tensor) -> Tensor:
        """(C, 2S) pseudo-class probabilities of C cells, given as rows, columns and (C,) probabilities of relevance."""
        teacher_query, teacher_document = teacher_vectors(batch)
        pair = (teacher_query[query] * teacher_document[column]).to(self.mean.dtype)
        pair = pair - pair.mean(dim=1, keepdim=True)
        if self.training:
            positive = batch.relation[query, column] == OWN_POS
            self._update(0, pair[positive])
            self._update(1, pair[~positive])
        probabilities = [self._subclasses(kind, pair).to(relevance.dtype) for kind in range(_CLASSES)]
        return torch.cat([relevance[:, None] * probabilities[0], (1 - relevance)[:, None] * probabilities[1]], dim=1)

    def _update(self, kind: int, pairs: Tensor) -> None:
        """Moves the statistics and directions of a class towards those of (n, Dt) embeddings of its pairs."""
        if len(pairs) == 0:
            return
        share = 1 - self.momentum if self.seen[kind] else 1.0
        self.mean[kind].lerp_(pairs.mean(dim=0), share)
        gap = pairs - self.mean[kind]
        self.covariance[kind].lerp_(gap.T @ gap / len(gap), share)
        variance, vectors = torch.linalg.eigh(self.covariance[kind])
        # Where there is no variance (fewer documents than S so far), a direction would be rounding noise: it is 0.
        real = variance > variance[-1] * len(variance) * torch.finfo(variance.dtype).eps
        leading = (vectors * real)[:, -self.subclasses :].flip(1)
        if self.axes[kind].any():
            left, _, right = torch.linalg.svd(leading.T @ self.axes[kind])
            turn = left @ right  # the nearest rotation (orthogonal Procrustes problem)
        else:
            largest = leading.gather(0, leading.abs().argmax(dim=0, keepdim=True))
            turn = torch.where(largest < 0, -1.0, 1.0).T * self.rotation.to(
                largest
            )  # an eigenvector's sign is arbitrary
        self.axes[kind] = leading @ turn
        self.seen[kind] = True

    def _subclasses(self, kind: int, pairs: Tensor) -> Tensor:
        """(C, S) probabilities of a class's sub-classes; uniform as long as the class has shown no variance."""
        axes = self.axes[kind]
        deviation = (axes * (self.covariance[kind] @ axes)).sum(dim=0).clamp(min=0).sqrt()
        projection = (pairs - self.mean[kind]) @ axes / deviation.clamp(min=torch.finfo(axes.dtype).tiny)
        return torch.softmax(projection / self.beta, dim=1)


def _relevance(lists: Lists, teacher: Tensor, temperature: float) -> Tensor:
    """(R, L) teacher probability of each document divided by the largest of its list."""
    log_probability = lists.log_softmax(lists.take(teacher) / temperature)
    best = log_probability.masked_fill(~lists.mask, -torch.inf).amax(dim=1, keepdim=True)
    return (log_probability - best).exp()


def _random_rotation(size: int) -> Tensor:
    """(size, size) orthogonal, the same in every process and run."""
    normal = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(_SEED))
    orthogonal, upper = torch.linalg.qr(normal)
    return orthogonal * upper.diagonal().sign()
