"""The interface of losses: a batch of embeddings with the relations between queries and documents, in; a scalar, out.

A loss knows no model, tokenizer, process rank or device: it can be tested with numbers written by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

OWN_POS, OWN_NEG, OTHER_POS, OTHER_NEG, IGNORE = range(5)
"""What a document is to a query: its positive; a negative of its group; a positive or a negative of another query's
group; or nothing to learn from (padding, a duplicate, a known positive of that query that is not in its group)."""


class Need(Enum):
    """What a loss needs beyond queries and positives."""

    NEGATIVES = "negatives"
    TEACHER = "teacher scores"


@dataclass
class LossBatch:
    """The whole batch, gathered over all processes: one row per query, one column per distinct document.

    Args:
        query: (B, D) pooled embeddings, not normalised.
        document: (M, D) pooled embeddings, not normalised; ragged groups are only more columns.
        relation: (B, M) int8 codes; several positives of a query are several `OWN_POS`. A document that is a positive
            of one query and a negative of another is `OTHER_NEG` to the rest.
        similarity: of the encoder, for the losses that train its scores; margins are always cosine.
        teacher: (T, B, M) scores of T teachers, NaN where not scored.
        features: whatever else a loss needs (teacher embeddings, layer states).
        progress: 0 at the start of training, 1 at its end.
        generator: for losses that sample.
    """

    query: Tensor
    document: Tensor
    relation: Tensor
    similarity: Literal["cosine", "dot"]
    teacher: Tensor | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)
    progress: float = 0.0
    generator: torch.Generator | None = None

    @cached_property
    def unit_query(self) -> Tensor:
        """(B, D), L2-normalised."""
        return normalize(self.query, dim=1)

    @cached_property
    def unit_document(self) -> Tensor:
        """(M, D), L2-normalised."""
        return normalize(self.document, dim=1)

    @cached_property
    def cosine(self) -> Tensor:
        """(B, M) cosine similarities of queries and documents."""
        return self.unit_query @ self.unit_document.T

    @cached_property
    def scores(self) -> Tensor:
        """(B, M) scores under the encoder's similarity, computed once for all losses of the batch."""
        return self.cosine if self.similarity == "cosine" else self.query @ self.document.T


class Loss(nn.Module):
    """What training minimises. Parameters only where the paper learns one.

    Attributes:
        needs: checked against the data before the first step.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the scalar loss and detached scalars worth logging."""
        raise NotImplementedError


def pairs_with(relation: Tensor, code: int) -> tuple[Tensor, Tensor]:
    """Row and column indices of the cells with a code, row by row: (n,), (n,)."""
    rows, columns = torch.nonzero(relation == code, as_tuple=True)
    return rows, columns
