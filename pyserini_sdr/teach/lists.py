"""Lists: what a step of fine-tuning sees, a query with one positive and some negatives, and its loss."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from ..core.errors import SdrError
from ..data.group import Candidate, Group
from ..data.sampling import sample_positions
from ..model.cross_encoder import CrossEncoder, TokenizedPair, logits
from ..model.token_budget import by_token_budget

List = tuple[str, list[str]]
"""A query and its documents, the positive first."""


class ListSource(Dataset):
    """All batches of a fine-tuning, by step: step k is a function of groups, seed and k alone.

    Every query occurs once per epoch at most, in an order given by (seed, epoch); its positive and negatives are drawn
    by (seed, epoch, query id). An epoch is whole batches: the len(groups) % batch_size queries that are left over,
    other ones each time, are not in it.

    Args:
        groups: queries, each with a negative at least.
        texts: document id → text, for candidates that come without one.
        batch_size: queries per step.
        steps: number of steps.
        negatives: per query and step, at most.
        seed: of all draws.

    Attributes:
        start: steps done before; item 0 is the batch after them.
    """

    def __init__(
        self, groups: Sequence[Group], texts: Any, *, batch_size: int, steps: int, negatives: int, seed: int
    ) -> None:
        self.groups, self.texts = groups, texts
        self.batch_size, self.steps, self.negatives, self.seed = min(batch_size, len(groups)), steps, negatives, seed
        self.start = 0
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, position: int) -> dict[str, list[List]]:
        """The batch of step `start + position`."""
        epoch, within = divmod(self.start + position, len(self.groups) // self.batch_size)
        if self._order[0] != epoch:
            self._order = (epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.groups)))
        rows = self._order[1][within * self.batch_size : (within + 1) * self.batch_size]
        return {"lists": [self._draw(self.groups[row], epoch) for row in rows]}

    def _draw(self, group: Group, epoch: int) -> List:
        rng = np.random.default_rng([self.seed, epoch, zlib.crc32(group.query_id.encode())])
        positive = group.positives[int(rng.integers(len(group.positives)))]
        chosen = sample_positions(len(group.negatives), self.negatives, rng)
        return group.query, [text_of(c, self.texts) for c in (positive, *(group.negatives[i] for i in chosen))]


def text_of(candidate: Candidate, texts: Any) -> str:
    """A candidate's own text, or the corpus's."""
    return candidate.text if candidate.text is not None else texts[candidate.id]


def lce(scores: Tensor, mask: Tensor) -> Tensor:
    """Localised contrastive estimation (Gao et al., ECIR 2021): −log softmax of the positive in its list.

    Args:
        scores: (n, longest) float32, the positive in column 0.
        mask: (n, longest), whether there is a document.

    Returns:
        (n,) losses.
    """
    return -scores.masked_fill(~mask, -torch.inf).log_softmax(dim=1)[:, 0]


def bce(scores: Tensor, mask: Tensor) -> Tensor:
    """Binary cross entropy, as monoBERT's (Nogueira and Cho 2019), averaged over each list; arguments as `lce`."""
    labels = torch.zeros_like(scores)
    labels[:, 0] = 1
    each = nn.functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    return (each * mask).sum(dim=1) / mask.sum(dim=1)


OBJECTIVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"lce": lce, "bce": bce}


class ListStep:
    """Loss and gradients of a batch of lists, in pieces of whole lists: the loss is a mean over lists, so that the
    gradients are those of the whole batch.

    Args:
        encoder: what is trained.
        objective: see `OBJECTIVES`.
        micro_batch_size: pairs whose activations are kept at a time; one list at least.
        bf16: run the model under bf16 autocast.
    """

    def __init__(self, encoder: CrossEncoder, objective: str, *, micro_batch_size: int, bf16: bool) -> None:
        self.encoder, self.objective = encoder, OBJECTIVES[objective]
        self.micro_batch_size, self.bf16 = micro_batch_size, bf16
        self.pairs = 0

    def __call__(self, model: nn.Module, lists: Sequence[List], backward: Callable[[Tensor], None]) -> Tensor:
        """The mean loss; `backward` is called with the share of every piece."""
        sizes = [len(documents) for _, documents in lists]
        tokens = self.encoder.tokenize([(query, document) for query, documents in lists for document in documents])
        starts = np.concatenate([[0], np.cumsum(sizes)])
        own = [tokens[start:stop] for start, stop in pairwise(starts)]
        total = torch.zeros((), device=self.encoder.device)
        for piece in self._pieces(own):
            loss = self.objective(*self._scores(model, piece)).sum() / len(lists)
            if not torch.isfinite(loss):
                raise SdrError("the loss is NaN or infinite; try a lower --learning-rate or --precision fp32")
            backward(loss)
            total += loss.detach()
        self.pairs += len(tokens)
        return total

    def _pieces(self, lists: Sequence[list[TokenizedPair]]) -> Iterator[list[list[TokenizedPair]]]:
        """Lists of similar length together, at most `micro_batch_size` pairs a piece."""
        piece: list[list[TokenizedPair]] = []
        for own in sorted(lists, key=lambda tokens: -sum(len(ids) for ids, _ in tokens) / len(tokens)):
            if piece and sum(map(len, piece)) + len(own) > self.micro_batch_size:
                yield piece
                piece = []
            piece.append(own)
        yield piece

    def _scores(self, model: nn.Module, lists: Sequence[list[TokenizedPair]]) -> tuple[Tensor, Tensor]:
        """(n, longest) float32 scores and whether there is a document."""
        tokens = [pair for own in lists for pair in own]
        width = max(map(len, lists))
        mask = torch.tensor([[column < len(own) for column in range(width)] for own in lists])
        place = mask.flatten().nonzero().squeeze(1)
        device = self.encoder.device
        scores = torch.zeros(mask.numel(), device=device)
        for rows in by_token_budget([len(ids) for ids, _ in tokens], self.encoder.token_budget):
            inputs = self.encoder.inputs([tokens[row] for row in rows])
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
                values = logits(model, inputs)
            scores = scores.index_copy(0, place[torch.from_numpy(rows)].to(device), values)
        return scores.view(mask.shape), mask.to(device)
