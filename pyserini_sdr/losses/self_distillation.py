"""Losses that distil the student from itself: no teacher."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .base import Loss, LossBatch, Need
from .checks import require_not_negative, require_positive
from .embeddings import Targets, target_needs, unit_documents
from .lists import Documents, Lists, masked_log_softmax, masked_logsumexp, masked_mean, ranks


class _SelfDistillation(Loss):
    """Common part: a temperature, the lists of pairs, and whose similarities of documents are looked at."""

    def __init__(self, temperature: float, documents: Documents, targets: Targets = "self") -> None:
        super().__init__()
        require_positive(temperature=temperature)
        self.temperature, self.documents, self.targets = temperature, documents, targets
        self.needs = target_needs(targets) | ({Need.NEGATIVES} if documents == "own" else set())

    def _nearness(self, batch: LossBatch, lists: Lists) -> Tensor:
        """(P, L) similarity of every pair's positive with the documents of its list, detached."""
        units, (row, cell) = unit_documents(batch, self.targets).detach(), lists.pairs()
        if lists.column is None:
            return units[cell] @ units.T
        column = lists.column[row]
        return (units[column.gather(1, cell[:, None]).squeeze(1)] @ units.T).gather(1, column)


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
        mask = lists.of_pairs()
        nearness = self._nearness(batch, lists).scatter(1, cell[:, None], torch.inf)  # itself comes first
        nearest = (ranks(nearness, mask) <= self.k) & mask
        student = masked_log_softmax((lists.take(batch.scores) / self.temperature)[row], mask)
        loss = -student.masked_fill(~nearest, 0).sum(dim=1) / nearest.sum(dim=1)
        positive = student.detach().gather(1, cell[:, None]).exp()
        return loss.mean(), {"positive_probability": positive.mean()}


class DocumentTargets(_SelfDistillation):
    """The similarities of documents as soft targets of a softmax: self-distilled listwise KL.

    Mean over pairs of KL( P ‖ Q ) over the pair's list: P = softmax_d( s(p,d)/τ_t ), where the positive p itself has 1,
    and Q = softmax_d( s(q,d)/τ ). A document that is close to the positive may be close to the query. P is detached.

    Ours, after arXiv 2407.21515, where s(p,n) is the target of a margin.

    Args:
        temperature: τ.
        target_temperature: τ_t; towards 0 it is InfoNCE.
        documents: the lists: the whole `batch` or the query's `own`.
        targets: whose similarities of documents they are: `self`, or `teacher`, a live copy of the encoder.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        target_temperature: float = 0.05,
        documents: Documents = "batch",
        targets: Targets = "self",
    ) -> None:
        super().__init__(temperature, documents, targets)
        require_positive(target_temperature=target_temperature)
        self.target_temperature = target_temperature

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, self.documents, pairs=True)
        row, cell = lists.pairs()
        mask = lists.of_pairs()
        nearness = self._nearness(batch, lists)
        scores = lists.take(batch.scores)
        target = masked_log_softmax(nearness.to(scores.dtype) / self.target_temperature, mask)
        student = masked_log_softmax((scores / self.temperature)[row], mask)
        loss = (target.exp() * (target - student)).masked_fill(~mask, 0).sum(dim=1)
        return loss.mean(), {"positive_target": target.gather(1, cell[:, None]).exp().mean()}


class AdaptiveSoftmax(_SelfDistillation):
    """InfoNCE with an adaptive margin inside the softmax.

    Mean over pairs of −log( e^{s(q,p)/τ} / (e^{s(q,p)/τ} + Σ_n e^{(s(q,n) + α·m(p,n))/τ}) ) over the pair's list, with
    m = (1 + s(p,n))/2, the target of arXiv 2407.21515 (`similarity`: a negative that resembles the positive has to be
    the farther away), or m = (1 − s(p,n))/2 (`distance`: the nearer, as it may be relevant). m is detached. Ours.

    Args:
        temperature: τ.
        alpha: weight of the margin; 0 is InfoNCE.
        margin: `similarity` or `distance`.
        documents: the lists: the whole `batch` or the query's `own`.
        targets: whose similarities of documents they are: `self`, or `teacher`, a live copy of the encoder.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        alpha: float = 1.0,
        margin: Literal["similarity", "distance"] = "similarity",
        documents: Documents = "batch",
        targets: Targets = "self",
    ) -> None:
        super().__init__(temperature, documents, targets)
        require_not_negative(alpha=alpha)
        self.alpha, self.margin = alpha, margin

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, self.documents, pairs=True)
        row, cell = lists.pairs()
        scores = lists.take(batch.scores)
        nearness = self._nearness(batch, lists).to(scores.dtype)
        margin = (1 + nearness if self.margin == "similarity" else 1 - nearness) / 2
        rivals = masked_logsumexp((scores[row] + self.alpha * margin) / self.temperature, lists.other[row])
        loss = softplus(rivals - scores[row, cell] / self.temperature)
        return loss.mean(), {"margin": masked_mean(margin, lists.other[row])}
