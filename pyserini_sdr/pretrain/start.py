"""What a pre-training starts from: a checkpoint, or a new encoder with a new tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, set_seed

from ..core.errors import DataError, UsageError
from ..core.files import atomic_directory
from ..core.progress import bar, note
from ..model.checkpoint import save_model
from ..model.encoder import BiEncoder
from ..model.names import resolve_encoder
from ..model.pretrained import quiet_transformers
from ..model.spec import is_raw_backbone, position_limit
from ..model.training import set_dropout
from .options import PretrainOptions
from .stream import DocumentStream
from .vocabulary import learn_wordpiece

_DOCUMENTS = 100_000


def make_start(options: PretrainOptions, stream: DocumentStream, directory: Path) -> None:
    """Makes the checkpoint of a new encoder, unless it is there: random weights, a tokenizer, a configuration."""
    if directory.exists():
        return
    with quiet_transformers():
        tokenizer = _tokenizer(options, stream)
        config = _config(options)
        config.vocab_size, config.pad_token_id = len(tokenizer), tokenizer.pad_token_id
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        set_seed(options.seed)
        model = AutoModel.from_config(config)
    with atomic_directory(directory) as folder:
        save_model(folder, model, tokenizer, options.max_length)
    weights = sum(parameter.numel() for parameter in model.parameters())
    note(f"new encoder: {config.model_type}, {weights:,} random weights, {len(tokenizer):,} tokens")


def load_start(options: PretrainOptions, directory: Path) -> BiEncoder:
    """The encoder to be trained: that of `make_start`, or the one of the options.

    Raises:
        UsageError: its tokenizer has no mask token, it encodes queries only, or it cannot read `--max-length` tokens.
    """
    name = str(directory) if options.from_scratch else str(options.encoder)
    encoder = BiEncoder.load(name, device=options.device, raw_backbone=True, **options.spec_overrides())
    assert encoder.resolved is not None
    shown = "--from-scratch" if options.from_scratch else f"--encoder {name}"
    if encoder.spec.queries_only:
        raise UsageError(f"{shown}: encodes queries only; pre-train {encoder.spec.document_encoder}")
    if encoder.tokenizer.mask_token_id is None or getattr(encoder.tokenizer, "backend_tokenizer", None) is None:
        raise UsageError(f"{shown}: its tokenizer has no mask token, or is not a fast one")
    limit = position_limit(encoder.resolved.directory)
    if limit is not None and options.max_length > limit:
        raise UsageError(f"--max-length {options.max_length}: the encoder has positions for {limit} tokens")
    if options.from_scratch:
        config = encoder.backbone.config
        made = f"from scratch: {config.model_type}, {config.num_hidden_layers} layers of {config.hidden_size}"
        encoder.spec = dataclasses.replace(encoder.spec, backbone=made)
    else:
        note(f"encoder: {encoder.resolved}")
    if is_raw_backbone(encoder.resolved.directory):
        note(f"the vector that is trained, and that the checkpoint will say: {encoder.spec.pooling} pooling, "
             f"{encoder.spec.similarity}")  # fmt: skip
    if getattr(encoder.backbone, "pooler", None) is not None:  # not part of the vector: stays as it is
        encoder.backbone.pooler.requires_grad_(False)
    if options.dropout is not None:
        set_dropout(encoder.backbone, options.dropout)
    return encoder


def _tokenizer(options: PretrainOptions, stream: DocumentStream):
    if options.tokenizer is not None:
        directory = resolve_encoder(options.tokenizer).directory
        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        except (OSError, ValueError) as error:
            raise DataError(directory, f"has no tokenizer that can be loaded: {str(error).splitlines()[0]}") from error
        if tokenizer.mask_token_id is None or tokenizer.pad_token_id is None or not tokenizer.is_fast:
            raise UsageError(f"--tokenizer {options.tokenizer}: has no mask or padding token, or is not a fast one")
        return tokenizer
    count = min(options.tokenizer_documents or _DOCUMENTS, stream.size)

    def texts(what: str) -> Iterator[str]:
        drawn = islice(stream.take(0, count), count)
        return (one.document.contents for one in bar(drawn, total=count, unit="doc", desc=what))

    passes = iter(("characters", "tokenizer"))
    return learn_wordpiece(
        lambda: texts(next(passes)), options.size("vocab_size"), cased=options.cased, max_length=options.max_length
    )


def _config(options: PretrainOptions):
    if options.config_of is None:
        hidden = options.size("hidden_size")
        return BertConfig(
            hidden_size=hidden,
            num_hidden_layers=options.size("layers"),
            num_attention_heads=options.size("heads"),
            intermediate_size=4 * hidden,
            max_position_embeddings=options.max_length,
            initializer_range=0.02 * (768 / hidden) ** 0.5,  # BERT's own at its own size
        )
    directory = resolve_encoder(options.config_of).directory
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(directory, f"has no configuration that can be loaded: {str(error).splitlines()[0]}") from error
    if isinstance(getattr(config, "max_position_embeddings", None), int):
        config.max_position_embeddings = options.max_length + 2  # RoBERTa and kin begin to count after the padding's id
    return config
