"""Listwise losses: the student's distribution over a list of documents follows the teacher's."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ..core.errors import UsageError
from .base import Loss, LossBatch, Need
from .checks import require_not_negative, require_positive
from .lists import Documents, Lists, masked_exp, masked_log_softmax, ranks, teacher_mean

Weighting = Literal["none", "difficulty", "confidence"]


def list_needs(documents: Documents) -> frozenset[Need]:
    """What distillation over lists of that kind needs."""
    return frozenset({Need.TEACHER, Need.NEGATIVES if documents == "own" else Need.BATCH_TEACHER})


class KL(Loss):
    """Kullback–Leibler divergence from teacher to student: mean over queries of v · Σ_d P_d log(P_d / Q_d).

    P = softmax(Φ·t/teacher_temperature) and Q = softmax(s/temperature) over the list (RocketQAv2, ColBERTv2, SimLM).
    Other divergences of the two distributions are subclasses with other `_terms`, `_weights` or `_softening`.

    Args:
        temperature: of the student.
        teacher_temperature: of the teacher.
        documents: the lists: `own`, or the whole `batch`, of which the teacher's unscored documents are left out.
        weighting: v of a query. `none`: 1. `difficulty`: 1 − Σ Q_d of its positives, detached (after DCD).
            `confidence`: σ((mean t of positives − mean t of the others)/teacher_temperature) (after ADAM). Both are our
            interpretations, and with them only queries with a positive and another document in their lists count.
        anneal: T_max: t is multiplied by Φ = 1 − (T − 1)/T_max while T falls from T_max to 1 over the training (after
            Annealing-KD, which does so to logits under a squared error); 1 leaves t alone.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER, Need.NEGATIVES})

    def __init__(
        self,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        documents: Documents = "own",
        weighting: Weighting = "none",
        anneal: int = 1,
    ) -> None:
        super().__init__()
        require_positive(temperature=temperature, teacher_temperature=teacher_temperature, anneal=anneal)
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.documents, self.weighting, self.anneal = documents, weighting, anneal
        self.needs = list_needs(documents)

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scored = teacher_mean(batch)
        lists = Lists.of(batch, self.documents, scored, pairs=self.weighting != "none")
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
        return value.mean(), {"agreement": _agreement(lists, teacher, student)}

    def _terms(self, target: Tensor, student: Tensor) -> Tensor:
        """(R, L) what a document contributes, from log-probabilities; it is multiplied by P_d."""
        return target - student

    def _weights(self, lists: Lists, teacher: Tensor, student: Tensor) -> Tensor | None:
        """(R, L) weights of the terms, from the teacher's scores and the student's log-probabilities; None is 1."""
        return None

    def _softening(self, batch: LossBatch) -> Tensor | float:
        """A temperature on top of both temperatures; its square multiplies the loss."""
        return 1.0

    def _annealed(self, progress: float) -> float:
        current = max(1, math.ceil(self.anneal * (1 - progress)))
        return 1 - (current - 1) / self.anneal

    def _query_weight(self, lists: Lists, teacher: Tensor, student: Tensor) -> Tensor | None:
        if self.weighting == "none":
            return None
        if self.weighting == "difficulty":
            return (1 - masked_exp(student.detach(), lists.positive).sum(dim=1)).clamp(min=0)
        gap = _row_mean(teacher, lists.positive) - _row_mean(teacher, lists.other)
        return torch.sigmoid(gap / self.teacher_temperature)


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
    ) -> None:
        super().__init__(temperature, teacher_temperature, documents, weighting, anneal)


