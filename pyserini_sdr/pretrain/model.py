"""Encoder, head and decoders: rows of masked texts → summed losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..model.batching import pad
from ..model.pooling import pool
from ..model.spec import EncoderSpec
from .heads import Decoder, TokenHead
from .masking import IGNORED, Masked
from .methods import Row

_WIDTHS, _COUNTS = 16, 128
"""Lengths of texts, and numbers of masked tokens, are filled up to multiples of these: oneDNN makes and keeps a kernel
for every shape in bf16, which costs time and gigabytes where all shapes occur."""


class PretrainModel(nn.Module):
    """What is trained. A decoder sees of the encoder's text nothing but the vector that retrieval uses.

    Args:
        backbone: the transformer.
        spec: tells the pooling, and whether a vector's length counts: with cosine it does not, and a decoder gets
            vectors of one length, √dim.
        pad_id: token id used for padding.
        decoders: their names.
        layers: of each decoder.
        max_length: tokens of a text at most.
        dropout: of the decoders; None: as the encoder's configuration says.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: EncoderSpec,
        *,
        pad_id: int,
        decoders: Sequence[str],
        layers: int = 2,
        max_length: int,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.spec, self.pad_id, self.max_length = backbone, spec, pad_id, max_length
        config = backbone.config
        vocabulary, embedding = backbone.get_input_embeddings().weight.shape
        hidden = config.hidden_size
        self.head = TokenHead(hidden, embedding, vocabulary)
        heads = config.num_attention_heads
        inner = _first(config, ("intermediate_size", "hidden_dim", "d_ff"), 4 * hidden)
        if dropout is None:
            dropout = _first(config, ("hidden_dropout_prob", "dropout", "hidden_dropout"), 0.1)
        self.decoders = nn.ModuleDict(
            {
                name: Decoder(
                    hidden=hidden,
                    embedding=embedding,
                    heads=heads,
                    inner=inner,
                    layers=layers,
                    length=max_length,
                    dropout=dropout,
                )
                for name in decoders
            }
        )

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.head.bias.device

    def forward(self, rows: Sequence[Row]) -> tuple[dict[str, Tensor], Tensor]:
        """Summed cross-entropies by term, and the vectors (n, dim) float32 of the rows (at least one)."""
        sums, vectors = self.encode(rows)
        return sums | self.decode(rows, vectors), vectors

    def encode(self, rows: Sequence[Row]) -> tuple[dict[str, Tensor], Tensor]:
        """The encoder's part of `forward`: losses of its own masked tokens, and the vectors."""
        ids, mask = self._padded([row.text for row in rows])
        states = self.backbone(input_ids=ids, attention_mask=mask)[0]
        sums: dict[str, Tensor] = {}
        for term in dict.fromkeys(row.term for row in rows):
            own = [place for place, row in enumerate(rows) if row.term == term]
            sums[term] = self._loss(states[own] if len(own) < len(rows) else states, [rows[i].text for i in own])
        return sums, pool(states, mask, self.spec.pooling)

    def decode(self, rows: Sequence[Row], vectors: Tensor) -> dict[str, Tensor]:
        """The decoders' part of `forward`: losses of their masked tokens, given a vector per row, (n, dim)."""
        given = self.bottleneck(vectors)
        sums: dict[str, Tensor] = {}
        for name in self.decoders:
            own = [place for place, row in enumerate(rows) if name in row.decoded]
            if own:
                sums[name] = self._decode(name, given[own], [rows[place].decoded[name] for place in own])
        return sums

    def bottleneck(self, vectors: Tensor) -> Tensor:
        """Pooled vectors as decoders get them, (n, dim)."""
        if not self.spec.normalize:
            return vectors
        return nn.functional.normalize(vectors, dim=1) * vectors.shape[1] ** 0.5

    def _decode(self, name: str, vectors: Tensor, texts: Sequence[Masked]) -> Tensor:
        ids, mask = self._padded(texts)
        embedded = self.backbone.get_input_embeddings()(ids)
        return self._loss(self.decoders[name](vectors, embedded, mask), texts)

    def _padded(self, texts: Sequence[Masked]) -> tuple[Tensor, Tensor]:
        ids, mask = pad([text.ids for text in texts], self.pad_id)
        more = min(-ids.shape[1] % _WIDTHS, max(0, self.max_length - ids.shape[1]))
        ids, mask = nn.functional.pad(ids, (0, more), value=self.pad_id), nn.functional.pad(mask, (0, more))
        return ids.to(self.device), mask.to(self.device)

    def _loss(self, states: Tensor, texts: Sequence[Masked]) -> Tensor:
        """The summed cross-entropy of the masked tokens; scores are computed of these only."""
        rows = [row for row, text in enumerate(texts) for label in text.labels if label != IGNORED]
        places = [place for text in texts for place, label in enumerate(text.labels) if label != IGNORED]
        labels = [label for text in texts for label in text.labels if label != IGNORED]
        more = -len(rows) % _COUNTS
        rows, places, labels = rows + [0] * more, places + [0] * more, labels + [IGNORED] * more
        scores = self.head(states[rows, places], self.backbone.get_input_embeddings().weight)
        return nn.functional.cross_entropy(
            scores.float(), torch.tensor(labels, device=self.device), ignore_index=IGNORED, reduction="sum"
        )


def term_counts(rows: Sequence[Row]) -> dict[str, int]:
    """Tokens to predict, by term."""
    counts: dict[str, int] = {}
    for row in rows:
        for term, text in {row.term: row.text, **row.decoded}.items():
            counts[term] = counts.get(term, 0) + text.count
    return counts


def weighted(values: Mapping[str, float], decoders: Sequence[str], weight: float) -> float:
    """The total of losses by term, with the decoders' weight."""
    return sum(value * (weight if term in decoders else 1.0) for term, value in values.items())


def _first(config: object, names: Sequence[str], default: float) -> float:
    return next((getattr(config, name) for name in names if getattr(config, name, None) is not None), default)
