"""Where a model runs and in which type."""

from __future__ import annotations

import functools
import os

import torch

from ..core.errors import UsageError


def resolve_device(device: str | None) -> torch.device:
    """`auto`/None → a GPU if there is one (under `torchrun` each process its own), else the CPU.

    A device that is named and does not exist is an error, never a silent CPU.
    """
    if device in (None, "auto"):
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if device == "cuda" and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:  # not the first GPU for all
        return resolve_device("auto")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {device}: {str(error).splitlines()[0]}") from error
    return chosen


@functools.cache
def has_bf16(kind: str) -> bool:
    """Whether bf16 is faster than float32 on this machine's `cpu` or `cuda` device."""
    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if kind == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def document_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` → bf16 where the hardware has it, else float32; or the one named (`fp32`, `bf16`, `fp16`)."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16(device.type) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
