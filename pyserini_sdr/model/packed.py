"""An encoder's forward pass over packed tokens, for documents in bulk on a CPU.

The texts of a batch lie one after the other, without padding, so that linear layers (nine tenths of the work) see real
tokens only. Attention alone works on padded rows, of widths that are multiples of 16, on which its kernels are about
twice as fast as between them. Weights are laid out for the matrix units once; activation and residual ride along with
the products (oneDNN). Row counts come in few sizes, as oneDNN compiles a kernel for each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .packed_weights import EncoderWeights, encoder_weights

_WIDTH = 16
_ROWS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_AGREE = 0.995
"""Cosine to the model's own states below which the packed pass is not trusted; bf16 keeps about .9999."""


@dataclass(frozen=True)
class Packing:
    """Where the texts of a batch lie.

    Args:
        ids: (tokens,) token ids, followed by filling up to a round number of rows.
        positions: (tokens,) position of each in its text.
        starts: (texts,) where each text begins.
        owner: (tokens,) the text that each token belongs to; filling belongs to one beyond the last.
        groups: per width, what attention works on.
    """

    ids: Tensor
    positions: Tensor
    starts: Tensor
    owner: Tensor
    groups: Sequence[Group]


@dataclass(frozen=True)
class Group:
    """Texts that attention sees padded to one width.

    Args:
        rows: (texts · width,) the packed row of every padded place, None where nothing is padded.
        places: (tokens,) the padded place of every packed row of the group.
        mask: (texts, 1, 1, width) float, −∞ for padding, None where nothing is padded.
        span: packed rows of the group, from and to.
        width: of a text.
    """

    rows: Tensor | None
    places: Tensor | None
    mask: Tensor | None
    span: slice
    width: int


