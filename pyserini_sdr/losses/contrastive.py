"""Contrastive losses: a softmax in which the positive should win."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..core.errors import UsageError
from .base import IGNORE, OWN_NEG, OWN_POS, Loss, LossBatch, Need, pairs_with


class InfoNCE(Loss):
    """InfoNCE with in-batch and hard negatives.

    Mean over pairs of −log( e^{s(q,p)/τ} / (e^{s(q,p)/τ} + Σ_n e^{s(q,n)/τ}) ). n runs over every document that is not
    a positive of q (van den Oord et al. 2018; as in Tevatron and sentence-transformers). Several positives of a query
    are several pairs, each without the others in its denominator.

    Args:
        temperature: τ.
        in_batch: use the documents of other queries too; else only the query's own negatives.
    """

    def __init__(self, temperature: float = 0.05, in_batch: bool = True) -> None:
        super().__init__()
        if temperature <= 0:
            raise UsageError(f"temperature {temperature}: must be positive")
        self.temperature, self.in_batch = temperature, in_batch
        if not in_batch:
            self.needs = frozenset({Need.NEGATIVES})

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        logits = batch.scores / self.temperature
        query, positive = pairs_with(batch.relation, OWN_POS)
        usable = batch.relation == OWN_NEG
        if self.in_batch:
            usable = (batch.relation != OWN_POS) & (batch.relation != IGNORE)
        rivals = torch.logsumexp(logits.masked_fill(~usable, -torch.inf), dim=1)
        gap = logits[query, positive] - rivals[query]
        with_rivals = usable.any(dim=1)[query]  # a pair without any rival teaches nothing and has an infinite gap
        loss = softplus(-gap[with_rivals]).sum() / with_rivals.sum().clamp(min=1)
        with torch.no_grad():
            best = logits.masked_fill(~usable, -torch.inf).amax(dim=1)[query]
            accuracy = (logits[query, positive] > best)[with_rivals].float()
        return loss, {"accuracy": accuracy.mean()}
