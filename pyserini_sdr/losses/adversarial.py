"""Losses of a game: against a temperature that makes distillation hard, and against a ranker that is not fooled."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from .base import Loss, LossBatch, Need
from .checks import require_not_negative, require_positive, require_share, require_teacher
from .kl import KL
from .lists import Documents, Lists, masked_exp, masked_log_softmax, teacher_scores


class _Reversed(torch.autograd.Function):
    """The identity, with the gradient multiplied by −strength."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


class CurriculumTemperature(KL):
    """Curriculum temperature (CTKD; Li et al., AAAI 2023, arXiv 2211.16231): one that makes distillation hard.

    T²·KL(softmax(t/(teacher_temperature·T)) ‖ softmax(s/(temperature·T))) with T = start + range·σ(θ). θ is learned and
    starts at 1; its gradient is multiplied by −λ, so that it maximises the loss, λ = strength·½(1 − cos(π·min(progress
    / ramp, 1))). The authors' global temperature; their temperature per instance is not here.

    Args:
        start: the smallest T.
        range: T stays below start + range.
        strength: λ at the end of the ramp.
        ramp: share of the training over which λ grows (the authors: 10 epochs); 0 is at once.
        temperature: of the student.
        teacher_temperature: of the teacher.
        documents: the lists, as in `KL`.
    """

    def __init__(
        self,
        start: float = 1.0,
        range: float = 20.0,
        strength: float = 1.0,
        ramp: float = 0.1,
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        documents: Documents = "own",
    ) -> None:
        super().__init__(temperature, teacher_temperature, documents)
        require_positive(start=start)
        require_not_negative(range=range, strength=strength, ramp=ramp)
        self.start, self.range, self.strength, self.ramp = start, range, strength, ramp
        self.theta = nn.Parameter(torch.tensor(1.0))

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        value, log = super().forward(batch)
        return value, log | {"temperature": self._temperature(self.theta.detach())}

    def _softening(self, batch: LossBatch) -> Tensor:
        reached = min(batch.progress / self.ramp, 1.0) if self.ramp > 0 else 1.0
        strength = self.strength * (1 - math.cos(math.pi * reached)) / 2
        return self._temperature(_Reversed.apply(self.theta, strength))

    def _temperature(self, theta: Tensor) -> Tensor:
        return self.start + self.range * torch.sigmoid(theta)


class AdversarialRetriever(Loss):
    """AR2's retriever step (Zhang et al., ICLR 2022, arXiv 2110.03611): λ·L_adv + (1 − λ)·L_dist over own documents.

    The ranker is the teacher: r_d = log σ((t⁺ − t_d)/teacher_temperature), its log-probability that the positive is
    better than d. Its own step, against the negatives that the retriever finds, is `teach --train`.

    L_adv, mean over pairs (`paper`, eq. 10): Σ_d p_d r_d over the others, p = softmax(s/temperature) of the others: the
    retriever moves probability to negatives that the ranker takes for relevant. `code`, as the authors' code has it:
    Σ_d r_d log p_d with p over positive and others, r = log ½ at the positive, summed over the pairs, not averaged.
    L_dist (eq. 12): mean over queries of the cross entropy −Σ_d P_d log Q_d over the list, `listnet`.

    Args:
        weight: λ.
        form: see above.
        temperature: of the retriever.
        teacher_temperature: of the ranker.
        teacher: which one it is: 0 the mean of all, k the k-th of `--teacher`, -1 the last.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TEACHER, Need.NEGATIVES})

    def __init__(
        self,
        weight: float = 0.5,
        form: Literal["paper", "code"] = "paper",
        temperature: float = 0.05,
        teacher_temperature: float = 1.0,
        teacher: int = 0,
    ) -> None:
        super().__init__()
        require_share(weight=weight)
        require_positive(temperature=temperature, teacher_temperature=teacher_temperature)
        require_teacher(teacher)
        self.weight, self.form, self.teacher = weight, form, teacher
        self.temperature, self.teacher_temperature = temperature, teacher_temperature

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        scored = teacher_scores(batch, self.teacher)
        lists = Lists.of(batch, "own", scored, pairs=True)
        student = lists.take(batch.scores) / self.temperature
        ranker = lists.take(scored) / self.teacher_temperature
        target = masked_exp(lists.log_softmax(ranker), lists.mask)
        distillation = -(target * lists.log_softmax(student)).sum(dim=1).mean()
        row, cell = lists.pairs()
        positive = cell[:, None]
        others = lists.other[row]
        reward = logsigmoid(ranker[row].gather(1, positive) - ranker[row])  # log ½ at the positive itself
        if self.form == "paper":
            chosen = masked_exp(masked_log_softmax(student[row], others), others)
            adversarial = (chosen * reward).sum(dim=1).mean()
        else:
            seen = others.scatter(1, positive, True)
            adversarial = (masked_log_softmax(student[row], seen) * reward).sum()
        value = self.weight * adversarial + (1 - self.weight) * distillation
        return value, {"adversarial": adversarial.detach(), "distillation": distillation.detach()}
