"""Dropout and attention over packed tokens, made for training on a CPU.

torch draws a CPU's dropout masks at some 10 ns per number, and keeps every table of attention in memory several times.
Here a mask is a few integer operations on the bits of a fast generator (about 1.5 ns), and attention works on so few
texts at a time that their tables stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from .packed import Group

_TABLE = 1 << 19
"""Attention weights that are worked on at once, per thread: 1 MB in bf16."""

_LEVELS = 1 << 15
"""Rates of dropout are multiples of 1 / this."""


class Masks:
    """The dropout masks of the texts of a piece, the same again for the same seed.

    Every text has a generator of its own: what is dropped of it depends neither on the texts that it shares a piece
    with nor on the number of threads.

    Args:
        seed: of the whole batch.
        texts: numbers of the piece's texts in the batch, in the order in which they are packed.
        lengths: tokens of each.
    """

    def __init__(self, seed: int, texts: Sequence[int], lengths: Sequence[int]) -> None:
        self._draws = [np.random.Generator(np.random.SFC64((seed, text))) for text in texts]
        self._lengths = lengths

    def of_rows(self, shape: tuple[int, int], rate: float, dtype: torch.dtype) -> tuple[Tensor, float]:
        """`of_texts` for a number per packed row and dimension, (rows, dim)."""
        return self.of_texts(slice(None), [length * shape[1] for length in self._lengths], shape, rate, dtype)

    def of_texts(
        self, texts: slice, counts: Sequence[int], shape: Sequence[int], rate: float, dtype: torch.dtype
    ) -> tuple[Tensor, float]:
        """A mask and what kept numbers are multiplied by, so that their mean stays.

        Args:
            texts: of the piece that the numbers are of.
            counts: numbers of each of them, one text after the other; of what follows them nothing is dropped.
            shape: of the mask.
            rate: share of numbers that are dropped, to the next 1/32,768.
            dtype: of the numbers; the mask has integers of the same size, all bits set where a number is kept.
        """
        dropped = _level(rate)
        bits = np.empty(int(np.prod(shape)), dtype=np.int16)
        start = 0
        for draw, count in zip(self._draws[texts], counts, strict=True):
            drawn = draw.integers(0, 1 << 64, size=-(-count // 4), dtype=np.uint64).view(np.int16)
            bits[start : start + count] = drawn[:count]
            start += count
        bits[start:] = 0
        mask = torch.from_numpy(bits).view(*shape)
        mask.bitwise_or_(-_LEVELS).add_(dropped).bitwise_right_shift_(15)  # −1 below 0, which is kept; else 0
        return mask if dtype.itemsize == 2 else mask.to(torch.int32), _LEVELS / (_LEVELS - dropped)


def _level(rate: float) -> int:
    return min(round(rate * _LEVELS), _LEVELS - 1)


def _masked(numbers: Tensor, mask: Tensor) -> Tensor:
    """Zero where the mask is zero."""
    return (numbers.view(mask.dtype) & mask).view(numbers.dtype)


class _DropAdd(Function):
    """`residual + dropout(x)`."""

    @staticmethod
    def forward(ctx, x: Tensor, residual: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return torch.add(residual, _masked(x, mask), alpha=scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (mask,) = ctx.saved_tensors
        return _masked(gradient, mask).mul_(ctx.scale), gradient, None, None


def drop_add(x: Tensor, residual: Tensor | None, rate: float, masks: Masks) -> Tensor:
    """`residual + dropout(x)`, or the dropout alone; (rows, dim)."""
    if _level(rate) == 0:
        return x if residual is None else x + residual
    residual = torch.zeros_like(x) if residual is None else residual
    return _DropAdd.apply(x, residual, *masks.of_rows(x.shape, rate, x.dtype))


class _Attend(Function):
    """Self-attention of packed texts, with dropout of its weights."""

    @staticmethod
    def forward(ctx, qkv: Tensor, groups: Sequence[Group], heads: int, rate: float, masks: Masks) -> Tensor:
        dim = qkv.shape[1] // 3
        attended = torch.zeros(len(qkv), dim, dtype=qkv.dtype)  # filling attends to nothing
        ctx.groups, ctx.heads, ctx.rows, ctx.kept = groups, heads, len(qkv), []
        size, first = dim // heads, 0
        for group in groups:
            padded = qkv[group.span] if group.rows is None else qkv.index_select(0, group.rows)
            padded = padded.view(-1, group.width, 3, heads, size)
            found = torch.empty(len(padded), group.width, heads, size, dtype=qkv.dtype)
            for part in _parts(len(padded), heads, group.width):
                query, key, value = padded[part].permute(2, 0, 3, 1, 4).contiguous().view(3, -1, group.width, size)
                query *= size**-0.5
                weights = torch.bmm(query, key.transpose(1, 2))
                if group.mask is not None:
                    weights.view(-1, heads, group.width, group.width).add_(group.mask[part])
                weights, mask, used = torch.softmax(weights, -1), None, None
                if _level(rate):
                    texts, each = len(weights) // heads, heads * group.width**2
                    place = slice(first + part.start, first + part.start + texts)
                    mask, scale = masks.of_texts(place, [each] * texts, weights.shape, rate, weights.dtype)
                    used = _masked(weights, mask)
                    value *= scale
                ctx.kept.append((query, key, value, weights, mask))
                outcome = torch.bmm(weights if used is None else used, value)
                found[part] = outcome.view(-1, heads, group.width, size).transpose(1, 2)
            first += len(padded)
            rows = found.view(-1, dim)
            attended[group.span] = rows if group.places is None else rows.index_select(0, group.places)
        ctx.scale = _LEVELS / (_LEVELS - _level(rate))
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        dim, heads = gradient.shape[1], ctx.heads
        size = dim // heads
        result = torch.zeros(ctx.rows, 3 * dim, dtype=gradient.dtype)
        ctx.kept.reverse()
        for group in ctx.groups:
            rows = gradient[group.span]
            if group.places is not None:  # the gradient of padding is zero
                places = -(-(int(group.places[-1]) + 1) // group.width) * group.width
                rows = torch.zeros(places, dim, dtype=rows.dtype).index_copy_(0, group.places, rows)
            padded = rows.view(-1, group.width, heads, size)
            found = torch.empty(len(padded), group.width, 3, heads, size, dtype=rows.dtype)
            for part in _parts(len(padded), heads, group.width):
                query, key, value, weights, mask = ctx.kept.pop()
                own = padded[part].transpose(1, 2).reshape(-1, group.width, size)
                outer = torch.empty(3, *query.shape, dtype=rows.dtype)
                used = weights if mask is None else _masked(weights, mask)
                torch.bmm(used.transpose(1, 2), own, out=outer[2])
                of_weights = torch.bmm(own, value.transpose(1, 2))  # value carries the scale of dropout
                if mask is not None:
                    outer[2] *= ctx.scale
                    of_weights = _masked(of_weights, mask)
                of_scores = torch.ops.aten._softmax_backward_data(of_weights, weights, -1, weights.dtype)
                torch.bmm(of_scores, key, out=outer[0])
                outer[0] *= size**-0.5
                torch.bmm(of_scores.transpose(1, 2), query, out=outer[1])  # query carries the scale of scores
                found[part] = outer.view(3, -1, heads, group.width, size).permute(1, 3, 0, 2, 4)
            flat = found.view(-1, 3 * dim)
            result[group.span] = flat if group.places is None else flat.index_select(0, group.places)
        return result, None, None, None, None


def _parts(texts: int, heads: int, width: int) -> list[slice]:
    """Texts that are worked on at once."""
    most = max(1, _TABLE * torch.get_num_threads() // (heads * width * width))
    return [slice(start, start + most) for start in range(0, texts, most)]


def attend(qkv: Tensor, groups: Sequence[Group], heads: int, rate: float, masks: Masks) -> Tensor:
    """Self-attention within each text: (rows, dim) from queries, keys and values (rows, 3·dim)."""
    return _Attend.apply(qkv, groups, heads, rate, masks)


class _Norm(Function):
    """Layer normalisation with float32 weights.

    torch sums the gradients of the weights in the precision of the numbers: in bf16 they come out wrong by tens of per
    cent where thousands of rows are alike. Here they are matrix products, which sum in float32.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        found, mean, scale = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
        ctx.save_for_backward(x, mean, scale, weight, bias)
        ctx.eps = eps
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, mean, scale, weight, bias = ctx.saved_tensors
        shape, wanted = weight.shape, [True, False, False]
        of_x, _, _ = torch.ops.aten.native_layer_norm_backward(gradient, x, shape, mean, scale, weight, bias, wanted)
        normal, _, _ = torch.native_layer_norm(x, shape, None, None, ctx.eps)  # x − mean, before it is rounded
        ones = torch.ones(1, len(x), dtype=x.dtype)
        of_bias, of_weight = ((ones @ rows).float()[0] for rows in (gradient, gradient * normal))
        return of_x, of_weight, of_bias, None


def norm(x: Tensor, pair: tuple[Tensor, Tensor], eps: float) -> Tensor:
    """Layer normalisation of rows (rows, dim); its weight and bias are float32."""
    return _Norm.apply(x, *pair, eps)


def linear_gelu_linear(x: Tensor, up: tuple[Tensor, Tensor], down: tuple[Tensor, Tensor]) -> Tensor:
    """The feed-forward layers."""
    return F.linear(F.gelu(F.linear(x, *up)), *down)
