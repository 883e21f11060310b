"""Pairwise losses: differences of two documents' scores should be, or be ordered, like the teacher's."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from .base import OTHER_NEG, OTHER_POS, OWN_POS, Loss, LossBatch, Need
from .checks import require_not_negative, require_positive
from .lists import Lists, masked_mean, ranks, teacher_mean, teachers_of, wide


def _differences(values: Tensor) -> Tensor:
    """(R, L, L) value of cell a minus value of cell b."""
    return values[:, :, None] - values[:, None, :]


class MarginMSE(Loss):
    """Margin-MSE (Hofstätter et al. 2020, arXiv 2010.02666): the student's margins equal the teacher's.

    `positive`: mean over (q, positive, own negative) of (a·(s⁺ − s⁻) − (t⁺ − t⁻))². `all`: over every pair of the
    query's own documents, as in CL-DRD's code. Cosine margins cannot exceed 2, while those of cross-encoders reach 10
    and more: train with dot product, or set `scale`.

    Args:
        scale: a, on the student's side.
        pairs: see above.
    """

    needs = frozenset({Need.TEACHER, Need.NEGATIVES})

    def __init__(self, scale: float = 1.0, pairs: Literal["positive", "all"] = "positive") -> None:
        super().__init__()
        require_positive(scale=scale)
        self.scale, self.pairs = scale, pairs

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        return self._own(batch, teacher_mean(batch))

    def _own(self, batch: LossBatch, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Against (B, M) teacher scores, among each query's own documents."""
        lists = Lists.of(batch, "own", teacher, pairs=self.pairs == "positive")
        margin = _differences(self.scale * lists.take(batch.scores))
        target = _differences(lists.take(teacher))
        if self.pairs == "positive":
            counts = lists.positive[:, :, None] & lists.other[:, None, :]
            sign = 1
        else:
            counts = (lists.mask[:, :, None] & lists.mask[:, None, :]).triu(diagonal=1)
            sign = target.sign()  # a pair has no direction of its own: the log shows it in the teacher's
        return masked_mean((margin - target).square(), counts), {
            "margin": masked_mean(margin.detach() * sign, counts),
            "teacher_margin": masked_mean(target * sign, counts),
        }


class DualSupervision(MarginMSE):
    """TAS-B's dual supervision (Hofstätter et al., SIGIR 2021, arXiv 2104.06967).

    Margin-MSE of the query's own triples against the first teacher, plus α·½·(A + C) against the last: A is the mean
    over (q_i, p, d) of the same squared error with d a negative of another query, C with d a positive of another query.
    One teacher serves as both. The means are those of the authors' code; the paper's equation divides sums by 2|Q|.

    Args:
        alpha: α.
        scale: multiplies the student's margins, see `MarginMSE`.
    """

    needs = frozenset({Need.TEACHER, Need.LAST_BATCH_TEACHER, Need.NEGATIVES})

    def __init__(self, alpha: float = 0.75, scale: float = 1.0) -> None:
        super().__init__(scale)
        require_not_negative(alpha=alpha)
        self.alpha = alpha

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        first, last = (wide(teachers_of(batch)[k]) for k in (0, -1))
        own, log = self._own(batch, first)
        query, positive = torch.nonzero((batch.relation == OWN_POS) & ~torch.isnan(last), as_tuple=True)
        scored = ~torch.isnan(last)[query]
        code = batch.relation[query]
        residual = (self.scale * wide(batch.scores) - last.nan_to_num())[query]
        error = (residual.gather(1, positive[:, None]) - residual).square()
        in_batch = sum(masked_mean(error, (code == kind) & scored) for kind in (OTHER_NEG, OTHER_POS)) / 2
        return own + self.alpha * in_batch, log | {"own": own.detach(), "in_batch": in_batch.detach()}


class _Ordered(Loss):
    """Mean of a penalty over all pairs (a, b) of own documents of a query in which a has the larger label."""

    needs = frozenset({Need.TEACHER, Need.NEGATIVES})

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        teacher = teacher_mean(batch)
        lists = self._lists(batch, teacher)
        student, label = lists.take(batch.scores), self._label(lists, lists.take(teacher))
        counts = (_differences(label) > 0) & lists.mask[:, :, None] & lists.mask[:, None, :]
        difference = _differences(student)
        agreement = masked_mean((difference > 0).to(difference.dtype), counts)
        return masked_mean(self._penalty(lists, student, label, difference), counts), {"agreement": agreement}

    def _lists(self, batch: LossBatch, teacher: Tensor) -> Lists:
        return Lists.of(batch, "own", teacher)

    def _label(self, lists: Lists, teacher: Tensor) -> Tensor:
        """(R, L) what orders the documents."""
        return teacher

    def _penalty(self, lists: Lists, student: Tensor, label: Tensor, difference: Tensor) -> Tensor:
        """(R, L, L) penalty of every (a, b) from (R, L) scores and labels and the scores' differences."""
        raise NotImplementedError


