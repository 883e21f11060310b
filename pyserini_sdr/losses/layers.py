"""LEAD: layers of the student learn from layers of a teacher, through the scores that the layers' states give."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from ..core.errors import UsageError
from .base import Loss, LossBatch, Need
from .checks import require_positive
from .embeddings import feature
from .kl import KL
from .lists import Documents, Lists, wide


class LayerDistill(Loss):
    """The layer term of LEAD (Sun et al., WSDM 2024, arXiv 2212.05225): Σ_k w_k · mean KL(teacher a_k ‖ student b_k).

    A layer's score matrix is the encoder's similarity of its pooled states of queries and documents. K layers are drawn
    from either side, without replacement and in order, anew at each step (the authors: every 10 steps); then
    w = softmax_k(−CE_k / layer_temperature), CE_k the cross entropy of teacher layer a_k on the positives: mean over
    pairs, over the pair's list. The teacher is frozen, weights and targets are constants. LEAD's other terms are losses
    of their own (`kl`, and `infonce` or `lce`); its trained teacher is not here.

    Args:
        layers: K; fewer if either side has fewer layers.
        temperature: of the student's layers.
        teacher_temperature: of the teacher's layers.
        layer_temperature: of the weights.
        documents: the lists: the whole `batch`, or the query's `own` documents.
    """

    needs: ClassVar[frozenset[Need]] = frozenset({Need.LAYERS})
    truncates: ClassVar[bool] = False

    def __init__(
        self,
        layers: int = 3,
        temperature: float = 0.05,
        teacher_temperature: float = 0.05,
        layer_temperature: float = 10.0,
        documents: Documents = "batch",
    ) -> None:
        super().__init__()
        if layers < 1:
            raise UsageError(f"layers {layers}: must be 1 or more")
        require_positive(layer_temperature=layer_temperature)
        self.kl = KL(temperature, teacher_temperature, documents)
        self.layers, self.teacher_temperature = layers, teacher_temperature
        self.layer_temperature, self.documents = layer_temperature, documents
        if documents == "own":
            self.needs = self.needs | {Need.NEGATIVES}

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        query, document = feature(batch, "query_layers"), feature(batch, "document_layers")
        teacher_query = feature(batch, "teacher_query_layers").detach()
        teacher_document = feature(batch, "teacher_document_layers").detach()
        drawn = self._draw(teacher_query.shape[1], query.shape[1], batch.generator)
        lists = Lists.of(batch, self.documents, pairs=True)
        values, costs, agreements = [], [], []
        for teacher_layer, layer in drawn:
            teacher = _of_layer(batch, teacher_query, teacher_document, teacher_layer).scores
            value, log = self.kl(replace(_of_layer(batch, query, document, layer), teacher=teacher[None]))
            values.append(value)
            agreements.append(log["agreement"])
            costs.append(-lists.log_positive(lists.take(teacher) / self.teacher_temperature).mean())
        cost = torch.stack(costs)
        weights = torch.softmax(-cost / self.layer_temperature, dim=0)
        log = {"agreement": torch.stack(agreements).mean(), "teacher_cross_entropy": cost.mean()}
        return (weights * torch.stack(values)).sum(), log

    def _draw(self, teacher: int, student: int, generator: torch.Generator | None) -> list[tuple[int, int]]:
        """Pairs (layer of the teacher, layer of the student), ascending on both sides; the teacher's come first."""
        count = min(self.layers, teacher, student)
        sides = [torch.randperm(size, generator=generator)[:count].sort().values for size in (teacher, student)]
        return list(zip(*(side.tolist() for side in sides), strict=True))


def _of_layer(batch: LossBatch, query: Tensor, document: Tensor, layer: int) -> LossBatch:
    """The batch with the states of one layer, (B, D) of (B, L, D) and (M, D) of (M, L, D), as its vectors."""
    return replace(batch, query=wide(query[:, layer]), document=wide(document[:, layer]))
