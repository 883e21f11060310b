"""The Kullback–Leibler divergence from a teacher's distribution over a list of documents to the student's, its kin."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.errors import UsageError
from .base import Loss, LossBatch, Need
from .checks import require_not_negative, require_positive, require_share, require_teacher
from .lists import Documents, Lists, list_needs, masked_exp, ranks, teacher_scores

Weighting = Literal["none", "difficulty", "confidence"]


class KL(Loss):
    """Kullback–Leibler divergence from teacher to student: mean over queries of v · Σ_d P_d log(P_d / Q_d).

    P = softmax(Φ·t/(teacher_temperature·τ)) and Q = softmax(s/(temperature·τ)) over the list; times τ² (RocketQAv2,
    ColBERTv2 and SimLM with τ = 1, PROD with 4). Other divergences of the two distributions are subclasses with other
    `_terms`, `_weights` or `_softening`.

    Args:
        temperature: of the student.
        teacher_temperature: of the teacher.
        documents: the lists: `own`, or the whole `batch`, of which the teacher's unscored documents are left out.
        weighting: v of a query. `none`: 1. `difficulty`: 1 − Σ Q_d of its positives, detached (after DCD).
            `confidence`: σ((mean t of positives − mean t of the others)/teacher_temperature) (after ADAM). Both are our
            interpretations, and with them only queries with a positive and another document in their lists count.
        anneal: T_max: t is multiplied by Φ = 1 − (T − 1)/T_max while T falls from T_max to 1 over the training (after
            Annealing-KD, which does so to logits under a squared error); 1 leaves t alone.
        teacher: whose scores are t: 0 the mean of all teachers, k the k-th of `--teacher`, -1 the last.
        tau: τ, on top of both temperatures.
        pace: share of the batch's queries that count at the start of the training, rising in a line to all at its end:
            those of which the teacher is most confident, by the gap in `confidence` (after ADAM's self-paced training;
            our interpretation). Below 1, only queries with a positive and another document in their lists count.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER, Need.NEGATIVES})

    def __init__(
        self,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        documents: Documents = "own",
        weighting: Weighting = "none",
        anneal: int = 1,
        teacher: int = 0,
        tau: float = 1.0,
        pace: float = 1.0,
    ) -> None:
        super().__init__()
        require_positive(temperature=temperature, teacher_temperature=teacher_temperature, anneal=anneal, tau=tau)
        require_positive(pace=pace)
        require_share(pace=pace)
        require_teacher(teacher)
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.documents, self.weighting, self.anneal = documents, weighting, anneal
        self.teacher, self.tau, self.pace = teacher, tau, pace
        self.needs = list_needs(documents)

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scored = teacher_scores(batch, self.teacher)
        lists = Lists.of(batch, self.documents, scored, pairs=self.weighting != "none" or self.pace < 1)
        teacher, softening = lists.take(scored), self._softening(batch)
        sharpness = self._annealed(batch.progress) / (self.teacher_temperature * softening)
        target = lists.log_softmax(teacher * sharpness)
        student = lists.log_softmax(lists.take(batch.scores) / (self.temperature * softening))
        terms = masked_exp(target, lists.mask) * self._terms(target, student)
        weights = self._weights(lists, teacher, student)
        if weights is not None:
            terms = terms * weights
        value = terms.sum(dim=1) * softening**2
        weight = self._query_weight(lists, teacher, student)
        if weight is not None:
            value = value * weight
        log = {"agreement": _agreement(lists, teacher, student)}
        if self.pace < 1:
            counted = self._paced(lists, teacher, batch.progress)
            log["paced"] = value.new_tensor(len(counted) / len(value))
            value = value[counted]
        return value.mean(), log

    def _terms(self, target: Tensor, student: Tensor) -> Tensor:
        """(R, L) what a document contributes, from log-probabilities; it is multiplied by P_d."""
        return target - student

    def _weights(self, lists: Lists, teacher: Tensor, student: Tensor) -> Tensor | None:
        """(R, L) weights of the terms, from the teacher's scores and the student's log-probabilities; None is 1."""
        return None

    def _softening(self, batch: LossBatch) -> Tensor | float:
        """A temperature on top of both temperatures; its square multiplies the loss."""
        return self.tau

    def _annealed(self, progress: float) -> float:
        current = max(1, math.ceil(self.anneal * (1 - progress)))
        return 1 - (current - 1) / self.anneal

    def _query_weight(self, lists: Lists, teacher: Tensor, student: Tensor) -> Tensor | None:
        if self.weighting == "none":
            return None
        if self.weighting == "difficulty":
            return (1 - masked_exp(student.detach(), lists.positive).sum(dim=1)).clamp(min=0)
        return torch.sigmoid(_confidence(lists, teacher) / self.teacher_temperature)

    def _paced(self, lists: Lists, teacher: Tensor, progress: float) -> Tensor:
        """Rows of the queries that count at this point of the training, the most confident ones, at least one."""
        share = self.pace + (1 - self.pace) * min(progress, 1.0)
        number = max(1, math.ceil(share * len(teacher) - 1e-9))  # a share that is whole but for rounding
        return _confidence(lists, teacher).argsort(descending=True, stable=True)[:number]


