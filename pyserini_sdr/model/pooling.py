"""From token states to one vector per text."""

from __future__ import annotations

import torch
from torch import Tensor


def pool(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pools the last hidden states, in float32.

    Args:
        states: (n, length, dim).
        mask: (n, length), 1 for tokens and 0 for padding.
        pooling: `cls` or `mean`.

    Returns:
        (n, dim) float32, not normalised.
    """
    if pooling == "cls":
        return states[:, 0].float()
    weights = mask.to(states.dtype).unsqueeze(1)
    # a batched product accumulates in float32 and needs no (n, length, dim) temporary
    return torch.bmm(weights, states).squeeze(1).float() / mask.sum(dim=1, keepdim=True).float()
