"""The training pass of an encoder over packed tokens, on a CPU: what `packed.py` is to encoding.

The texts of a call are dealt into pieces of about the same work; every core works on pieces of its own, forwards and
backwards, with a copy of the weights in the precision of the computation. Gradients are summed in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ..core.errors import SdrError
from .cores import on_all_cores
from .packed import PackedEncoder, Packing, pack
from .packed_weights import BlockWeights, EncoderWeights, encoder_weights
from .training_ops import Masks, attend, drop_add, linear_gelu_linear, norm

_PIECE = 2048
"""Tokens of a piece at most, unless a text has more."""
_LEAST = 256
"""Tokens of a piece at least, unless there are fewer."""
_ROWS = 128
"""Rows of a piece are a multiple of this: oneDNN makes a kernel for every number of them."""
_MOST_WORKERS = 16


@dataclass(frozen=True)
class Rates:
    """Dropout: of the embeddings, and per layer of the attention weights, after attention, and at the end."""

    embeddings: float
    blocks: Sequence[tuple[float, float, float]]


def dropout_rates(model: nn.Module) -> Rates:
    """The rates that the modules of a model of a known kind apply now; all zero where it is not in training mode."""

    def rate(module: nn.Dropout) -> float:
        return module.p if module.training else 0.0

    kind = model.config.model_type
    if kind == "distilbert":
        blocks = [(rate(layer.attention.dropout), 0.0, rate(layer.ffn.dropout)) for layer in model.transformer.layer]
    else:
        blocks = []
        for layer in model.encoder.layer:
            attention = layer.attention
            inner, after = (attention.attn, attention) if kind == "mpnet" else (attention.self, attention.output)
            blocks.append((rate(inner.dropout), rate(after.dropout), rate(layer.output.dropout)))
    return Rates(rate(model.embeddings.dropout), blocks)


class PackedTraining:
    """The training pass of a model.

    Make one with `PackedTraining.of`.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @classmethod
    def of(cls, model: nn.Module) -> PackedTraining | None:
        """The pass of a model on a CPU, if it is of a known kind and gives what the model itself gives; else None."""
        if any(parameter.dtype != torch.float32 for parameter in model.parameters()):
            return None
        training = model.training
        try:
            model.eval()
            known = PackedEncoder.of(model, torch.float32) is not None
            weights = encoder_weights(model) if known else None
            if known:
                dropout_rates(model), _padding(model)
        except AttributeError:  # other names in another version of transformers
            return None
        finally:
            model.train(training)
        # relative positions have a gradient of their own
        return cls(model) if weights is not None and weights.bias is None else None

    def __call__(
        self,
        texts: Sequence[Sequence[int]],
        pooling: str,
        dtype: torch.dtype,
        *,
        layers: bool = False,
        most: int | None = None,
        first: int = 0,
    ) -> Tensor:
        """Pooled, unnormalised float32 embeddings (n, dim) of token ids; with `layers` of every layer, (n, L, dim).

        Dropout is drawn from torch's generator of the CPU: its state and a text's place among the texts decide the
        masks of the text, whatever the number of threads, pieces and processes.

        Args:
            texts: token ids of each.
            pooling: `cls` or `mean`.
            dtype: of the computation.
            layers: states of all layers, the last one is the embedding.
            most: texts per piece at most; activations are then not kept, but computed again, with the same dropout,
                when the gradient is due.
            first: place of the first text in the batch of which these are one process's share.

        Raises:
            SdrError: a text without a token.
        """
        if not all(len(ids) for ids in texts):
            raise SdrError("a text has no token; leave empty texts out, or train an encoder with special tokens")
        weights = encoder_weights(self.model)
        assert weights is not None
        plan = _Plan(
            texts=texts,
            pieces=_deal([len(ids) for ids in texts], most),
            heads=weights.heads,
            eps=weights.eps,
            rates=dropout_rates(self.model),
            pooling=pooling,
            dtype=dtype,
            layers=layers,
            padding=_padding(self.model),
            seed=self.draw(),
            first=first,
            recompute=most is not None,
            with_gradient=torch.is_grad_enabled(),
        )
        found = _Pass.apply(plan, *_flat(weights))
        return found if layers else found[:, 0]

    @staticmethod
    def draw() -> int:
        """The seed of the next pass; a process without a share draws it too, so that all go on with the same state."""
        return int(torch.randint(2**62, ()))


