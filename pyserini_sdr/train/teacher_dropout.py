"""A frozen teacher that drops out: another view of a text at every step (noisy self-distillation)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..model.training import set_dropout


@contextmanager
def dropping_out(model: nn.Module, rate: float, seed: int) -> Iterator[None]:
    """Runs a block with the dropout of a model at `rate`, drawn by `seed`; all other draws go on as before.

    With a rate of 0 nothing is changed.
    """
    if not rate:
        yield
        return
    device = next(model.parameters()).device
    set_dropout(model, rate)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        model.train()
        try:
            yield
        finally:
            model.eval()
