"""A loss with a part that is trained against it."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from .base import LossBatch
from .checks import require_not_negative, require_positive
from .lists import Documents
from .listwise import KL


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