@dataclass(frozen=True)
class _Plan:
    """All that a pass needs beside weights."""

    texts: Sequence[Sequence[int]]
    pieces: list[np.ndarray]
    heads: int
    eps: float
    rates: Rates
    pooling: str
    dtype: torch.dtype
    layers: bool
    padding: int
    seed: int
    first: int
    recompute: bool
    with_gradient: bool

    @property
    def keeps(self) -> bool:
        """Whether activations are kept until the gradient is due."""
        return self.with_gradient and not self.recompute


def _padding(model: nn.Module) -> int:
    """The row of the word embeddings that is never learned, −1 for none."""
    row = model.embeddings.word_embeddings.padding_idx
    return -1 if row is None else row


def _deal(lengths: Sequence[int], most: int | None) -> list[np.ndarray]:
    """Texts of each piece, longest first; pieces are of about the same work, and as many for every core."""
    if not lengths:
        return []
    tokens = sum(lengths)
    workers = min(torch.get_num_threads(), _MOST_WORKERS, -(-tokens // _LEAST), len(lengths))
    count = -(-tokens // (workers * _PIECE)) * workers
    if most is not None:
        count = max(count, -(-len(lengths) // most))
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    rounds = np.arange(len(order)) // count
    place = np.arange(len(order)) % count
    piece = np.where(rounds % 2 == 0, place, count - 1 - place)  # to and fro
    dealt = [order[piece == number] for number in range(count)]
    return [rows for rows in dealt if len(rows)]


def _flat(weights: EncoderWeights) -> list[Tensor]:
    blocks = [
        part
        for block in weights.blocks
        for pair in (block.qkv, block.out, block.norm1, block.up, block.down, block.norm2)
        for part in pair
    ]
    return [weights.words, weights.positions, *weights.norm, *blocks]


def _copies(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """The weights in the precision of the computation; those of normalisations stay float32."""
    first = [tensor.detach() for tensor in tensors[:2]]
    return (
        first
        + [  # the third and the last pair of a block are normalisations, see `_flat`
            tensor.detach() if place // 2 % 6 in (2, 5) else tensor.detach().to(dtype)
            for place, tensor in enumerate(tensors[2:])
        ]
    )


def _blocks(tensors: Sequence[Tensor]) -> list[BlockWeights]:
    pairs = list(zip(tensors[::2], tensors[1::2], strict=True))
    return [BlockWeights(*pairs[start : start + 6]) for start in range(0, len(pairs), 6)]


@dataclass
class _Piece:
    """A piece between its forward pass and its gradient."""

    packing: Packing
    embedded: Tensor
    pooled: Tensor | None


class _Worker:
    """The pieces of one core and its copy of the weights.

    Args:
        plan: of the pass.
        numbers: of its pieces.
        words, positions: float32.
        tensors: other weights, in the precision of the computation.
    """

    def __init__(self, plan: _Plan, numbers: range, words: Tensor, positions: Tensor, tensors: list[Tensor]) -> None:
        self.plan, self.numbers, self.words, self.positions = plan, numbers, words, positions
        self.leaves = [tensor.detach().requires_grad_() for tensor in tensors]
        self.gradients: list[Tensor] = []
        self.pieces: dict[int, _Piece] = {}
        self.embedded: dict[int, tuple[Packing, Tensor]] = {}

    def forward(self, states: Tensor) -> None:
        """Writes the pooled states of its pieces."""
        for number in self.numbers:
            keep = self.plan.keeps
            with torch.set_grad_enabled(keep):
                piece = self._run(number)
            states[torch.from_numpy(self.plan.pieces[number])] = piece.pooled.detach()
            if keep:
                self.pieces[number] = piece

    def backward(self, gradient: Tensor) -> None:
        """Sums the gradients of its pieces."""
        for number in self.numbers:
            piece = self.pieces.pop(number, None)
            if piece is None:
                with torch.enable_grad():
                    piece = self._run(number)
            torch.autograd.backward(piece.pooled, gradient[torch.from_numpy(self.plan.pieces[number])])
            self.embedded[number] = piece.packing, piece.embedded.grad
            if self.gradients:
                for total, leaf in zip(self.gradients, self.leaves, strict=True):
                    total += leaf.grad
            else:
                self.gradients = [leaf.grad.float() for leaf in self.leaves]
            for leaf in self.leaves:
                leaf.grad = None

    def _run(self, number: int) -> _Piece:
        plan, rows = self.plan, self.plan.pieces[number].tolist()
        texts = [plan.texts[row] for row in rows]
        masks = Masks(plan.seed, [plan.first + row for row in rows], [len(ids) for ids in texts])
        packing = pack(texts, plan.dtype, multiple=_ROWS)
        with torch.autocast("cpu", enabled=False):
            embedded = (self.words[packing.ids] + self.positions[packing.positions]).requires_grad_()
            first, blocks = (self.leaves[0], self.leaves[1]), _blocks(self.leaves[2:])
            x = norm(embedded.to(plan.dtype), first, plan.eps)
            x = drop_add(x, None, plan.rates.embeddings, masks)
            found = []
            for block, (weights, after, last) in zip(blocks, plan.rates.blocks, strict=True):
                attended = attend(F.linear(x, *block.qkv), packing.groups, plan.heads, weights, masks)
                x = drop_add(F.linear(attended, *block.out), x, after, masks)
                x = norm(x, block.norm1, plan.eps)
                x = drop_add(linear_gelu_linear(x, block.up, block.down), x, last, masks)
                x = norm(x, block.norm2, plan.eps)
                found.append(x)
            pooled = [
                _pooled(states, packing, plan.pooling, len(texts)) for states in found[0 if plan.layers else -1 :]
            ]
        return _Piece(packing, embedded, torch.stack(pooled, dim=1))


def _pooled(states: Tensor, packing: Packing, pooling: str, texts: int) -> Tensor:
    if pooling == "cls":
        return states[packing.starts].float()
    sums = torch.zeros(texts + 1, states.shape[1]).index_add(0, packing.owner, states.float())
    lengths = torch.bincount(packing.owner, minlength=texts)[:texts]
    return sums[:texts] / lengths[:, None]


class _Pass(Function):
    """The pass as one operation, from weights to pooled states."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, words: Tensor, positions: Tensor, *tensors: Tensor) -> Tensor:
        copies = _copies(tensors, plan.dtype)
        count = min(torch.get_num_threads(), _MOST_WORKERS, len(plan.pieces))
        workers = [
            _Worker(plan, range(first, len(plan.pieces), count), words.detach(), positions.detach(), copies)
            for first in range(count)
        ]
        states = torch.empty(len(plan.texts), len(plan.rates.blocks) if plan.layers else 1, words.shape[1])
        _at_once(workers, lambda worker: worker.forward(states))
        ctx.plan, ctx.workers, ctx.tables = plan, workers if plan.with_gradient else [], (words.shape, positions.shape)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        workers, ctx.workers = ctx.workers, []
        _at_once(workers, lambda worker: worker.backward(gradient))
        pieces = dict(sorted(item for worker in workers for item in worker.embedded.items()))
        rows = torch.cat([rows for _, rows in pieces.values()])
        tables = [
            torch.ops.aten.embedding_dense_backward(rows, torch.cat(indices), shape[0], padding, False)
            for shape, indices, padding in zip(
                ctx.tables,
                ([p.ids for p, _ in pieces.values()], [p.positions for p, _ in pieces.values()]),
                (ctx.plan.padding, -1),
                strict=True,
            )
        ]
        sums = workers[0].gradients
        for worker in workers[1:]:
            for total, other in zip(sums, worker.gradients, strict=True):
                total += other
        return (None, *tables, *sums)


def _at_once(workers: list[_Worker], work: Callable[[_Worker], None]) -> None:
    on_all_cores(workers, work, inference=False)
