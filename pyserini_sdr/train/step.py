"""One step: texts → embeddings → loss, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.errors import SdrError
from ..losses.base import LossBatch
from ..model.batching import by_token_budget, pad
from ..model.encoder import forward
from ..model.spec import EncoderSpec
from .batches import TextBatch
from .gather import gather_rows, share


class Step:
    """Computes the loss of a batch of texts.

    Texts are encoded in length-sorted pieces, so that little is padding. With `micro_batch_size` the activations of a
    piece are dropped after its forward pass and computed again, with the same dropout, when its gradient is due (the
    cached-gradient step of Gao et al. 2021): memory then grows with the piece, not with the batch, and the loss still
    sees the whole batch.

    Args:
        tokenizer: of the encoder.
        spec: of the encoder.
        losses: `(loss, name, weight)`.
        device: where the encoder is.
        bf16: run the encoder under bf16 autocast.
        micro_batch_size: texts per piece; None keeps all activations.
        token_budget: padded tokens per piece.
    """

    def __init__(
        self,
        tokenizer: Any,
        spec: EncoderSpec,
        losses: Sequence[tuple[nn.Module, str, float]],
        *,
        device: torch.device,
        bf16: bool,
        micro_batch_size: int | None = None,
        token_budget: int | None = None,
    ) -> None:
        self.tokenizer, self.spec, self.losses = tokenizer, spec, losses
        self.device, self.bf16, self.micro_batch_size = device, bf16, micro_batch_size
        self.token_budget = token_budget or (65536 if device.type == "cuda" else 4096)

    def __call__(self, backbone: nn.Module, batch: TextBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The weighted loss of a batch and what is worth logging.

        Args:
            backbone: the encoder, in training mode.
            batch: the whole batch, the same on every process.
            progress: 0 at the start of training, 1 at its end.
        """
        spec = self.spec
        query = self._embed(backbone, [spec.query_text(t) for t in batch.queries], spec.query_max_length)
        document = self._embed(backbone, [spec.document_text(t) for t in batch.documents], spec.document_max_length)
        loss_batch = LossBatch(query, document, batch.relation.to(self.device), spec.similarity, progress=progress)
        total = query.new_zeros(())
        logs: dict[str, float] = {}
        for loss, name, weight in self.losses:
            value, facts = loss(loss_batch)
            total = total + weight * value
            if len(self.losses) > 1:
                logs[name] = float(value.detach())
            logs |= {key: float(fact) for key, fact in facts.items()}
        if not torch.isfinite(total):
            raise SdrError("the loss is NaN or infinite; try a lower --learning-rate or --precision fp32")
        with torch.no_grad():  # 0: all vectors equal; 1: their mean vanishes
            logs["query_spread"] = float(1 - loss_batch.unit_query.mean(dim=0).norm())
            logs["document_spread"] = float(1 - loss_batch.unit_document.mean(dim=0).norm())
        return total, logs

    def _embed(self, backbone: nn.Module, texts: list[str], max_length: int) -> Tensor:
        """(n, dim) float32 embeddings of all texts, on every process."""
        own = texts[share(len(texts))]
        tokens = (
            self.tokenizer(
                own, truncation=True, max_length=max_length, return_attention_mask=False, return_token_type_ids=False
            )["input_ids"]
            if own
            else []
        )
        pieces, order = [], []
        for rows in by_token_budget([len(ids) for ids in tokens], self.token_budget, self.micro_batch_size):
            ids, mask = pad([tokens[row] for row in rows], self.tokenizer.pad_token_id or 0)
            pieces.append(self._forward(backbone, ids.to(self.device), mask.to(self.device)))
            order += rows.tolist()
        if not pieces:
            return gather_rows(torch.zeros(0, self.spec.dimension, device=self.device), len(texts))
        back = torch.empty(len(order), dtype=torch.long, device=self.device)
        back[torch.tensor(order, device=self.device)] = torch.arange(len(order), device=self.device)
        return gather_rows(torch.cat(pieces)[back], len(texts))

    def _forward(self, backbone: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        def run(ids: Tensor, mask: Tensor) -> Tensor:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                return forward(backbone, ids, mask, self.spec.pooling)

        if self.micro_batch_size is None:
            return run(ids, mask)
        return checkpoint(run, ids, mask, use_reentrant=False)
