"""Embeddings of all processes in each of them, with gradients: the one place in training that knows of ranks.

Every process sees the same batch of texts, encodes its share, and computes the whole loss. Through `gather_rows` each
has the gradient of its own rows; the sum of the parameter gradients over processes is that of one process.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..encode.ranks import ALONE, Rank


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def this_rank() -> Rank:
    """This process among those that train together."""
    return Rank(dist.get_rank(), world_size()) if world_size() > 1 else ALONE


def share(count: int) -> slice:
    """The rows of `count` that this process encodes."""
    if world_size() == 1:
        return slice(0, count)
    rank = dist.get_rank()
    bounds = _bounds(count)
    return slice(bounds[rank], bounds[rank + 1])


def gather_rows(own: Tensor, count: int) -> Tensor:
    """All `count` rows, (count, dim), in order; gradients flow to this process's own rows.

    Args:
        own: this process's share, (rows, dim).
        count: rows over all processes.
    """
    if world_size() == 1:
        return own
    bounds = _bounds(count)
    sizes = [last - first for first, last in pairwise(bounds)]
    padded = own.new_zeros(max(sizes), own.shape[1])
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    rows = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    rows[dist.get_rank()] = own
    return torch.cat(rows)


def agreed(value: float, device: torch.device) -> float:
    """The first process's value, on every process: what follows from it must be the same for all."""
    if world_size() == 1:
        return value
    held = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(held, 0)
    return float(held)


def sum_gradients(model: nn.Module, losses: nn.Module | None = None) -> None:
    """Adds the gradients of all processes.

    Args:
        model: the encoder.
        losses: their parameters' gradients are whole on each process already; they are averaged, so that rounding
            does not drive the processes apart.
    """
    world = world_size()
    if world == 1:
        return
    for module, share_of_each in ((model, 1.0), (losses, 1 / world)):
        for parameter in module.parameters() if module is not None else ():
            if parameter.requires_grad:
                if parameter.grad is None:  # a share without rows
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)
                parameter.grad *= share_of_each


def _bounds(count: int) -> list[int]:
    world = world_size()
    return [count * rank // world for rank in range(world + 1)]
