"""Contrastive losses: a softmax in which the positive should win, and its pointwise relative."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from ..core.errors import DataError, UsageError
from .base import IGNORE, OWN_NEG, OWN_POS, Loss, LossBatch, Need
from .checks import require_positive
from .embeddings import student_vectors
from .lists import Lists, masked_logsumexp, masked_mean, own_spread, teacher_mean, wide

_LEAST_TEMPERATURE = 1e-4
"""Where all similarities are equal, a temperature made from their spread would be 0."""


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
        require_positive(temperature=temperature)
        self.temperature, self.in_batch = temperature, in_batch
        self.needs = frozenset() if in_batch else frozenset({Need.NEGATIVES})

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, "batch" if self.in_batch else "own", pairs=True)
        logits = lists.take(batch.scores) / self.temperature
        return -lists.log_positive(logits).mean(), {"accuracy": _accuracy(lists, logits)}


class LCE(InfoNCE):
    """Localised contrastive estimation (Gao, Dai and Callan, ECIR 2021): InfoNCE over the query's own documents.

    Args:
        temperature: τ; the paper's rerankers have none (1).
        in_batch: use the documents of other queries too, which is `infonce`.
    """

    needs = frozenset({Need.NEGATIVES})

    def __init__(self, temperature: float = 0.05, in_batch: bool = False) -> None:
        super().__init__(temperature, in_batch)


class FullContrastive(Loss):
    """SimLM's contrastive loss with all pairs in the denominator (Wang et al., ACL 2023, arXiv 2207.02578).

    Mean over pairs (q_i, p) of −log( e^{s(q_i,p)/τ} / Z ), where Z adds to InfoNCE's denominator the positive against
    other queries that it is not relevant to, the query against all other queries, and the positive against the
    documents d of InfoNCE: Σ e^{s(p,q_j)/τ} + Σ e^{s(q_i,q_j)/τ} + Σ e^{s(p,d)/τ}. The paper's equation has q–d and
    p–d only; the authors' code has all four, with p–d among positives only.

    Args:
        temperature: τ.
    """

    def __init__(self, temperature: float = 0.02) -> None:
        super().__init__()
        require_positive(temperature=temperature)
        self.temperature = temperature

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, "batch", pairs=True)
        logits = lists.take(batch.scores) / self.temperature
        loss = _against_all(batch, lists, logits, self.temperature)
        return loss, {"accuracy": _accuracy(lists, logits)}


class SelfScaled(Loss):
    """`full-contrastive` or `infonce` at the scale of the encoder as it starts: no constant to tune.

    τ = σ / √(2 ln n), where n is the number of documents that a query is held against (the geometric mean over queries)
    and σ the standard deviation of its similarities to them (pooled over queries), both in the first batch. For normal
    similarities with that deviation this is where the softmax freezes (the random energy model, Derrida 1981): above
    it, the denominator is spread over a growing share of the documents, below it is the nearest few alone, and to
    sharpen it further changes little but the size of the gradient. So the loss is the same task for an encoder whose
    similarities crowd between .8 and 1, as those of raw language models do, and for one that spreads them out. τ then
    stays: measured anew in every batch it follows the spread down, and a smaller τ asks for less spread, until all
    vectors are one.

    Ours: the temperature of a loss has not, to our knowledge, been set so in a paper.

    Args:
        rivals: `all`: the denominator of `full-contrastive`; `documents`: that of `infonce`; `auto`: `all` if, in the
            first batch, a query and its positive are more similar on average than two documents are and than two
            queries are. Before that, to push documents apart is most of what the larger denominator would do.
    """

    def __init__(self, rivals: Literal["auto", "all", "documents"] = "auto") -> None:
        super().__init__()
        self.rivals = rivals
        # What the first batch said; saved with checkpoints, so that a resumed training goes on with it.
        self.register_buffer("temperature", torch.zeros(()))
        self.register_buffer("against_all", torch.zeros((), dtype=torch.bool))
        self.temperature: Tensor
        self.against_all: Tensor

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        lists = Lists.of(batch, "batch", pairs=True)
        scores = lists.take(batch.scores)
        if self.temperature == 0:
            self.temperature.copy_(_own_temperature(scores.detach(), lists.other))
            self.against_all.fill_(self.rivals == "all" or (self.rivals == "auto" and _pairs_are_closest(batch, lists)))
        temperature = self.temperature.to(scores.dtype, copy=True)
        logits = scores / temperature
        if self.against_all:
            loss = _against_all(batch, lists, logits, temperature)
        else:
            loss = -lists.log_positive(logits).mean()
        return loss, {"accuracy": _accuracy(lists, logits), "temperature": temperature}


@torch.no_grad()
def _pairs_are_closest(batch: LossBatch, lists: Lists) -> bool:
    """Whether queries are more similar to their positives than to each other, and than other documents to these."""
    queries, documents = student_vectors(batch)
    row, positive = lists.pairs()
    pairs = lists.take(batch.scores)[row, positive].mean()
    others = ~torch.eye(len(queries), dtype=torch.bool, device=queries.device)
    alike = masked_mean(queries @ queries.T, others)
    return bool(alike < pairs) and bool(masked_mean(documents[positive] @ documents.T, lists.other[row]) < pairs)


def _own_temperature(scores: Tensor, mask: Tensor) -> Tensor:
    """σ / √(2 ln n) of the masked cells of (R, L) scores, a scalar; see `SelfScaled`."""
    variance, log_count = own_spread(scores, mask)
    return (variance / (2 * log_count)).sqrt().clamp(min=_LEAST_TEMPERATURE)


def _against_all(batch: LossBatch, lists: Lists, logits: Tensor, temperature: float | Tensor) -> Tensor:
    """Mean over pairs of −log softmax of the positive, with q–d, d–q, q–q and d–d similarities in the denominator.

    Args:
        lists: of kind "batch", made with `pairs`.
        logits: (R, L) scores of the lists over the temperature.
    """
    queries, documents = student_vectors(batch)
    row, positive = lists.pairs()  # cells of "batch" lists are columns of the batch
    query = lists.query[row]

    def total(left: Tensor, right: Tensor, mask: Tensor) -> Tensor:
        return masked_logsumexp(left @ right.T / temperature, mask)

    code = batch.relation.T[positive]
    others = ~torch.eye(len(queries), dtype=torch.bool, device=query.device)
    rivals = torch.stack(
        [
            masked_logsumexp(logits, lists.other)[row],
            total(documents[positive], queries, (code != OWN_POS) & (code != IGNORE)),  # not of the pair's query
            total(queries, queries, others)[query],
            total(documents[positive], documents, lists.other[row]),
        ]
    )
    return softplus(torch.logsumexp(rivals, dim=0) - logits[row, positive]).mean()


def _accuracy(lists: Lists, logits: Tensor) -> Tensor:
    """Share of pairs whose positive scores above all others of its list."""
    with torch.no_grad():
        row, cell = lists.pairs()
        best = logits.masked_fill(~lists.other, -torch.inf).amax(dim=1)
        return (logits[row, cell] > best[row]).float().mean()


class BiXSE(Loss):
    """Binary cross entropy of every query with every document (BiXSE, Tsirigotis et al. 2025, arXiv 2508.06781).

    Mean over all cells that are not `IGNORE` of BCE(σ(a·s(q,d) + b), y): y is the grade of the query's own documents
    and 0 for the documents of other queries. That a and b are learned, and how they start, is our interpretation.

    Args:
        scale: a at the start.
        bias: b at the start; a large negative one because most cells are negatives.
        learn: train a (through its logarithm, so it stays positive) and b.
        grades: `label`: 1 for positives, 0 for negatives. `teacher`: σ(t/teacher_temperature) for positives and
            negatives; own documents without a score do not count.
        teacher_temperature: see `grades`.
    """

    def __init__(
        self,
        scale: float = 20.0,
        bias: float = -10.0,
        learn: bool = True,
        grades: Literal["label", "teacher"] = "label",
        teacher_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        require_positive(scale=scale, teacher_temperature=teacher_temperature)
        if not math.isfinite(bias):
            raise UsageError(f"bias {bias}: must be finite")
        self.scale, self.bias = scale, bias
        for name in ("log_growth", "shift"):  # relative to the start, so that weight decay pulls towards it
            if learn:
                self.register_parameter(name, nn.Parameter(torch.zeros(())))
            else:
                self.register_buffer(name, torch.zeros(()))
        self.grades, self.teacher_temperature = grades, teacher_temperature
        self.needs = frozenset({Need.TEACHER}) if grades == "teacher" else frozenset()

    def forward(self, batch: LossBatch) -> tuple[Tensor, dict[str, Tensor]]:
        relation = batch.relation
        counts = relation != IGNORE
        scores = wide(batch.scores)
        grade = (relation == OWN_POS).to(scores.dtype)
        if self.grades == "teacher":
            teacher = teacher_mean(batch).to(scores.dtype)
            own = (relation == OWN_POS) | (relation == OWN_NEG)
            counts = counts & ~(own & torch.isnan(teacher))
            grade = torch.sigmoid(teacher / self.teacher_temperature).masked_fill(~(own & counts), 0)
        if not counts.any():
            raise DataError("batch", "holds no query with a document to learn from", remedy="check the training groups")
        scale, bias = self.scale * self.log_growth.exp(), self.bias + self.shift
        cells = binary_cross_entropy_with_logits(scale * scores + bias, grade, reduction="none")
        return masked_mean(cells, counts), {"scale": scale.detach(), "bias": bias.detach()}
