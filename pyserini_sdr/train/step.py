"""One step: texts → embeddings → loss, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..core.errors import SdrError
from ..losses.base import LossBatch, Need
from ..model.batching import default_budget, pad, pad_id_of
from ..model.encoder import BiEncoder, forward
from ..model.layers import forward_layers
from ..model.packed_training import PackedTraining
from ..model.token_budget import by_token_budget
from .batches import TextBatch
from .gather import gather_rows, share
from .teachers import Teachers


class Step:
    """Computes the loss of a batch of texts.

    Texts are encoded in length-sorted pieces, so that little is padding. With `micro_batch_size` the activations of a
    piece are dropped after its forward pass and computed again, with the same dropout, when its gradient is due (the
    cached-gradient step of Gao et al. 2021): memory then grows with the piece, not with the batch, and the loss still
    sees the whole batch.

    Args:
        encoder: its tokenizer, spec and device are used; the backbone is given with each call.
        losses: `(loss, name, weight)`.
        bf16: run the encoder under bf16 autocast.
        micro_batch_size: texts per piece; None keeps all activations.
        token_budget: padded tokens per piece.
        teachers: who is asked about the batch.
        dimensions: first dimensions of the embeddings that are trained to do alone (Matryoshka, arXiv 2205.13147):
            the losses are averaged over them. Losses that say they do not truncate see whole embeddings once.
        document_tower: frozen encoder of the documents; the encoder then learns queries only.
        seed: of losses that sample: their generator is a function of seed and step.
    """

    def __init__(
        self,
        encoder: BiEncoder,
        losses: Sequence[tuple[nn.Module, str, float]],
        *,
        bf16: bool,
        micro_batch_size: int | None = None,
        token_budget: int | None = None,
        teachers: Teachers | None = None,
        dimensions: Sequence[int] = (),
        document_tower: BiEncoder | None = None,
        seed: int = 0,
    ) -> None:
        self.tokenizer, self.spec, self.device, self.losses = encoder.tokenizer, encoder.spec, encoder.device, losses
        self.bf16, self.micro_batch_size = bf16, micro_batch_size
        self.token_budget = token_budget or default_budget(self.device)
        self.teachers, self.document_tower, self.seed = teachers or Teachers(), document_tower, seed
        self.dimensions = sorted(dimensions, reverse=True) or [self.spec.dimension]  # what is logged is of the largest
        wants_layers = any(Need.LAYERS in loss.needs for loss, _, _ in losses)
        self._packed: tuple[nn.Module, PackedTraining | None] | None = None
        self.layers = encoder.backbone.config.num_hidden_layers if wants_layers else 0

    def __call__(self, backbone: nn.Module, batch: TextBatch, progress: float) -> tuple[Tensor, dict[str, float]]:
        """The weighted loss of a batch and what is worth logging.

        Args:
            backbone: the encoder, in training mode.
            batch: the whole batch, the same on every process.
            progress: 0 at the start of training, 1 at its end.
        """
        teacher, features = self.teachers.observe(batch, self.device)
        loss_batch = LossBatch(
            *self._embeddings(backbone, batch, features),
            batch.relation.to(self.device),
            self.spec.similarity,
            teacher=teacher,
            features=features,
            progress=progress,
            generator=torch.Generator().manual_seed(self.seed * 1_000_003 + batch.step),
        )
        cuts = [loss_batch if size == self.spec.dimension else _first(loss_batch, size) for size in self.dimensions]
        total = loss_batch.query.new_zeros(())
        logs: dict[str, float] = {}
        for loss, name, weight in self.losses:
            seen = cuts if loss.truncates else [loss_batch]
            results = [loss(cut) for cut in seen]
            value = torch.stack([value for value, _ in results]).mean()
            total = total + weight * value
            if len(self.losses) > 1:
                logs[name] = float(value.detach())
            logs |= {key: float(fact) for key, fact in results[0][1].items()}
        if not torch.isfinite(total):
            raise SdrError("the loss is NaN or infinite; try a lower --learning-rate or --precision fp32")
        with torch.no_grad():  # 0: all vectors equal; 1: their mean vanishes
            logs["query_spread"] = float(1 - loss_batch.unit_query.mean(dim=0).norm())
            logs["document_spread"] = float(1 - loss_batch.unit_document.mean(dim=0).norm())
        return total, logs

    def _embeddings(self, backbone: nn.Module, batch: TextBatch, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(B, D) and (M, D); the states of layers, if a loss wants them, go to the features."""
        spec = self.spec
        query = self._embed(backbone, [spec.query_text(t) for t in batch.queries], spec.query_max_length)
        if self.document_tower is not None:
            return query[:, -1], self._tower(batch.documents)
        documents = batch.student_documents or batch.documents
        document = self._embed(backbone, [spec.document_text(t) for t in documents], spec.document_max_length)
        if self.layers:
            features |= {"query_layers": query, "document_layers": document}
        return query[:, -1], document[:, -1]

    @torch.no_grad()
    def _tower(self, documents: list[str]) -> Tensor:
        assert self.document_tower is not None
        own = torch.from_numpy(self.document_tower.encode_documents(documents[share(len(documents))]))
        return gather_rows(own.to(self.device), len(documents))

    def _embed(self, backbone: nn.Module, texts: list[str], max_length: int) -> Tensor:
        """(n, layers or 1, dim) float32 states of all texts, on every process; the last one is the embedding."""
        place = share(len(texts))
        own = texts[place]
        kept = self.layers or 1
        tokens = (
            self.tokenizer(
                own, truncation=True, max_length=max_length, return_attention_mask=False, return_token_type_ids=False
            )["input_ids"]
            if own
            else []
        )
        packed = self._packed_pass(backbone)
        if packed is not None and not tokens:
            packed.draw()
        elif packed is not None:
            dtype = torch.bfloat16 if self.bf16 else torch.float32
            layers, most = bool(self.layers), self.micro_batch_size
            states = packed(tokens, self.spec.pooling, dtype, layers=layers, most=most, first=place.start).flatten(1)
            return gather_rows(states, len(texts)).reshape(len(texts), kept, self.spec.dimension)
        pieces, order = [], []
        for rows in by_token_budget([len(ids) for ids in tokens], self.token_budget, self.micro_batch_size):
            ids, mask = pad([tokens[row] for row in rows], pad_id_of(self.tokenizer))
            pieces.append(self._forward(backbone, ids.to(self.device), mask.to(self.device)))
            order += rows.tolist()
        if pieces:
            back = torch.empty(len(order), dtype=torch.long, device=self.device)
            back[torch.tensor(order, device=self.device)] = torch.arange(len(order), device=self.device)
            states = torch.cat(pieces)[back]
        else:
            states = torch.zeros(0, kept * self.spec.dimension, device=self.device)
        return gather_rows(states, len(texts)).reshape(len(texts), kept, self.spec.dimension)

    def _packed_pass(self, backbone: nn.Module) -> PackedTraining | None:
        """The faster pass that there is for known encoders on a CPU."""
        if self.device.type != "cpu":
            return None
        if self._packed is None or self._packed[0] is not backbone:
            self._packed = backbone, PackedTraining.of(backbone)
        return self._packed[1]

    def _forward(self, backbone: nn.Module, ids: Tensor, mask: Tensor) -> Tensor:
        def run(ids: Tensor, mask: Tensor) -> Tensor:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                if self.layers:
                    return forward_layers(backbone, ids, mask, self.spec.pooling).flatten(1)
                return forward(backbone, ids, mask, self.spec.pooling)

        if self.micro_batch_size is None:
            return run(ids, mask)
        return checkpoint(run, ids, mask, use_reentrant=False)


def _first(batch: LossBatch, size: int) -> LossBatch:
    """The batch as the first `size` dimensions of its embeddings show it."""
    return LossBatch(
        batch.query[:, :size],
        batch.document[:, :size],
        batch.relation,
        batch.similarity,
        batch.teacher,
        batch.features,
        batch.progress,
        batch.generator,
    )