class RankNet(_Ordered):
    """RankNet (Burges et al., ICML 2005) with the teacher's order of the query's own documents.

    `order`: log(1 + e^{−(s_a − s_b)/τ}) where t_a > t_b. `probability`: binary cross entropy of σ((s_a − s_b)/τ) with
    the teacher's own σ((t_a − t_b)/teacher_temperature). Mean over all such pairs of the batch; teacher's ties are out.

    Args:
        temperature: τ.
        target: see above.
        teacher_temperature: see above.
    """

    def __init__(
        self,
        temperature: float = 0.05,
        target: Literal["order", "probability"] = "order",
        teacher_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        require_positive(temperature=temperature, teacher_temperature=teacher_temperature)
        self.temperature, self.target, self.teacher_temperature = temperature, target, teacher_temperature

    def _penalty(self, lists: Lists, student: Tensor, label: Tensor, difference: Tensor) -> Tensor:
        logit = difference / self.temperature
        if self.target == "order":
            return softplus(-logit)
        probability = torch.sigmoid(_differences(label) / self.teacher_temperature).to(logit.dtype)
        return binary_cross_entropy_with_logits(logit, probability, reduction="none")


class HingeOrder(_Ordered):
    """LED's rank-consistent regularisation (Zhang et al., WWW 2023, arXiv 2208.13661).

    Mean over the pairs that the teacher orders, t_a > t_b, of max(0, margin − (s_a − s_b)).

    Args:
        margin: how far apart the student's scores must be.
        positives: whether the query's positives take part, as in the authors' recipe (`--with_pos`).
    """

    def __init__(self, margin: float = 0.0, positives: bool = True) -> None:
        super().__init__()
        require_not_negative(margin=margin)
        self.margin, self.positives = margin, positives
        self.fewest_negatives = 1 if positives else 2

    def _lists(self, batch: LossBatch, teacher: Tensor) -> Lists:
        return Lists.of(batch, "own", teacher, only_others=not self.positives)

    def _penalty(self, lists: Lists, student: Tensor, label: Tensor, difference: Tensor) -> Tensor:
        return torch.relu(self.margin - difference)


class LambdaMRR(_Ordered):
    """CL-DRD's λ-MRR (Zeng, Zamani and Vinay, SIGIR 2022, arXiv 2204.13679).

    Labels: 1/rank for the teacher's best `relevant` documents of the query, and of the rest 0 (`tail=zero`), or −0.25
    for the better half of them, rounded down, and −0.5 for the others (`halves`, the code's label modes 8 to 10).
    Labels order documents and do nothing else. Mean over pairs with y_a > y_b of
    |1/r_a − 1/r_b| · log(1 + e^{−(s_a − s_b)/τ}), r the student's ranks. The curriculum of the paper raises `relevant`
    (5, 10, 20–30) from stage to stage.

    Args:
        temperature: τ.
        relevant: how many documents of the list have a label above 0.
        tail: see above.
    """

    def __init__(self, temperature: float = 0.05, relevant: int = 5, tail: Literal["zero", "halves"] = "zero") -> None:
        super().__init__()
        require_positive(temperature=temperature, relevant=relevant)
        self.temperature, self.relevant, self.tail = temperature, relevant, tail

    def _label(self, lists: Lists, teacher: Tensor) -> Tensor:
        rank = ranks(teacher, lists.mask)
        rest: Tensor | float = 0.0
        if self.tail == "halves":
            half = (lists.mask.sum(dim=1, keepdim=True) - self.relevant) // 2
            rest = torch.where(rank <= self.relevant + half, -0.25, -0.5)
        return torch.where(rank <= self.relevant, 1 / rank, rest)

    def _penalty(self, lists: Lists, student: Tensor, label: Tensor, difference: Tensor) -> Tensor:
        reciprocal = 1 / ranks(student, lists.mask).to(student.dtype)
        return _differences(reciprocal).abs() * softplus(-difference / self.temperature)