def pack(
    texts: Sequence[Sequence[int]],
    dtype: torch.dtype = torch.float32,
    *,
    biased: bool = False,
    multiple: int | None = None,
) -> Packing:
    """Packs token ids, which come longest first.

    Args:
        texts: token ids of each text.
        dtype: of the masks.
        biased: every group gets a mask, as a bias is added to it.
        multiple: rows are filled up to a multiple of this; None for one of few sizes.
    """
    lengths = np.asarray([len(ids) for ids in texts], dtype=np.int64)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    count = int(ends[-1])
    filling = (-count % multiple) if multiple else _rounded(count) - count
    ids = np.zeros(count + filling, dtype=np.int64)
    ids[:count] = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
    positions, owner = np.zeros_like(ids), np.full_like(ids, len(texts))
    positions[:count] = np.arange(count) - np.repeat(starts, lengths)
    owner[:count] = np.repeat(np.arange(len(texts)), lengths)
    groups = []
    for width, members in groupby(range(len(texts)), key=lambda text: -(-int(lengths[text]) // _WIDTH) * _WIDTH):
        first, *rest = members
        last = rest[-1] if rest else first
        groups.append(_group(lengths[first : last + 1], int(starts[first]), width, dtype, biased))
    return Packing(
        torch.from_numpy(ids), torch.from_numpy(positions), torch.from_numpy(starts), torch.from_numpy(owner), groups
    )


def _group(lengths: np.ndarray, start: int, width: int, dtype: torch.dtype, biased: bool) -> Group:
    stop = start + int(lengths.sum())
    if (lengths == width).all() and not biased:
        return Group(None, None, None, slice(start, stop), width)
    real = np.arange(width) < lengths[:, None]
    rows = np.full(real.shape, start, dtype=np.int64)  # padding repeats a real row: finite, and masked
    rows[real] = np.arange(start, stop)
    mask = torch.from_numpy(np.where(real, 0.0, -np.inf)).to(dtype)[:, None, None, :]
    return Group(
        torch.from_numpy(rows.ravel()), torch.from_numpy(np.flatnonzero(real)), mask, slice(start, stop), width
    )


def _rounded(count: int) -> int:
    """The next of a few row counts, so that few shapes of products occur."""
    for rows in _ROWS:
        if count <= rows:
            return rows
    return -(-count // _ROWS[-1]) * _ROWS[-1]


class PackedEncoder:
    """The forward pass of an encoder over packed tokens.

    Args:
        weights: of the encoder.
        dtype: of the computation.
    """

    def __init__(self, weights: EncoderWeights, dtype: torch.dtype) -> None:
        def cast(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            return pair[0].detach().to(dtype), pair[1].detach().to(dtype)

        self.dtype, self.heads, self.eps, self._bias = dtype, weights.heads, weights.eps, weights.bias
        self.words, self.positions = weights.words.detach().to(dtype), weights.positions.detach().to(dtype)
        self.norm = cast(weights.norm)
        self.blocks = [
            (
                _Linear(*cast(block.qkv)),
                _Linear(*cast(block.out)),
                cast(block.norm1),
                _Linear(*cast(block.up)),
                _Linear(*cast(block.down)),
                cast(block.norm2),
            )
            for block in weights.blocks
        ]

    @classmethod
    def of(cls, model: nn.Module, dtype: torch.dtype) -> PackedEncoder | None:
        """The packed pass of a model, if it is of a known kind and gives what the model itself gives; else None."""
        weights = encoder_weights(model)
        if weights is None or next(model.parameters()).device.type != "cpu":
            return None
        packed = cls(weights, dtype)
        return packed if packed._agrees_with(model) else None

    @torch.inference_mode()
    def _agrees_with(self, model: nn.Module) -> bool:
        """Compares states of two texts, so that a model that computes something else is never taken for a known one."""
        ids = np.random.default_rng(0).integers(len(self.words) // 2, len(self.words), size=21)
        texts = [ids[:12].tolist(), ids[12:].tolist()]
        ours = self.states(pack(texts, self.dtype, biased=self._bias is not None)).float()
        theirs = torch.cat([model(input_ids=torch.tensor([text]))[0][0] for text in texts]).float()
        return bool(F.cosine_similarity(ours[: len(theirs)], theirs).min() > _AGREE)

    def pooled(self, texts: Sequence[Sequence[int]], pooling: str) -> Tensor:
        """Pooled, unnormalised float32 embeddings (n, dim) of token ids, which come longest first."""
        packing = pack(texts, self.dtype, biased=self._bias is not None)
        states = self.states(packing)
        if pooling == "cls":
            return states[packing.starts].float()
        sums = torch.zeros(len(texts) + 1, states.shape[1])
        sums.index_add_(0, packing.owner, states.float())
        return sums[:-1] / torch.tensor([len(text) for text in texts], dtype=torch.float32)[:, None]

    def states(self, packing: Packing) -> Tensor:
        """The last hidden states (rows, dim) of a packing, its filling included."""
        shape = (self.words.shape[1],)
        x = F.layer_norm(self.words[packing.ids] + self.positions[packing.positions], shape, *self.norm, self.eps)
        masks = [self._mask(group) for group in packing.groups]
        for qkv, out, norm1, up, down, norm2 in self.blocks:
            attended = self._attend(qkv(x), packing.groups, masks)
            x = F.layer_norm(out.plus(attended, x), shape, *norm1, self.eps)
            x = F.layer_norm(down.plus(up.gelu(x), x), shape, *norm2, self.eps)
        return x

    def _mask(self, group: Group) -> Tensor | None:
        if self._bias is None:
            return group.mask
        return self._bias(group.width).to(self.dtype) + group.mask

    def _attend(self, qkv: Tensor, groups: Sequence[Group], masks: Sequence[Tensor | None]) -> Tensor:
        dim = qkv.shape[1] // 3
        attended = torch.zeros(len(qkv), dim, dtype=qkv.dtype)  # filling attends to nothing
        for group, mask in zip(groups, masks, strict=True):
            padded = qkv[group.span] if group.rows is None else qkv.index_select(0, group.rows)
            query, key, value = padded.view(-1, group.width, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            rows = found.transpose(1, 2).reshape(-1, dim)
            attended[group.span] = rows if group.places is None else rows.index_select(0, group.places)
        return attended


class _Linear:
    """A linear layer laid out for oneDNN once; plain where this torch has no such operators."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self.weight, self.bias, self.packed = weight, bias, None
        if _onednn(weight.dtype):
            self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), _ROWS[-1])
            self.weight = None  # only the copy that is used is kept

    def __call__(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return F.linear(x, self.weight, self.bias)
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "none", [], "")

    def gelu(self, x: Tensor) -> Tensor:
        """GELU of the layer's output."""
        if self.packed is None:
            return F.gelu(F.linear(x, self.weight, self.bias))
        return torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, "gelu", [], "none")

    def plus(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer's output with a residual added."""
        if self.packed is None:
            return F.linear(x, self.weight, self.bias) + residual
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.packed, self.bias, "add")


def _onednn(dtype: torch.dtype) -> bool:
    names = ("_reorder_linear_weight", "_linear_pointwise")
    if not torch.backends.mkldnn.is_available() or not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
