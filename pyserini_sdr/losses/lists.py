"""Candidate lists of queries: which documents a pairwise or listwise loss looks at, and masked arithmetic on them.

The list of a query holds its own documents (`own`: positives and negatives of its group) or all documents of the batch
that are not `IGNORE` (`batch`); with teacher scores, only documents that were scored. A query whose list has fewer than
two documents does not count. A pair is a query with one of its positives; the pair's list is that positive and the
documents of the query's list that are no positives of the query, the "others".

Matrices over lists are (R, L): a row per query that counts, a cell per document; cells outside a list are 0 and carry
no gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ..core.errors import DataError
from .base import IGNORE, OWN_NEG, OWN_POS, LossBatch, Need

Documents = Literal["own", "batch"]


def list_needs(documents: Documents) -> frozenset[Need]:
    """What distillation over lists of that kind needs."""
    return frozenset({Need.TEACHER, Need.NEGATIVES if documents == "own" else Need.BATCH_TEACHER})


@dataclass(frozen=True)
class Lists:
    """The lists of a batch; make them with `Lists.of`.

    Attributes:
        query: (R,) rows of the batch that count, ascending.
        column: (R, L) columns of the batch, ascending in each list and padded with 0 at its end; None if cells are the
            batch's columns themselves.
        mask: (R, L) whether the cell holds a document of the list.
        positive: (R, L) whether that document is a positive of the query.
    """

    query: Tensor
    column: Tensor | None
    mask: Tensor
    positive: Tensor

    @classmethod
    def of(
        cls,
        batch: LossBatch,
        documents: Documents = "own",
        teacher: Tensor | None = None,
        *,
        pairs: bool = False,
        only_others: bool = False,
    ) -> Lists:
        """The lists of all queries that count.

        Args:
            documents: `own` lists are gathered into as few cells as the longest has documents.
            teacher: (B, M) scores, NaN where not scored: such documents are in no list.
            pairs: only queries with a positive and another document in their lists count.
            only_others: positives are in no list.

        Raises:
            DataError: no query counts.
        """
        relation = batch.relation
        own = (relation == OWN_POS) | (relation == OWN_NEG)
        mask = own if documents == "own" else relation != IGNORE
        if teacher is not None:
            mask = mask & ~torch.isnan(teacher)
        if only_others:
            mask = mask & (relation != OWN_POS)
        positive = mask & (relation == OWN_POS)
        counts = positive.any(dim=1) & (mask & ~positive).any(dim=1) if pairs else mask.sum(dim=1) >= 2
        query = torch.nonzero(counts).squeeze(1)
        if len(query) == 0:
            raise _none_counts(documents, teacher is not None, pairs, only_others)
        if len(query) < len(mask):
            mask, positive = mask[query], positive[query]
        if documents == "batch":
            return cls(query, None, mask, positive)
        column, filled = _packed(mask)
        return cls(query, column, filled, positive.gather(1, column) & filled)

    @property
    def other(self) -> Tensor:
        """(R, L) whether the cell holds a document that is no positive of the query."""
        return self.mask & ~self.positive

    def take(self, matrix: Tensor) -> Tensor:
        """(R, L) cells of the lists out of a (B, M) matrix, in single precision at least."""
        if self.column is not None:
            cells = matrix[self.query[:, None], self.column]
        else:
            cells = matrix if len(self.query) == len(matrix) else matrix[self.query]
        return wide(cells).masked_fill(~self.mask, 0)

    def log_softmax(self, logits: Tensor) -> Tensor:
        """(R, L) log-probabilities of the documents of each list."""
        return masked_log_softmax(logits, self.mask)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Row and cell of every positive: (P,), (P,)."""
        row, cell = torch.nonzero(self.positive, as_tuple=True)
        return row, cell

    def of_pairs(self) -> Tensor:
        """(P, L) whether the cell holds a document of the pair's list: the positive itself, or an other."""
        row, cell = self.pairs()
        return self.other[row].scatter(1, cell[:, None], True)

    def log_positive(self, logits: Tensor) -> Tensor:
        """(P,) log-probability of every positive in its pair's list (lists made with `pairs`)."""
        row, cell = self.pairs()
        return -softplus(masked_logsumexp(logits, self.other)[row] - logits[row, cell])