def _confidence(lists: Lists, teacher: Tensor) -> Tensor:
    """(R,) mean score of the positives minus that of the others, by (R, L) scores."""
    return _row_mean(teacher, lists.positive) - _row_mean(teacher, lists.other)


def _row_mean(values: Tensor, mask: Tensor) -> Tensor:
    return values.masked_fill(~mask, 0).sum(dim=1) / mask.sum(dim=1)


def _agreement(lists: Lists, teacher: Tensor, student: Tensor) -> Tensor:
    """Share of queries whose first document is the teacher's first."""
    with torch.no_grad():
        first = [values.masked_fill(~lists.mask, -torch.inf).argmax(dim=1) for values in (teacher, student)]
        return (first[0] == first[1]).float().mean()


class ListNet(KL):
    """ListNet's top-one cross entropy (Cao et al., ICML 2007): −Σ_d P_d log Q_d, the gradient of which is that of KL.

    Takes the options of `KL`.
    """

    def _terms(self, target: Tensor, student: Tensor) -> Tensor:
        return -student


class TCT(KL):
    """TCT-ColBERT's in-batch distillation (Lin, Yang and Lin, RepL4NLP 2021): KL over all documents of the batch.

    The student has no temperature, as in the paper, where scores are dot products; with cosine, set one. Takes the
    options of `KL`.
    """

    needs = list_needs("batch")

    def __init__(
        self,
        temperature: float = 1.0,
        teacher_temperature: float = 0.25,
        documents: Documents = "batch",
        weighting: Weighting = "none",
        anneal: int = 1,
        teacher: int = 0,
        tau: float = 1.0,
        pace: float = 1.0,
    ) -> None:
        super().__init__(temperature, teacher_temperature, documents, weighting, anneal, teacher, tau, pace)


class LearningWithoutForgetting(KL):
    """PROD's guard against forgetting (Lin et al., WWW 2023, arXiv 2209.13335): KL to the student's own frozen copy.

    The last teacher is the checkpoint that training starts from, given as `--teacher … CHECKPOINT`. Its scores are of
    the student's own kind, so one temperature divides both.

    Args:
        temperature: of student and teacher.
        documents, weighting, anneal, teacher, tau, pace: as in `KL`, with the last teacher and PROD's τ as defaults.
    """

    own_copy: ClassVar[bool] = True

    def __init__(
        self,
        temperature: float = 0.05,
        documents: Documents = "own",
        weighting: Weighting = "none",
        anneal: int = 1,
        teacher: int = -1,
        tau: float = 4.0,
        pace: float = 1.0,
    ) -> None:
        super().__init__(temperature, temperature, documents, weighting, anneal, teacher, tau, pace)


class CKL(KL):
    """Contrastively weighted KL (Yang et al., SIGIR 2024, arXiv 2406.05977): the terms of KL with weights.

    Weights, by the student's own probability: (1 − Q_d)^γ for positives, Q_d^(γ − β_d) for the others: what the student
    ranks rightly counts less. Our interpretation: weights are detached; β_d = beta·(1 − ρ_d/n), where ρ_d is d's rank
    by the teacher among the n others of the list. With γ = 0 it is `KL`. Weighted terms can be negative together, and
    their gradient is not 0 where student and teacher agree.

    Args:
        gamma: γ, 0 or more; the paper's value was not found.
        beta: from 0 to γ.
        temperature, teacher_temperature, documents, weighting, anneal, teacher, tau, pace: as in `KL`.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        documents: Documents = "own",
        gamma: float = 1.0,
        beta: float = 0.0,
        weighting: Weighting = "none",
        anneal: int = 1,
        teacher: int = 0,
        tau: float = 1.0,
        pace: float = 1.0,
    ) -> None:
        super().__init__(temperature, teacher_temperature, documents, weighting, anneal, teacher, tau, pace)
        require_not_negative(gamma=gamma, beta=beta)
        if beta > gamma:
            raise UsageError(f"beta {beta}: must not exceed gamma ({gamma})")
        self.gamma, self.beta = gamma, beta

    def _weights(self, lists: Lists, teacher: Tensor, student: Tensor) -> Tensor:
        with torch.no_grad():
            others = lists.other
            rank = ranks(teacher, others).to(student.dtype)
            count = others.sum(dim=1, keepdim=True).clamp(min=1)
            exponent = self.gamma - self.beta * (1 - rank / count)
            probability = student.exp()
            # 1 − Q from log Q without cancellation
            positive = (-torch.expm1(student)).clamp(min=0) ** self.gamma
            return torch.where(lists.positive, positive, probability ** exponent.masked_fill(~others, 0))
