"""Saving a bi-encoder so that ours, stock Pyserini, sentence-transformers and transformers load the same encoder."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from torch import nn

from .pretrained import quiet_transformers
from .spec import EncoderSpec


def save_checkpoint(directory: Path, backbone: nn.Module, tokenizer: Any, spec: EncoderSpec) -> None:
    """Writes weights, tokenizer and spec into an existing or new directory.

    The tokenizer's `model_max_length` is the query length, because stock Pyserini truncates queries by it and by
    nothing else (it gives documents an explicit length).
    """
    save_model(directory, backbone, tokenizer, spec.query_max_length)
    spec.save(directory)


def save_model(directory: Path, model: nn.Module, tokenizer: Any, max_length: int) -> None:
    """Writes weights and tokenizer into an existing or new directory.

    Truncation and padding state of the tokenizer is reset: it would depend on which text was tokenized last, and the
    files on it.

    Args:
        directory: where.
        model: of transformers.
        tokenizer: its fast tokenizer.
        max_length: becomes the tokenizer's `model_max_length`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    for key in ("is_local", "local_files_only", "name_or_path", "max_length", "stride", "truncation_strategy"):
        tokenizer.init_kwargs.pop(key, None)
    tokenizer.name_or_path = ""
    with quiet_transformers():
        model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
