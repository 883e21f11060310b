"""Batches: which queries and documents a step sees. Step k of a run is a function of data, seed and k alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.group import Candidate, Group
from ..data.views import with_query
from ..losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS
from .document_queries import DocumentQueries, part_at
from .noise import Noise
from .sampling import Batching, NegativeSampling, balanced_pair, draw, query_order

_SHARED = -1
"""In place of a row: the column stands for the document in all groups of the batch."""


@dataclass
class Source:
    """What one collection contributes.

    Args:
        groups: its training groups.
        texts: document id → text; sources of one corpus share the object, and their documents are then one column.
        known: query id → documents known to be relevant, never used as its negatives.
        weight: share of the queries that come from it, relative to the other sources.
        clusters: cluster of every group, for batches about one topic.
        queries: of the documents, one of which the encoder that learns sees after each document's text.
    """

    groups: Sequence[Group]
    texts: Any
    known: Mapping[str, Set[str]]
    weight: float = 1.0
    clusters: np.ndarray | None = None
    queries: DocumentQueries | None = None


@dataclass
class TextBatch:
    """The texts of a step: one query per row of `relation`, one distinct document per column.

    Where documents are seen with a generated query, a document of two groups is two columns, with a text for each.

    Args:
        queries: B texts.
        documents: M texts, as teachers see them.
        relation: (B, M) int8 codes of `losses.base`.
        triples: number of (query, positive, own negative).
        step: the step that it is the batch of.
        teacher: (T, B, M) float32 stored scores of T teachers, NaN where there is none.
        student_documents: the documents as the encoder that learns sees them, if that is not the same.
        facts: worth logging.
    """

    queries: list[str]
    documents: list[str]
    relation: Tensor
    triples: int
    step: int = 0
    teacher: Tensor | None = None
    student_documents: list[str] | None = None
    facts: dict[str, float] = field(default_factory=dict)


class BatchSource(Dataset):
    """All batches of a training run, by step.

    As a dataset it yields step numbers only: a batch is built when its step begins, so that negatives that were
    mined anew just before are in it.

    Every query of a source occurs once per epoch, in an order given by (seed, epoch); its positives and negatives are
    drawn by (seed, epoch, query id). Documents that occur in several groups of a batch are one column. How many
    queries of a batch each source gives is drawn by (seed): in proportion to the weights, or, with `mixing`
    "separate", all from one source, drawn by weight.

    Args:
        sources: the collections.
        batch_size: queries per step.
        steps: number of steps.
        positives, negatives: documents per query and step, at most.
        seed: of all draws.
        mixing: `mixed` or `separate`.
        batching: `random`, or `topics`: the queries of a batch are of one cluster (TAS-B).
        sampling: how negatives are drawn from a group: `uniform`, or `balanced-margins` of the first teacher (TAS-B).
        teachers: names of the stored scores that batches carry.
        noise: on the documents that the encoder that learns sees.

    Attributes:
        start: steps done before; item 0 is the step after them.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        batch_size: int,
        steps: int,
        positives: int = 1,
        negatives: int = 1,
        seed: int = 0,
        mixing: str = "mixed",
        batching: Batching = "random",
        sampling: NegativeSampling = "uniform",
        teachers: Sequence[str] = (),
        noise: Noise | None = None,
    ) -> None:
        self.noise = noise
        self.sources = list(sources)
        self.batch_size = min(batch_size, sum(len(source.groups) for source in self.sources))
        self.steps, self.positives, self.negatives, self.seed = steps, positives, negatives, seed
        self.batching, self.sampling, self.teachers = batching, sampling, list(teachers)
        self.start = 0
        self._counts = self._shares(mixing)
        self._before = np.cumsum(self._counts, axis=0) - self._counts
        self._whole = len(self.sources) == 1 or mixing == "separate"
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> dict[str, int]:
        """The number of the step `start + position`."""
        return {"step": self.start + position}

    def batch(self, step: int) -> TextBatch:
        """The batch of a step."""
        chosen: dict[tuple[int, int], int] = {}  # a query that comes twice where two epochs meet stands there once
        for which, number in enumerate(self._counts[step]):
            for row, epoch in self._rows(which, int(self._before[step, which]), int(number)):
                chosen.setdefault((which, row), epoch)
        return self._build(
            [(self.sources[which], self.sources[which].groups[row], epoch) for (which, row), epoch in chosen.items()],
            step,
        )

    def _shares(self, mixing: str) -> np.ndarray:
        """(steps, sources) queries that each source gives to each step."""
        if len(self.sources) == 1:
            return np.full((self.steps, 1), self.batch_size)
        weights = np.array([source.weight for source in self.sources], dtype=np.float64)
        rng = np.random.default_rng([self.seed, 2])
        number = 1 if mixing == "separate" else self.batch_size
        return rng.multinomial(number, weights / weights.sum(), size=self.steps) * (self.batch_size // number)

    def _rows(self, which: int, first: int, number: int) -> list[tuple[int, int]]:
        """`number` (row, epoch) of a source from position `first` of its endless stream of queries.

        Where batches are of one source, an epoch is whole batches: the queries that are left over come earlier in
        another epoch's order.
        """
        size = len(self.sources[which].groups)
        length = size // self.batch_size * self.batch_size if self._whole and size >= self.batch_size else size
        rows = []
        for position in range(first, first + number):
            epoch, within = divmod(position, length)
            rows.append((int(self._order(which, epoch)[within]), epoch))
        return rows

    def _order(self, which: int, epoch: int) -> np.ndarray:
        if (which, epoch) not in self._orders:
            source = self.sources[which]
            self._orders = {key: order for key, order in self._orders.items() if key[0] != which or key[1] == epoch - 1}
            clusters = source.clusters if self.batching == "topics" else None
            self._orders[which, epoch] = query_order(
                len(source.groups), np.random.default_rng([self.seed, epoch]), clusters, self.batch_size
            )
        return self._orders[which, epoch]

    def _build(self, chosen: Sequence[tuple[Source, Group, int]], step: int) -> TextBatch:
        columns: dict[tuple[int, Candidate, int], int] = {}  # by corpus, document and, for views, the row it is for
        cells: list[tuple[int, int, int]] = []
        scored: list[tuple[int, int, int, float]] = []
        triples = 0
        for row, (source, group, epoch) in enumerate(chosen):
            rng = np.random.default_rng([self.seed, epoch, zlib.crc32(group.query_id.encode())])
            positives, negatives = self._draw(rng, group)
            triples += len(positives) * len(negatives)
            for code, candidates in ((OWN_POS, positives), (OWN_NEG, negatives)):
                for candidate in candidates:
                    owner = _SHARED if source.queries is None else row
                    column = columns.setdefault((id(source.texts), candidate, owner), len(columns))
                    cells.append((row, column, code))
                    for teacher, name in enumerate(self.teachers):
                        score = group.scores.get(name, {}).get(candidate.key)
                        if score is not None:
                            scored.append((teacher, row, column, score))
        relation = np.full((len(chosen), len(columns)), OTHER_POS, dtype=np.int8)
        relation[:, [column for _, column, code in cells if code == OWN_NEG]] = OTHER_NEG
        places: dict[tuple[int, str], list[int]] = {}
        for (corpus, candidate, _), column in columns.items():
            places.setdefault((corpus, candidate.key), []).append(column)
        for row, (source, group, _) in enumerate(chosen):
            relevant = source.known.get(group.query_id, set()) | {c.key for c in group.positives}
            hidden = [column for key in relevant for column in places.get((id(source.texts), key), ())]
            relation[row, hidden] = IGNORE
        for row, column, code in cells:
            if code == OWN_POS or relation[row, column] != IGNORE:
                relation[row, column] = code
        owners = [owner for _, _, owner in columns]
        for corpus, candidate, owner in columns:
            if owner != _SHARED:  # to its query, the document with other queries is that document again
                relation[owner, [c for c in places[corpus, candidate.key] if owners[c] != owner]] = IGNORE
        teacher_scores = None
        if self.teachers:
            teacher_scores = torch.full((len(self.teachers), *relation.shape), torch.nan)
            for teacher, row, column, score in scored:
                teacher_scores[teacher, row, column] = score
        texts = {id(source.texts): source.texts for source, _, _ in chosen}
        documents = [c.text if c.text is not None else texts[corpus][c.id] for corpus, c, _ in columns]
        queries = [group.query for _, group, _ in chosen]
        batch = TextBatch(queries, documents, torch.from_numpy(relation), triples, step, teacher_scores)
        seen = list(documents)
        for column, (_, candidate, owner) in enumerate(columns):
            if owner != _SHARED:
                seen[column] = self._view(batch, seen[column], candidate, *chosen[owner][:2])
        if self.noise is not None:
            seen = [self.noise(text, step) for text in seen]
        batch.student_documents = seen if seen != documents else None
        return batch

    def _view(self, batch: TextBatch, text: str, candidate: Candidate, source: Source, group: Group) -> str:
        """The text of a document with one of its generated queries, for a group of the batch."""
        assert source.queries is not None
        part = part_at(batch.step, self.steps, source.queries.parts)
        batch.facts["query_part"] = part
        if candidate.id is None:
            return text
        query = source.queries.draw(
            candidate.id, group.query_id, group.query, part=part, step=batch.step, seed=self.seed
        )
        return with_query(text, query)

    def _draw(self, rng: np.random.Generator, group: Group) -> tuple[list[Candidate], list[Candidate]]:
        if self.sampling == "balanced-margins" and group.negatives:
            return balanced_pair(rng, group, self.teachers[0], self.negatives)
        return draw(rng, group.positives, self.positives), draw(rng, group.negatives, self.negatives)
