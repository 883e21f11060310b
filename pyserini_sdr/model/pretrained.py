"""Weights and tokenizers through transformers, which only logs what does not fit: here it is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import DataError
from .fingerprint import has_tokenizer
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
        except MemoryError:
            raise
        except Exception as error:  # damaged files raise whatever they lead to: a division by zero, say
            if type(error).__module__.startswith("safetensors"):
                raise DataError(directory, f"damaged weights: {error}") from error
            cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(directory, f"cannot be loaded as {what}: {cause}") from error
    check_tokenizer(directory, model, tokenizer)
    return model, tokenizer, report


def check_tokenizer(directory: Path, model: nn.Module, tokenizer: Any) -> None:
    """Refuses a tokenizer that is not the model's.

    Where its files are lost, transformers makes one without words, to which every text is the same unknown token; one
    with more words than the model has embeddings belongs to another model.

    Args:
        directory: the checkpoint.
        model: of transformers.
        tokenizer: as loaded with it.
    """
    if not has_tokenizer(directory):
        raise DataError(
            directory, "holds no tokenizer (tokenizer.json, vocab.txt, …)", remedy="copy that of its backbone there"
        )
    embeddings = model.get_input_embeddings()
    rows = getattr(embeddings, "num_embeddings", None)
    words = tokenizer.get_vocab()
    if rows is None or not words:
        return
    added = tokenizer.get_added_vocab()  # may lie beyond the embeddings, and never occur in a text
    largest = max((number for word, number in words.items() if word not in added), default=0)
    if largest >= rows:
        raise DataError(
            directory,
            f"its tokenizer has tokens up to number {largest}, the model has embeddings for {rows}",
            remedy="the tokenizer is another model's",
        )


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
