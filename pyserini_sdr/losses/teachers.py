"""Losses with several teachers at once: weighted by their confidence or agreement, or with a head for each.

Distributions are over the query's own documents that all teachers scored (in `cerberus`: that the head's teacher
scored): P_k of teacher k, from t_k = its scores / teacher_temperature, and Q of the student, from z = s / temperature.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from ..core.errors import DataError
from .base import Loss, LossBatch, Need, Shapes
from .checks import require_positive
from .kl import KL
from .lists import Lists, masked_exp, masked_logsumexp, teacher_mean, teachers_of, wide


class _SeveralTeachers(Loss):
    """What losses with a weight per query or teacher share: the lists and τ² KL of every teacher."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHERS, Need.NEGATIVES})

    def __init__(self, tau: float, temperature: float, teacher_temperature: float) -> None:
        super().__init__()
        require_positive(tau=tau, temperature=temperature, teacher_temperature=teacher_temperature)
        self.tau, self.temperature, self.teacher_temperature = tau, temperature, teacher_temperature

    def _teachers(self, batch: LossBatch, lists: Lists) -> Tensor:
        """(K, R, L) t_k of the lists' documents."""
        teachers = teachers_of(batch)
        if len(teachers) < 2:
            raise DataError("batch", "holds the scores of one teacher", remedy="score the groups with another, too")
        return torch.stack([lists.take(scores) for scores in teachers]) / self.teacher_temperature

    def _divergences(self, batch: LossBatch, lists: Lists, target: Tensor) -> Tensor:
        """(K, R) τ² KL(P_k ‖ Q) of (K, R, L) log P_k, with Q at τ."""
        student = lists.log_softmax(lists.take(batch.scores) / (self.temperature * self.tau))
        return self.tau**2 * _divergence(lists, target, student)


class ConfidenceWeighted(_SeveralTeachers):
    """Confidence-aware multi-teacher distillation (CA-MKD; Zhang et al., ICASSP 2022, arXiv 2201.00007).

    Mean over queries of Σ_k w_k τ² KL(softmax(t_k/τ) ‖ softmax(z/τ)), w_k = (1 − softmax_k(CE_k)) / (K − 1), where CE_k
    is −log of the probability that softmax(t_k) gives the positives. A query without a positive in its list does not
    count, except with uniform weights. The authors' code divides by K although Σ_k w_k = 1; this one does not. Their
    term on hidden states is not here.

    Args:
        tau: τ, on top of both temperatures.
        temperature: of the student.
        teacher_temperature: of the teachers.
        weights: `confidence`, or `uniform`: 1/K.
    """

    def __init__(
        self,
        tau: float = 4.0,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        weights: Literal["confidence", "uniform"] = "confidence",
    ) -> None:
        super().__init__(tau, temperature, teacher_temperature)
        self.weights = weights

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, teacher=teacher_mean(batch))
        if self.weights == "confidence":
            lists = _with_positive(lists)
        teachers = self._teachers(batch, lists)
        divergences = self._divergences(batch, lists, lists.log_softmax(teachers / self.tau))
        weights = torch.full_like(divergences, 1 / len(teachers))
        if self.weights == "confidence":
            cross_entropy = -masked_logsumexp(lists.log_softmax(teachers), lists.positive)
            weights = (1 - torch.softmax(cross_entropy, dim=0)) / (len(teachers) - 1)
        log = {f"teacher_weight_{number}": weight for number, weight in enumerate(weights.mean(dim=1), start=1)}
        return (weights * divergences).sum(dim=0).mean(), log


class AgreementWeighted(_SeveralTeachers):
    """Distillation from several teachers, weighted by how far they agree on a query (multi-teacher disagreement).

    Mean over queries of v · mean_k τ² KL(P_k ‖ softmax(z/τ)), P_k = softmax(t_k/τ), with v a function of the teachers'
    disagreement JS = mean_k KL(P_k ‖ mean_k P_k), which is at most ln K. Our interpretation of an idea whose formula
    was not found.

    Args:
        tau: τ, on top of both temperatures.
        temperature: of the student.
        teacher_temperature: of the teachers.
        favour: `consensus`: v = 1 − JS/ln K, what teachers agree on is more reliable; `disagreement`: v = 1 + JS/ln K,
            where they differ there is more to learn.
    """

    def __init__(
        self,
        tau: float = 1.0,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        favour: Literal["consensus", "disagreement"] = "consensus",
    ) -> None:
        super().__init__(tau, temperature, teacher_temperature)
        self.favour = favour

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, teacher=teacher_mean(batch))
        target = lists.log_softmax(self._teachers(batch, lists) / self.tau)
        consensus = torch.logsumexp(target, dim=0) - math.log(len(target))
        disagreement = _divergence(lists, target, consensus).mean(dim=0) / math.log(len(target))
        weight = 1 - disagreement if self.favour == "consensus" else 1 + disagreement
        value = weight * self._divergences(batch, lists, target).mean(dim=0)
        return value.mean(), {"teacher_agreement": 1 - disagreement.mean()}


class MultiHead(Loss):
    """A head per teacher over the shared encoder (after CERBERUS; Matsubara et al., Findings of EMNLP 2022).

    Mean over heads h of the loss `kl` with teacher h alone and the similarity of W_h q and W_h d, the encoder's
    similarity. W_h is D×D, without bias, and starts as the identity, so that all heads start as the encoder.

    The authors' heads are transformer layers of a cross-encoder, kept when it is used. Our interpretation: heads stay
    in training and the encoder's own vector is indexed.

    Args:
        temperature: of the student.
        teacher_temperature: of the teachers.

    Attributes:
        heads: W_h, one per teacher.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHERS, Need.NEGATIVES})
    truncates: ClassVar[bool] = False

    def __init__(self, temperature: float = 0.05, teacher_temperature: float = 1.0) -> None:
        super().__init__()
        self.kl = KL(temperature, teacher_temperature)

    def build(self, shapes: Shapes) -> None:
        self.heads = nn.ModuleList(
            nn.Linear(shapes.dimension, shapes.dimension, bias=False) for _ in range(shapes.teachers)
        )
        for head in self.heads:
            nn.init.eye_(head.weight)

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        query, document = wide(batch.query), wide(batch.document)
        values, agreements = [], []
        for head, scores in zip(self.heads, teachers_of(batch), strict=True):
            weight = head.weight.to(query.dtype)
            value, log = self.kl(
                replace(batch, query=linear(query, weight), document=linear(document, weight), teacher=scores[None])
            )
            values.append(value)
            agreements.append(log["agreement"])
        return torch.stack(values).mean(), {"agreement": torch.stack(agreements).mean()}


def _divergence(lists: Lists, target: Tensor, student: Tensor) -> Tensor:
    """(…, R) KL of (…, R, L) log-probabilities over the lists."""
    return (masked_exp(target, lists.mask) * (target - student)).sum(dim=-1)


def _with_positive(lists: Lists) -> Lists:
    """Those lists that hold a positive; `DataError` if none does."""
    counts = lists.positive.any(dim=1)
    if not counts.any():
        raise DataError("batch", "holds no query with a positive that the teachers scored", remedy="score them")
    column = None if lists.column is None else lists.column[counts]
    return Lists(lists.query[counts], column, lists.mask[counts], lists.positive[counts])
