"""Weights and tokenizers through transformers, which only logs what does not fit: here it is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import DataError
from .spec import SPEC_FILE

HEADS = (  # of pre-training and classification, which AutoModel leaves out: BERT, RoBERTa, DistilBERT, ModernBERT, ...
    *("cls.", "lm_head.", "vocab_", "classifier.", "qa_outputs.", "generator_", "discriminator_"),
    *("head.", "decoder.", "lm_predictions.", "mask_predictions."),
)
"""Beginnings of names of weights that a transformer without a head may leave unused."""


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences loading bars and reports; what they would tell is checked instead."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_weights(directory: Path) -> tuple[nn.Module, Any]:
    """The float32 transformer and the tokenizer of a checkpoint directory; no weight may be missing or unexpected."""
    backbone, tokenizer, report = load_pretrained(directory, "AutoModel", "an encoder")
    heads = () if (directory / SPEC_FILE).exists() else HEADS
    check_report(directory, report, may_lack=("pooler.",), may_have=heads)
    return backbone, tokenizer


def load_pretrained(directory: Path, auto_class: str, what: str, **options: Any) -> tuple[nn.Module, Any, Any]:
    """A float32 model, its tokenizer, and transformers' report on its weights, for `check_report`.

    Args:
        directory: local checkpoint directory.
        auto_class: name of the class of transformers that makes the model.
        what: the model in words, for the message.
        options: for `from_pretrained`.
    """
    import transformers

    with quiet_transformers():
        try:
            model, report = getattr(transformers, auto_class).from_pretrained(
                directory,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused by `check_report` with their names
                dtype=torch.float32,
                local_files_only=True,
                **options,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(directory, f"cannot be loaded as {what}: {cause}") from error
        except Exception as error:  # safetensors raises its own type for a damaged file
            if type(error).__module__.startswith("safetensors"):
                raise DataError(directory, f"damaged weights: {error}") from error
            raise
    return model, tokenizer, report


def check_report(
    directory: Path, report: Any, *, may_lack: tuple[str, ...] = (), may_have: tuple[str, ...] = ()
) -> None:
    """Refuses weights that are missing or unexpected: transformers only logs them and goes on with random ones.

    Args:
        directory: the checkpoint, for the message.
        report: of `load_pretrained`.
        may_lack: beginnings of names of weights that the checkpoint may lack (or have in another shape).
        may_have: beginnings of names of weights that the model need not use.
    """
    missing = [key for key in report["missing_keys"] if not key.startswith(may_lack)]
    unexpected = [
        key for key in report["unexpected_keys"] if not key.endswith("position_ids") and not key.startswith(may_have)
    ]
    names = [str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]]
    mismatched = [name for name in names if not name.startswith(may_lack)]
    for kind, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", mismatched)):
        if keys:
            raise DataError(
                directory,
                f"{len(keys)} weights are {kind} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})",
                remedy="the checkpoint does not fit its config.json",
            )
