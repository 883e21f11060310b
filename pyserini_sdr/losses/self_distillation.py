"""Losses that distil the student from itself: no teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from .base import Loss, LossBatch, Need
from .checks import require_positive
from .lists import Documents, Lists, masked_log_softmax, ranks


class _SelfDistillation(Loss):
    """Common part: a temperature and the lists of pairs."""

    def __init__(self, temperature: float, documents: Documents) -> None:
        super().__init__()
        require_positive(temperature=temperature)
        self.temperature, self.documents = temperature, documents
        self.needs = frozenset({Need.NEGATIVES}) if documents == "own" else frozenset()


class TeacherFreeNKD(_SelfDistillation):
    """Teacher-free NKD (Yang et al., arXiv 2208.10139): the positive's soft target comes from the student.

    Mean over pairs of −w log S⁺, w = S⁺ + 1 − mean of S⁺ over the pairs of the batch, detached; S⁺ is the positive's
    probability in the pair's list.

    Args:
        temperature: of the softmax.
        documents: the lists: the whole `batch` or the query's `own`.
    """

    def __init__(self, temperature: float = 0.05, documents: Documents = "batch") -> None:
        super().__init__(temperature, documents)

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, self.documents, pairs=True)
        log_positive = lists.log_positive(lists.take(batch.scores) / self.temperature)
        positive = log_positive.detach().exp()
        weight = positive + 1 - positive.mean()
        return -(weight * log_positive).mean(), {"positive_probability": positive.mean()}


class NeighbourTargets(_SelfDistillation):
    """Soft targets from nearest neighbours in the batch, after OSAKD (ICME 2021).

    Mean over pairs of −Σ_d P_d log Q_d over the pair's list. P is 1/k for the k documents of the list that are nearest
    to the positive (cosine, detached; itself among them), else 0. Only the idea of the paper was found, a class
    posterior estimated by k nearest neighbours among the outputs of the batch: the form is our interpretation.

    Args:
        k: neighbours, the positive included; 1 is InfoNCE.
        temperature: of the student's softmax.
        documents: the lists: the whole `batch` or the query's `own`.
    """

    def __init__(self, k: int = 4, temperature: float = 0.05, documents: Documents = "batch") -> None:
        super().__init__(temperature, documents)
        require_positive(k=k)
        self.k = k

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, self.documents, pairs=True)
        row, cell = lists.pairs()
        itself = torch.zeros_like(lists.mask[row]).scatter_(1, cell[:, None], True)
        mask = lists.other[row] | itself
        units = batch.unit_document.detach()
        if lists.column is None:
            nearness = units[cell] @ units.T
        else:
            column = lists.column[row]
            nearness = (units[column.gather(1, cell[:, None]).squeeze(1)] @ units.T).gather(1, column)
        nearest = (ranks(nearness.masked_fill(itself, torch.inf), mask) <= self.k) & mask
        student = masked_log_softmax((lists.take(batch.scores) / self.temperature)[row], mask)
        loss = -student.masked_fill(~nearest, 0).sum(dim=1) / nearest.sum(dim=1)
        positive = student.detach().gather(1, cell[:, None]).exp()
        return loss.mean(), {"positive_probability": positive.mean()}