def own_spread(scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """How far similarities are spread that a query is held against, and how many they are.

    Args:
        scores: (R, L).
        mask: (R, L) the cells that count, in rows of two or more.

    Returns:
        The variance in a row, pooled over rows, and the mean logarithm of the number of cells: two scalars.

    Raises:
        DataError: no row has two.
    """
    count = mask.sum(dim=1)
    if int(count.max()) < 2:
        raise DataError(
            "batch", "holds no query with two documents to be held against", remedy="give a larger --batch-size"
        )
    scores, mask, count = scores[count >= 2], mask[count >= 2], count[count >= 2]
    mean = scores.masked_fill(~mask, 0).sum(dim=1) / count
    squares = (scores - mean[:, None]).square().masked_fill(~mask, 0).sum(dim=1)
    return (squares / (count - 1)).mean(), count.to(scores.dtype).log().mean()


def _packed(mask: Tensor) -> tuple[Tensor, Tensor]:
    """The columns that are set in each row, in order, with as few cells as possible: (R, L) columns, (R, L) filled."""
    row, column = torch.nonzero(mask, as_tuple=True)
    length = mask.sum(dim=1)
    cell = torch.arange(len(row), device=mask.device) - (length.cumsum(0) - length)[row]
    packed = column.new_zeros(len(mask), int(length.max()))
    packed[row, cell] = column
    return packed, torch.arange(packed.shape[1], device=mask.device) < length[:, None]


def _none_counts(documents: Documents, scored: bool, pairs: bool, only_others: bool) -> DataError:
    what = "a positive and another document" if pairs else "two negatives" if only_others else "two documents"
    place = " of its own" if documents == "own" else ""
    if scored:
        return DataError(
            "batch",
            f"holds no query with {what}{place} that the teacher scored",
            remedy="mine negatives, then score the groups with teach",
        )
    return DataError("batch", f"holds no query with {what}{place}", remedy="mine negatives first")


def teacher_mean(batch: LossBatch) -> Tensor:
    """(B, M) mean of the teachers' scores, in single precision at least; NaN where any teacher did not score."""
    return wide(teachers_of(batch)).mean(dim=0)


def teacher_scores(batch: LossBatch, number: int) -> Tensor:
    """(B, M) scores of one teacher, in single precision at least: the `number`-th, −1 the last, 0 the mean of all."""
    if number == 0:
        return teacher_mean(batch)
    teachers = teachers_of(batch)
    if number > len(teachers):
        raise DataError("batch", f"holds the scores of {len(teachers)} teachers, not {number}", remedy="--teacher")
    return wide(teachers[number - 1 if number > 0 else number])


def teachers_of(batch: LossBatch) -> Tensor:
    """(T, B, M) the teachers' scores; `DataError` if the batch has none."""
    if batch.teacher is None:
        raise DataError("batch", "holds no teacher scores", remedy="score the groups with teach first")
    return batch.teacher


def wide(values: Tensor) -> Tensor:
    """The values in single precision at least: sums of exponentials are not safe in half precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def masked_logsumexp(values: Tensor, mask: Tensor) -> Tensor:
    """Log of the sum of exponentials of the masked-in values of each row; −inf for an empty row, gradient 0 there."""
    return torch.logsumexp(values.masked_fill(~mask, -torch.inf), dim=-1)


def masked_log_softmax(values: Tensor, mask: Tensor) -> Tensor:
    """Log-softmax among the masked-in values of each row; 0 elsewhere, so that products with probabilities are too."""
    return torch.log_softmax(values.masked_fill(~mask, -torch.inf), dim=-1).masked_fill(~mask, 0)


def masked_exp(log_probability: Tensor, mask: Tensor) -> Tensor:
    """Probabilities of `masked_log_softmax`: 0 where masked out."""
    return log_probability.exp().masked_fill(~mask, 0)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of all masked-in values; 0, still part of the graph, if there are none."""
    return values.masked_fill(~mask, 0).sum() / mask.sum().clamp(min=1)


def ranks(values: Tensor, mask: Tensor) -> Tensor:
    """(…, L) rank of each masked-in value in its row, 1 the largest, ties by column order; others come after."""
    order = values.detach().masked_fill(~mask, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    place = torch.arange(1, values.shape[-1] + 1, device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, place)
