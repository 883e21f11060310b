"""Batches: which queries and documents a step sees. Step k of a run is a function of data, seed and k alone."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..data.group import Candidate, Group
from ..losses.base import IGNORE, OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS


@dataclass
class TextBatch:
    """The texts of a step: one query per row of `relation`, one distinct document per column.

    Args:
        queries: B texts.
        documents: M texts.
        relation: (B, M) int8 codes of `losses.base`.
        triples: number of (query, positive, own negative).
    """

    queries: list[str]
    documents: list[str]
    relation: Tensor
    triples: int


class BatchSource(Dataset):
    """All batches of a training run, by step.

    Every query occurs once per epoch, in an order given by (seed, epoch); its positives and negatives are drawn by
    (seed, epoch, query id). Documents that occur in several groups of a batch are one column.

    Args:
        groups: the training groups.
        texts: document id → text.
        known: query id → documents known to be relevant, never used as its negatives.
        batch_size: queries per step.
        steps: number of steps.
        positives, negatives: documents per query and step, at most.
        seed: of all draws.

    Attributes:
        start: steps done before; item 0 is the batch after them.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        texts: Any,
        known: Mapping[str, Set[str]],
        *,
        batch_size: int,
        steps: int,
        positives: int = 1,
        negatives: int = 1,
        seed: int = 0,
    ) -> None:
        self.groups, self.texts, self.known = groups, texts, known
        self.batch_size, self.steps = min(batch_size, len(groups)), steps
        self.positives, self.negatives, self.seed = positives, negatives, seed
        self.start = 0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in a pass; the queries that are left over come earlier in another epoch's order."""
        return len(self.groups) // self.batch_size

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> dict[str, TextBatch]:
        """The batch of step `start + position`."""
        epoch, within = divmod(self.start + position, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.groups)))
        rows = self._order[1][within * self.batch_size : (within + 1) * self.batch_size]
        return {"batch": self._build([self.groups[row] for row in rows], epoch)}

    def _build(self, groups: Sequence[Group], epoch: int) -> TextBatch:
        columns: dict[Candidate, int] = {}
        cells: list[tuple[int, int, int]] = []
        triples = 0
        for row, group in enumerate(groups):
            rng = np.random.default_rng([self.seed, epoch, zlib.crc32(group.query_id.encode())])
            positives = _draw(rng, group.positives, self.positives)
            negatives = _draw(rng, group.negatives, self.negatives)
            triples += len(positives) * len(negatives)
            for code, candidates in ((OWN_POS, positives), (OWN_NEG, negatives)):
                cells += [(row, columns.setdefault(c, len(columns)), code) for c in candidates]
        relation = np.full((len(groups), len(columns)), OTHER_POS, dtype=np.int8)
        relation[:, [column for _, column, code in cells if code == OWN_NEG]] = OTHER_NEG
        for row, group in enumerate(groups):
            relevant = self.known.get(group.query_id, set()) | {c.id for c in group.positives}
            relation[row, [column for c, column in columns.items() if c.id in relevant and c.id is not None]] = IGNORE
        for row, column, code in cells:
            if code == OWN_POS or relation[row, column] != IGNORE:
                relation[row, column] = code
        documents = [c.text if c.text is not None else self.texts[c.id] for c in columns]
        return TextBatch([group.query for group in groups], documents, torch.from_numpy(relation), triples)


def _draw(rng: np.random.Generator, candidates: Sequence[Candidate], number: int) -> list[Candidate]:
    if number >= len(candidates):
        return list(candidates)
    return [candidates[i] for i in rng.permutation(len(candidates))[:number].tolist()]
