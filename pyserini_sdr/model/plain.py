"""Checkpoints without transformers: weights from their files, tokens by the `tokenizers` library.

Importing transformers and letting it build a model takes twice as long as importing torch, while for the usual kinds of
encoders `packed.py` needs neither its code nor its modules. Whether that goes for a checkpoint is found out when it has
been loaded in the ordinary way, and written down for the next time:

CACHE/plain/KEY/tokenizer.json   the tokenizer that transformers made of it
CACHE/plain/KEY/sdr_plain.json   that tokenizer's SHA-256, the architecture, and what else its files do not tell

CACHE is `core.files.cache_folder()`; KEY is a hash of the checkpoint's weights, tokenizer and
configuration files and of the versions of the libraries, so that any change leads back to the ordinary way. Deleting
the folder does no harm; what is damaged in it is made again; where one cannot write, all goes the ordinary way.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.errors import DataError, SdrError
from ..core.files import atomic_directory, atomic_file, cache_folder, read_object, write_json
from ..core.manifest import versions
from .batching import pad_id_of
from .fingerprint import tokens_fingerprint, weight_files, weights_fingerprint
from .packed import PackedEncoder
from .packed_weights import Architecture, EncoderWeights, architecture_of, weights_of

_PLAIN, _TOKENIZER, _RECORD = "plain", "tokenizer.json", "sdr_plain.json"


@dataclasses.dataclass(frozen=True)
class Plain:
    """A checkpoint of which everything is known that encoding takes.

    Args:
        fingerprint: of its weights, as `weights_fingerprint`.
        weights: in float32.
        tokenizer: without truncation and padding.
        truncation_side: `left` or `right`.
        pad_id: token id used for padding.
        hidden_size: of its embeddings.
    """

    fingerprint: str
    weights: EncoderWeights
    tokenizer: tokenizers.Tokenizer
    truncation_side: str
    pad_id: int
    hidden_size: int


def open_plain(directory: Path) -> Plain | None:
    """A checkpoint directory without transformers, None where it has not been found to be plain (see `note_plain`)."""
    with _optional():
        if cache_folder(_PLAIN).exists():  # else spare the hash
            fingerprint = weights_fingerprint(directory)
            return _opened(directory, _folder(directory, fingerprint), fingerprint)
    return None


def note_plain(directory: Path, backbone: nn.Module, tokenizer: Any) -> None:
    """Writes down that a checkpoint is plain, if it is, and if that has not been done or the note is damaged.

    It is if the packed pass of its model gives what the model gives, from the tensors in its files bit for bit.

    Args:
        directory: checkpoint.
        backbone: its float32 model as transformers loads it, on the CPU.
        tokenizer: the same.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    architecture = architecture_of(backbone)
    if architecture is None or not hasattr(backend, "encode_batch_fast"):
        return
    with _optional():
        if not _writable(cache_folder(_PLAIN)):
            return
        fingerprint = weights_fingerprint(directory)
        folder = _folder(directory, fingerprint)
        if _opened(directory, folder, fingerprint) is not None:
            return
        filed = weights_of(_tensors(directory), architecture)
        backend = tokenizers.Tokenizer.from_str(backend.to_str())
        backend.no_truncation()
        backend.no_padding()
        tokens = backend.to_str().encode()
        record = {
            "architecture": dataclasses.asdict(architecture),
            "settings": {
                "truncation_side": tokenizer.truncation_side,
                "pad_id": pad_id_of(tokenizer),
                "hidden_size": backbone.config.hidden_size,
            },
            "tokenizer": hashlib.sha256(tokens).hexdigest(),
        }
        with atomic_directory(folder, overwrite=True) as made:
            with atomic_file(made / _TOKENIZER, "wb") as handle:
                handle.write(tokens)
            write_json(made / _RECORD, record)
            if not _same(filed, backbone, architecture):  # last, as it takes longest: a disk may be full
                raise DataError(directory, "is not plain")


@contextlib.contextmanager
def _optional() -> Iterator[None]:
    """Ends its block at what may be wrong with the cache or a checkpoint: the ordinary way tells it, if it matters.

    That is: no safetensors, other names in them, a damaged note, no place to write to.
    """
    try:
        yield
    except (SdrError, OSError, KeyError, TypeError):
        pass
    except Exception as error:  # of tokenizers a bare one, of safetensors a type of its own
        if type(error) is not Exception and not type(error).__module__.startswith("safetensors"):
            raise


def _opened(directory: Path, folder: Path, fingerprint: str) -> Plain | None:
    """A checkpoint as `folder` notes it, None if there is no note or it is damaged."""
    with _optional():
        record = read_object(folder / _RECORD)
        tokens = (folder / _TOKENIZER).read_bytes()
        if hashlib.sha256(tokens).hexdigest() != record["tokenizer"]:
            return None
        weights = weights_of(_tensors(directory), Architecture(**record["architecture"]))
        return Plain(fingerprint, weights, tokenizers.Tokenizer.from_buffer(tokens), **record["settings"])
    return None


def _writable(folder: Path) -> bool:
    """Whether `folder`, or else the nearest one above it that exists, can be written to."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _same(filed: EncoderWeights, backbone: nn.Module, architecture: Architecture) -> bool:
    """Whether a model has the weights in its files, and the packed pass gives what it gives."""
    own = list(_all_tensors(weights_of(dict(backbone.named_parameters()), architecture)))
    its = list(_all_tensors(filed))
    same = len(own) == len(its) and all(map(torch.equal, own, its))
    return same and all(PackedEncoder.of(backbone, dtype) is not None for dtype in (torch.float32, torch.bfloat16))


def _all_tensors(weights: EncoderWeights) -> Iterator[Tensor]:
    yield from (weights.words, weights.positions, *weights.norm)
    for block in weights.blocks:
        for pair in (block.qkv, block.out, block.norm1, block.up, block.down, block.norm2):
            yield from pair
    if weights.bias is not None:
        yield weights.bias(weights.positions.shape[0])


def _tensors(directory: Path) -> dict[str, Tensor]:
    """The tensors in a checkpoint's safetensors files, in float32, mapped where they are that already."""
    tensors: dict[str, Tensor] = {}
    for path in weight_files(directory):
        if path.suffix != ".safetensors":
            raise DataError(path, "is not safetensors")
        tensors |= load_file(path)
    return {name: tensor.float() for name, tensor in tensors.items()}


def _folder(directory: Path, fingerprint: str) -> Path:
    parts = (
        fingerprint,
        tokens_fingerprint(directory),
        versions(("pyserini_sdr", "torch", "transformers", "tokenizers")),
    )
    return cache_folder(_PLAIN, hashlib.sha256(repr(parts).encode()).hexdigest()[:16])
