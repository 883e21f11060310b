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
    TEACHERS = "scores of two teachers or more"
    BATCH_TEACHER = "live teachers, which score all documents of a batch"
    LAST_BATCH_TEACHER = "a live last teacher, which scores all documents of a batch"
    TEACHER_VECTORS = "teacher embeddings"
    LAYERS = "states of all layers, of the encoder and of a teacher"


@dataclass(frozen=True)
class Shapes:
    """Sizes that the parameters of a loss depend on.

    Args:
        dimension: D of the encoder's embeddings.
        teachers: T, number of teachers.
        teacher_dimension: Dt of the teacher's embeddings, 0 without them.
    """

    dimension: int
    teachers: int = 0
    teacher_dimension: int = 0


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
        features: `teacher_query` (B, Dt) and `teacher_document` (M, Dt), as the teacher indexes them: their products
            are its scores; `query_layers` (B, L, D) and `document_layers` (M, L, D), pooled states of the encoder's
            layers, first to last; `teacher_query_layers`, `teacher_document_layers` likewise, (·, Lt, Dt).
        progress: 0 at the start of training, 1 at its end.
        generator: for losses that sample; on the CPU, the same on every process.
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
        needs: checked against the data before the first step; an option may add to them (an instance's attribute).
        fewest_negatives: of a query, where it needs negatives.
        truncates: whether it makes sense on the first k dimensions of the embeddings too (`--matryoshka`).
        teacher: whose scores it reads: 0 those of all teachers, k the k-th's, -1 the last one's.
        own_copy: that teacher must be a bi-encoder asked live, the encoder that training starts from.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()
    fewest_negatives: int = 1
    truncates: ClassVar[bool] = True
    teacher: int = 0
    own_copy: ClassVar[bool] = False

    def build(self, shapes: Shapes) -> None:
        """Makes the parameters whose sizes depend on the models. Called once, before the first step."""

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the scalar loss and detached scalars worth logging."""
        raise NotImplementedError


def pairs_with(relation: Tensor, code: int) -> tuple[Tensor, Tensor]:
    """Row and column indices of the cells with a code, row by row: (n,), (n,)."""
    rows, columns = torch.nonzero(relation == code, as_tuple=True)
    return rows, columns
