"""Listwise losses beside the KL family (`kl.py`): sampled rankings, and the positive apart from the others."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from .base import Loss, LossBatch, Need
from .checks import require_not_negative, require_positive
from .lists import Documents, Lists, list_needs, masked_exp, masked_log_softmax, teacher_mean


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
