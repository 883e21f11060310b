"""Self-distillation with relevance margins (arXiv 2407.21515): the encoder's own document similarities are the target.

With s = cosine, t(x) = (x + 1) / 2 and an error function E, for a query q, its positive p and a negative n:

    static       E( s(q,p) − s(q,n) − m )
    adaptive     E( s(q,p) − s(q,n) − t(s(p,n)) )
    distributed  E( s(q,p) − s(q,n) − t(s(p,n')) )   for every negative n' of the batch

and the loss is the mean over all such cells. E is `l1` |x|, `l2` x², or `soft` log(1 + e^−x).

Layouts. Where a cell joins two queries of the batch, the paper's text and the authors' code differ:

* `row` (default), as the text says: everything in a cell belongs to one query, except the negative.
    in batch:     margin s(q_i,p_i) − s(q_i,n_j),  target t(s(p_i,n_j))
    distributed:  margin s(q_i,p_i) − s(q_i,n_i),  target t(s(p_i,n_j))
* `column`, what the code computes (a length-B vector is broadcast along the last axis):
    in batch:     margin s(q_j,p_j) − s(q_i,n_j),  target t(s(p_i,n_j))
    distributed:  margin s(q_j,p_j) − s(q_j,n_j),  target t(s(p_i,n_j))

Both reproduce published values of the authors' code and ours (tests). Beyond one positive and one negative per query:
a "pair" is a query with one of its positives, a "triple" a pair with one of the query's negatives; i runs over pairs
and j over the batch's negatives (row) or triples (column), in the distributed row layout i runs over triples. A cell
whose negative is `IGNORE` or a positive for the cell's query does not count.

Targets are not detached by default, as in the authors' code: gradients also move p and n through t. With
`targets=teacher` s(p,·) in t is that of the live teacher, a copy of the encoder that stays as it was or follows slowly
(`train --teacher-momentum`): ours, not in the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from ..core.errors import DataError, UsageError
from .base import OTHER_NEG, OWN_NEG, OWN_POS, Loss, LossBatch, Need, pairs_with
from .embeddings import Targets, target_needs, unit_documents
from .lists import Lists, own_spread

Error = Literal["l1", "l2", "soft"]
Layout = Literal["row", "column"]
Scale = Literal["unit", "spread"]

_ERRORS: dict[str, Callable[[Tensor], Tensor]] = {
    "l1": torch.abs,
    "l2": torch.square,
    "soft": lambda residual: softplus(-residual),
}


_LEAST_DEVIATION = 1e-6
"""Where documents are all as similar to each other, rounding would make the slope."""


class _Cells:
    """The pairs, triples and negatives of a batch, as indices.

    Attributes:
        pair_query, pair_positive: (R,) row and column of every own positive.
        triple_pair, triple_negative: (T,) pair and column of every (query, positive, own negative).
        negatives: (N,) columns that are somebody's negative.
    """

    def __init__(self, batch: LossBatch) -> None:
        relation = batch.relation
        self.pair_query, self.pair_positive = pairs_with(relation, OWN_POS)
        own = relation == OWN_NEG
        self.triple_pair, self.triple_negative = torch.nonzero(own[self.pair_query], as_tuple=True)
        self.negatives = torch.nonzero(own.any(dim=0)).squeeze(1)
        if len(self.triple_pair) == 0:
            raise DataError("batch", "holds no query with a positive and a negative", remedy="mine negatives first")
        self.triple_query = self.pair_query[self.triple_pair]
        self.triple_positive = self.pair_positive[self.triple_pair]


def _usable(batch: LossBatch, query: Tensor, negative: Tensor) -> Tensor:
    """(rows, columns): whether document `negative[c]` may serve query `query[r]` as a negative."""
    code = batch.relation[query][:, negative]
    return (code == OWN_NEG) | (code == OTHER_NEG)


class _Margin(Loss):
    """Common part: the margins, the cells, and their mean; subclasses give the target.

    Attributes:
        line: with `scale=spread`, offset and slope of t, NaN before the first batch. Saved with checkpoints, so that a
            resumed training goes on with them.
    """

    needs = frozenset({Need.NEGATIVES})

    def __init__(
        self,
        *,
        error: Error,
        layout: Layout,
        detach_target: bool,
        targets: Targets = "self",
        scale: Scale = "unit",
    ) -> None:
        super().__init__()
        self.error, self.layout, self.detach_target = error, layout, detach_target
        self.targets, self.scale = targets, scale
        self.needs = _Margin.needs | target_needs(targets)
        if scale == "spread":
            self.register_buffer("line", torch.full((2,), torch.nan))
        self.line: Tensor

    def _measure(self, batch: LossBatch, cells: _Cells) -> None:
        """With `scale=spread`, fixes t by the first batch."""
        if self.scale == "spread" and bool(self.line.isnan().any()):
            self.line.copy_(_own_line(batch, cells, self.targets))

    def _t(self, similarity: Tensor) -> Tensor:
        """t of similarities of documents, of any shape."""
        if self.scale == "unit":
            target = (similarity + 1) / 2
        else:
            offset, slope = self.line.to(similarity.dtype, copy=True)
            target = offset + slope * similarity
        return target.detach() if self.detach_target else target

    def _target(self, batch: LossBatch, positive: Tensor, negative: Tensor) -> Tensor:
        """t of every positive with every negative: (positives, negatives)."""
        units = unit_documents(batch, self.targets)
        return self._t(units[positive] @ units[negative].T)

    def _mean(self, residual: Tensor, usable: Tensor | None = None) -> Tensor:
        error = _ERRORS[self.error](residual)
        if usable is None:
            return error.mean()
        return torch.where(usable, error, 0).sum() / usable.sum().clamp(min=1)

    def _log(self, margin: Tensor, target: Tensor | float) -> dict[str, Tensor]:
        margin = margin.detach()
        target = torch.as_tensor(target, dtype=margin.dtype).detach()
        return {
            "margin": margin.mean(),
            "margin_positive": (margin > 0).to(margin.dtype).mean(),
            "target": target.mean(),
        }


class StaticMargin(_Margin):
    """Static margin: every margin should equal `margin` (section 1.1 of the reference code's semantics).

    Args:
        margin: the target m; cosine margins lie in [−2, 2].
        error: `l1`, `l2` or `soft`.
        layout: see the module's text; matters only with `in_batch`.
        in_batch: use the negatives of the whole batch for every query.
        detach_target: without effect here, taken for uniformity.
    """

    def __init__(
        self,
        margin: float = 0.3,
        error: Error = "l2",
        layout: Layout = "row",
        in_batch: bool = False,
        detach_target: bool = False,
    ) -> None:
        super().__init__(error=error, layout=layout, detach_target=detach_target)
        if not -2 <= margin <= 2:
            raise UsageError(f"static margin {margin}: cosine margins lie between -2 and 2")
        self.margin, self.in_batch = margin, in_batch

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        cells = _Cells(batch)
        margin, usable = _margins(batch, cells, self.layout, self.in_batch)
        return self._mean(margin - self.margin, usable), self._log(_own_margins(batch, cells), self.margin)


class AdaptiveMargin(_Margin):
    """Adaptive margin: the target is the similarity of the positive and that negative.

    Args:
        error: `l1`, `l2` or `soft`.
        layout: see the module's text; matters only with `in_batch`.
        in_batch: use the negatives of the whole batch for every query.
        detach_target: stop gradients through the target.
        targets: whose similarities of documents they are, `self` or `teacher` (see the module's text).
        scale: `unit`, t of the paper; `spread`, ours (see the module's text).
    """

    def __init__(
        self,
        error: Error = "l2",
        layout: Layout = "row",
        in_batch: bool = False,
        detach_target: bool = False,
        targets: Targets = "self",
        scale: Scale = "unit",
    ) -> None:
        super().__init__(error=error, layout=layout, detach_target=detach_target, targets=targets, scale=scale)
        self.in_batch = in_batch

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        cells = _Cells(batch)
        self._measure(batch, cells)
        margin, usable = _margins(batch, cells, self.layout, self.in_batch)
        if self.in_batch:
            negative = cells.negatives if self.layout == "row" else cells.triple_negative
            target = self._target(batch, cells.pair_positive, negative)
        else:
            units = unit_documents(batch, self.targets)
            target = self._t((units[cells.triple_positive] * units[cells.triple_negative]).sum(dim=1))
        return self._mean(margin - target, usable), self._log(_own_margins(batch, cells), target)


class DistributedMargin(_Margin):
    """Distributed margin: every margin is held against the similarities of all negatives of the batch.

    Args:
        error: `l1`, `l2` or `soft`.
        layout: `row`: the targets of the margin's own positive; `column`: of the margin's own negative.
        detach_target: stop gradients through the targets.
        targets: whose similarities of documents they are, `self` or `teacher` (see the module's text).
        scale: `unit`, t of the paper; `spread`, ours (see the module's text).
    """

    def __init__(
        self,
        error: Error = "l2",
        layout: Layout = "row",
        detach_target: bool = False,
        targets: Targets = "self",
        scale: Scale = "unit",
    ) -> None:
        super().__init__(error=error, layout=layout, detach_target=detach_target, targets=targets, scale=scale)

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        cells = _Cells(batch)
        self._measure(batch, cells)
        margin = _own_margins(batch, cells)
        if self.layout == "column":
            target = self._target(batch, cells.pair_positive, cells.triple_negative)
            usable = _usable(batch, cells.pair_query, cells.triple_negative)
            return self._mean(margin[None, :] - target, usable), self._log(margin, target)
        target = self._target(batch, cells.pair_positive, cells.negatives)
        usable = _usable(batch, cells.pair_query, cells.negatives)
        total, count = margin.new_zeros(()), 0
        # One own negative per pair at a time, so that no temporary exceeds pairs × negatives.
        for pairs, triples in _slots(cells.triple_pair):
            total = total + checkpoint(
                self._slot_sum, margin[triples], target, usable, pairs, use_reentrant=False, preserve_rng_state=False
            )
            count += int(usable[pairs].sum())
        return total / max(count, 1), self._log(margin, target)

    def _slot_sum(self, margin: Tensor, target: Tensor, usable: Tensor, pairs: Tensor) -> Tensor:
        every = len(pairs) == len(target)
        rows = target if every else target[pairs]
        mask = usable if every else usable[pairs]
        return torch.where(mask, _ERRORS[self.error](margin[:, None] - rows), 0).sum()


def _own_line(batch: LossBatch, cells: _Cells, targets: Targets) -> Tensor:
    """Offset and slope of t with `scale=spread`, (2,)."""
    lists = Lists.of(batch, "batch", pairs=True)
    # Not under no_grad: the batch keeps the similarities that it is asked for, and they are learned from later.
    variance, log_count = own_spread(lists.take(batch.cosine).detach(), lists.other)
    units = unit_documents(batch, targets).detach()
    usable = _usable(batch, cells.pair_query, cells.negatives)
    similarity = (units[cells.pair_positive] @ units[cells.negatives].T)[usable].to(variance.dtype)
    deviation = similarity.std(correction=0)
    slope = variance.sqrt() / deviation if deviation > _LEAST_DEVIATION else torch.zeros_like(variance)
    return torch.stack([(2 * variance * log_count).sqrt() - slope * similarity.mean(), slope])


def _own_margins(batch: LossBatch, cells: _Cells) -> Tensor:
    """(T,) s(q,p) − s(q,n) of every triple."""
    scores = batch.cosine
    return scores[cells.triple_query, cells.triple_positive] - scores[cells.triple_query, cells.triple_negative]


def _margins(batch: LossBatch, cells: _Cells, layout: str, in_batch: bool) -> tuple[Tensor, Tensor | None]:
    """Margins and which of them count: (T,), None for own triples; (R, N) or (R, T) in the batch."""
    if not in_batch:
        return _own_margins(batch, cells), None
    positive = batch.cosine[cells.pair_query, cells.pair_positive]
    negative = cells.negatives if layout == "row" else cells.triple_negative
    every = torch.arange(len(batch.query), device=cells.pair_query.device)
    rows = batch.cosine if torch.equal(cells.pair_query, every) else batch.cosine[cells.pair_query]
    margin = (positive[:, None] if layout == "row" else positive[cells.triple_pair][None, :]) - rows[:, negative]
    return margin, _usable(batch, cells.pair_query, negative)


def _slots(triple_pair: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Splits triples (ordered by pair) into slots with at most one triple of each pair: `(pairs, triples)` indices."""
    starts = torch.searchsorted(triple_pair, triple_pair)
    slot = torch.arange(len(triple_pair), device=triple_pair.device) - starts
    return [(triple_pair[slot == k], torch.nonzero(slot == k).squeeze(1)) for k in range(int(slot.max()) + 1)]
