"""Padded batches of token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def pad(ids: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids as `(ids, mask)`, both (n, longest) int64, padded on the right."""
    width = max(map(len, ids))
    array = np.full((len(ids), width), pad_id, dtype=np.int64)
    mask = np.zeros((len(ids), width), dtype=np.int64)
    for row, tokens in enumerate(ids):
        array[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return torch.from_numpy(array), torch.from_numpy(mask)


def default_budget(device: torch.device) -> int:
    """Padded tokens per batch, unless a caller sets another number."""
    return 65536 if device.type == "cuda" else 4096


def pad_id_of(tokenizer: Any) -> int:
    """Token id used for padding; it is masked, so 0 serves where the tokenizer has none."""
    return tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
