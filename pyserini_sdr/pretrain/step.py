"""One step: documents → rows → loss and gradients, in pieces that fit in memory; and the held-out losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..core.errors import DataError, SdrError
from ..model.token_budget import by_token_budget
from ..train.gather import share, world_size
from .methods import Method, Row, Source
from .model import PretrainModel, term_counts, weighted
from .stream import DocumentStream, Drawn

_TRAINING, _HELD_OUT = 2, 3
"""First words of the seeds of a document's draws."""

_SIZES = 32
"""Tokens of a row are counted as a multiple of this: pieces then have few different numbers of rows."""


class Batches(Dataset):
    """All batches of a run, by step; as a dataset it yields step numbers only.

    What is drawn for a document (spans, masks) is a function of (seed, epoch, position in the corpus), so that a batch
    depends neither on where a run was interrupted nor on the number of processes.

    Args:
        stream: the documents.
        method: makes rows of them.
        batch_size: documents per step.
        steps: number of steps.
        seed: of spans and masks.
        queries: document id → its queries.

    Attributes:
        start: steps done before; item 0 is the step after them.
        used, short: documents of this process that made rows, and that were too short to.
    """

    def __init__(
        self,
        stream: DocumentStream,
        method: Method,
        *,
        batch_size: int,
        steps: int,
        seed: int,
        queries: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.stream, self.method, self.steps, self.seed = stream, method, steps, seed
        self.batch_size, self.queries = min(batch_size, stream.size), queries or {}
        self.start = self.used = self.short = 0

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> dict[str, int]:
        """The number of the step `start + position`."""
        return {"step": self.start + position}

    def rows(self, step: int) -> list[Row]:
        """The rows of this process's share of the documents of a step."""
        own = share(self.batch_size)
        first = step * self.batch_size
        made = self._made(list(self.stream.take(first + own.start, own.stop - own.start)), _TRAINING)
        self.used += sum(map(bool, made))
        self.short += sum(not rows for rows in made)
        return [row for rows in made for row in rows]

    def held_out(self, positions: Sequence[int]) -> list[Row]:
        """The rows of held-out documents, the same ones at every call."""
        documents = self.stream.read(positions)
        drawn = [Drawn(0, place, document) for place, document in zip(positions, documents, strict=True)]
        return [row for rows in self._made(drawn, _HELD_OUT) for row in rows]

    def _made(self, drawn: Sequence[Drawn], kind: int) -> list[list[Row]]:
        rngs = [np.random.default_rng([self.seed, kind, one.epoch, one.position]) for one in drawn]
        texts = [self.method.clip(one.document.contents, rng) for one, rng in zip(drawn, rngs, strict=True)]
        words = self.method.masker.words(texts)
        asked = [self.queries.get(one.document.id, ()) for one in drawn]
        tokenized = iter(self.method.masker.words([query for queries in asked for query in queries]))
        sources = [Source(own, [next(tokenized) for _ in queries]) for own, queries in zip(words, asked, strict=True)]
        return [self.method.rows(source, rng) for source, rng in zip(sources, rngs, strict=True)]


class Step:
    """Losses of rows, each a mean over the masked tokens of all processes.

    The loss is a sum over rows, so each piece of rows is carried back at once: memory grows with the piece, not the
    batch, and the gradients are those of the whole.

    Args:
        terms: names of all losses.
        decoders: those that `weight` applies to.
        weight: of the decoders' losses.
        token_budget: tokens per piece.
        bf16: under bf16 autocast.
    """

    def __init__(
        self, terms: Sequence[str], decoders: Sequence[str], *, weight: float, token_budget: int, bf16: bool
    ) -> None:
        self.terms, self.decoders, self.weight = list(terms), list(decoders), weight
        self.token_budget, self.bf16 = token_budget, bf16
        self.tokens = 0
        """Masked tokens learnt from, over all processes."""

    def __call__(
        self, model: PretrainModel, rows: Sequence[Row], backward: Callable[[Tensor], None]
    ) -> tuple[Tensor, dict[str, float]]:
        """The loss of the whole batch, and what is worth logging.

        Args:
            model: in training mode.
            rows: this process's.
            backward: called with the share of every piece; gradients are to be summed over processes afterwards.
        """
        counts = self._over_all(self._vector(term_counts(rows), model.device))
        if not counts.any():
            raise DataError(
                "--corpus", "no document of a whole batch is long enough", remedy="try --method mlm, or a larger batch"
            )
        sums = torch.zeros_like(counts)
        directions = torch.zeros(model.spec.dimension + 1, dtype=torch.float64, device=model.device)
        for piece in self._pieces(rows):
            with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                found, vectors = model(piece)
            loss = sum(
                value / counts[self.terms.index(term)] * (self.weight if term in self.decoders else 1.0)
                for term, value in found.items()
            )
            backward(loss)
            sums += self._vector({term: value.detach() for term, value in found.items()}, model.device)
            directions += _directions(vectors)
        sums, directions = self._over_all(sums), self._over_all(directions)
        values = self._means(sums, counts)
        total = weighted(values, self.decoders, self.weight)
        if not np.isfinite(total):
            raise SdrError("the loss is NaN or infinite; try a lower --learning-rate or --precision fp32")
        self.tokens += int(counts.sum())
        logs = values | {"spread": _spread(directions)}
        return torch.tensor(total, dtype=torch.float32, device=model.device), logs

    @torch.no_grad()
    def measure(self, model: PretrainModel, rows: Sequence[Row]) -> dict[str, float]:
        """Losses of held-out rows (all of them, on every process), in evaluation mode.

        Returns:
            the loss by term and in all (`loss`); `spread` of the vectors, 0 where all are equal and 1 where their mean
            vanishes; `vector_gain`, by how much decoders do better than with the vector of another row.
        """
        counts = self._vector(term_counts(rows), model.device)
        sums, swapped = torch.zeros_like(counts), torch.zeros_like(counts)
        directions = torch.zeros(model.spec.dimension + 1, dtype=torch.float64, device=model.device)
        for piece in self._pieces(rows):
            with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                found, vectors = model(piece)
                other = model.decode(piece, vectors.roll(max(1, len(piece) // 2), dims=0))
            sums += self._vector(found, model.device)
            swapped += self._vector(other, model.device)
            directions += _directions(vectors)
        values = self._means(sums, counts)
        facts = {"loss": weighted(values, self.decoders, self.weight), **values, "spread": _spread(directions)}
        own = [place for place, term in enumerate(self.terms) if term in self.decoders]
        if own:
            facts["vector_gain"] = float((swapped[own].sum() - sums[own].sum()) / counts[own].sum().clamp(min=1))
        return facts

    def _pieces(self, rows: Sequence[Row]) -> Iterator[list[Row]]:
        sizes = [-(-row.size // _SIZES) * _SIZES for row in rows]
        for places in by_token_budget(sizes, self.token_budget):
            yield [rows[place] for place in places]

    def _vector(self, values: Mapping[str, float | Tensor], device: torch.device) -> Tensor:
        return torch.tensor([float(values.get(term, 0.0)) for term in self.terms], dtype=torch.float64, device=device)

    def _means(self, sums: Tensor, counts: Tensor) -> dict[str, float]:
        return {
            term: float(value / count) for term, value, count in zip(self.terms, sums, counts, strict=True) if count > 0
        }

    @staticmethod
    def _over_all(values: Tensor) -> Tensor:
        if world_size() > 1:
            dist.all_reduce(values)
        return values


def _directions(vectors: Tensor) -> Tensor:
    """The sum of unit vectors, and their number behind it."""
    unit = nn.functional.normalize(vectors.detach(), dim=1).double().sum(dim=0)
    return torch.cat([unit, unit.new_tensor([len(vectors)])])


def _spread(directions: Tensor) -> float:
    return float(1 - directions[:-1].norm() / directions[-1])