class CKL(KL):
    """Contrastively weighted KL (Yang et al., SIGIR 2024, arXiv 2406.05977): the terms of KL with weights.

    Weights, by the student's own probability: (1 − Q_d)^γ for positives, Q_d^(γ − β_d) for the others: what the student
    ranks rightly counts less. Our interpretation: weights are detached; β_d = beta·(1 − ρ_d/n), where ρ_d is d's rank
    by the teacher among the n others of the list. With γ = 0 it is `KL`. Weighted terms can be negative together, and
    their gradient is not 0 where student and teacher agree.

    Args:
        gamma: γ, 0 or more; the paper's value was not found.
        beta: from 0 to γ.
        temperature, teacher_temperature, documents, weighting, anneal: as in `KL`.
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
    ) -> None:
        super().__init__(temperature, teacher_temperature, documents, weighting, anneal)
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


class RankDistil(Loss):
    """Coupled RankDistil (Reddi et al., AISTATS 2021) as in TensorFlow Ranking.

    K rankings π are drawn from the teacher's Plackett–Luce model of the query's own documents; the loss is the mean of
    −Σ_{r≤k} ( z_π(r) − log Σ_{j≥r} e^{z_π(j)} ), z = s/temperature: the student's likelihood of their first k places.
    The paper's other variants were not found.

    Args:
        samples: K.
        top: k; 0 takes the whole list.
        temperature: of the student.
        teacher_temperature: of the teacher.
    """

    needs = frozenset({Need.TEACHER, Need.NEGATIVES})

    def __init__(
        self, samples: int = 8, top: int = 0, temperature: float = 0.05, teacher_temperature: float = 1.0
    ) -> None:
        super().__init__()
        require_positive(samples=samples, temperature=temperature, teacher_temperature=teacher_temperature)
        require_not_negative(top=top)
        self.samples, self.top = samples, top
        self.temperature, self.teacher_temperature = temperature, teacher_temperature

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scored = teacher_mean(batch)
        lists = Lists.of(batch, "own", scored)
        teacher = lists.take(scored) / self.teacher_temperature
        order = sampled_rankings(teacher, lists.mask, self.samples, batch.generator)
        logits = (lists.take(batch.scores) / self.temperature).expand(order.shape).gather(-1, order)
        likelihood = logits - torch.logcumsumexp(logits, dim=-1)  # worst first: the sum is over the places j ≥ r
        length = lists.mask.sum(dim=1)[:, None]
        rank = length - torch.arange(order.shape[-1], device=length.device)  # 0 and below: padding
        counts = (rank >= 1) & (rank <= (self.top or length))
        value = -likelihood.masked_fill(~counts, 0).sum(dim=-1)
        return value.mean(), {}


def sampled_rankings(scores: Tensor, mask: Tensor, samples: int, generator: torch.Generator | None) -> Tensor:
    """(samples, R, L) cells of each list from worst to best, padding last, as Plackett–Luce draws them.

    The noise is Gumbel's: minus the logarithm of (samples, R, L) exponential variates, drawn on the CPU in double
    precision.
    """
    variates = torch.empty((samples, *scores.shape), dtype=torch.float64).exponential_(generator=generator)
    drawn = scores - variates.clamp(min=1e-300).log().to(scores)
    return drawn.masked_fill(~mask, torch.inf).argsort(dim=-1)


class NKD(Loss):
    """Normalised knowledge distillation (Yang et al., ICCV 2023, arXiv 2303.13005).

    Mean over pairs of −T⁺ log S⁺ − γτ² Σ_{k≠+} N(T)_k log N(S)_k: S⁺ and T⁺ are the probabilities of the positive in
    the pair's list, N the softmax of the others alone, at τ. The papers' "classes" are the documents of the list.

    Args:
        temperature: of the student, dividing its scores everywhere.
        teacher_temperature: of the teacher, likewise.
        gamma: γ.
        tau: τ, on top of these among the others.
        documents: the lists, as in `KL`.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER, Need.NEGATIVES})

    def __init__(
        self,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        gamma: float = 1.5,
        tau: float = 1.0,
        documents: Documents = "own",
    ) -> None:
        super().__init__()
        require_positive(temperature=temperature, teacher_temperature=teacher_temperature, tau=tau)
        require_not_negative(gamma=gamma)
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.gamma, self.tau, self.documents = gamma, tau, documents
        self.needs = list_needs(documents)

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scored = teacher_mean(batch)
        lists = Lists.of(batch, self.documents, scored, pairs=True)
        student = lists.take(batch.scores) / self.temperature
        teacher = lists.take(scored) / self.teacher_temperature
        log_positive, target = lists.log_positive(student), lists.log_positive(teacher).exp()
        # The others are the same for all positives of a query, so this is per query and then repeated.
        others = lists.other
        normalised = masked_exp(masked_log_softmax(teacher / self.tau, others), others)
        cross = -(normalised * masked_log_softmax(student / self.tau, others)).sum(dim=1)
        row, _ = lists.pairs()
        value = -target * log_positive + self.gamma * self.tau**2 * cross[row]
        return value.mean(), {"positive_probability": log_positive.detach().exp().mean()}
