"""Low-rank adapters (LoRA, arXiv 2106.09685) by way of `peft`: trained in place of the weights, merged when saved."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from ..core.errors import UsageError


def with_adapters(backbone: nn.Module, rank: int, alpha: float) -> nn.Module:
    """The backbone with adapters on all its linear layers; its own weights are frozen.

    Args:
        backbone: a transformer; it is changed in place.
        rank: of the adapters.
        alpha: their scale; the adapters' product is multiplied by alpha / rank.

    Raises:
        UsageError: `peft` is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise UsageError("--lora-rank: needs the package peft; pip install 'pyserini_sdr[lora]'") from None
    return get_peft_model(backbone, LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules="all-linear"))


def merged(backbone: nn.Module) -> nn.Module:
    """An ordinary backbone: a copy with the adapters merged in, or `backbone` itself if it has none."""
    if not _has_adapters(backbone):
        return backbone
    whole: Any = copy.deepcopy(backbone)
    return whole.merge_and_unload()


def adapter_state(backbone: nn.Module) -> dict[str, Tensor]:
    """The adapters' weights by name, empty without adapters."""
    if not _has_adapters(backbone):
        return {}
    return {name: value.detach() for name, value in backbone.named_parameters() if "lora_" in name}


def _has_adapters(backbone: nn.Module) -> bool:
    return hasattr(backbone, "merge_and_unload")
