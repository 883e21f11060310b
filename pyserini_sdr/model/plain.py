"""Checkpoints without transformers: weights from their files, tokens by the `tokenizers` library.

Importing transformers and letting it build a model takes twice as long as importing torch, while for the usual kinds of
encoders `packed.py` needs neither its code nor its modules. Whether that goes for a checkpoint is found out when it has
been loaded in the ordinary way, and written down for the next time:

CACHE/plain/KEY/tokenizer.json   the tokenizer that transformers made of it
CACHE/plain/KEY/sdr_plain.json   its architecture, and what else its files do not tell

CACHE is `core.files.cache_folder()`; KEY is a hash of the checkpoint's weights, tokenizer and
configuration files and of the versions of the libraries, so that any change leads back to the ordinary way. Deleting
the folder does no harm.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.errors import DataError, SdrError
from ..core.files import atomic_directory, cache_folder, read_object, write_json
from ..core.manifest import versions
from .batching import pad_id_of
from .fingerprint import tokens_fingerprint, weight_files, weights_fingerprint
from .packed import PackedEncoder
from .packed_weights import Architecture, EncoderWeights, architecture_of, weights_of

_TOKENIZER, _RECORD = "tokenizer.json", "sdr_plain.json"


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
    try:
        fingerprint = weights_fingerprint(directory)
        folder = _folder(directory, fingerprint)
        if not (folder / _RECORD).exists():
            return None
        record = read_object(folder / _RECORD)
        weights = weights_of(_tensors(directory), Architecture(**record["architecture"]))
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / _TOKENIZER))
        return Plain(fingerprint, weights, tokenizer, **record["settings"])
    except (SdrError, OSError, KeyError, TypeError):
        return None  # the ordinary way tells what is wrong, if anything is
    except Exception as error:  # types of their own for damaged files
        if type(error) is Exception or type(error).__module__.startswith("safetensors"):
            return None
        raise


def note_plain(directory: Path, backbone: nn.Module, tokenizer: Any) -> None:
    """Writes down that a checkpoint is plain, if it is.

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
    with contextlib.suppress(SdrError, OSError, KeyError):  # no safetensors, other names in it, no place to write to
        folder = _folder(directory, weights_fingerprint(directory))
        if (folder / _RECORD).exists() or not _same(directory, backbone, architecture):
            return
        backend = tokenizers.Tokenizer.from_str(backend.to_str())
        backend.no_truncation()
        backend.no_padding()
        with atomic_directory(folder) as made:
            backend.save(str(made / _TOKENIZER))
            settings = {
                "truncation_side": tokenizer.truncation_side,
                "pad_id": pad_id_of(tokenizer),
                "hidden_size": backbone.config.hidden_size,
            }
            write_json(made / _RECORD, {"architecture": dataclasses.asdict(architecture), "settings": settings})


def _same(directory: Path, backbone: nn.Module, architecture: Architecture) -> bool:
    own = list(_all_tensors(weights_of(dict(backbone.named_parameters()), architecture)))
    filed = list(_all_tensors(weights_of(_tensors(directory), architecture)))
    same = len(own) == len(filed) and all(map(torch.equal, own, filed))
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
    return cache_folder("plain", hashlib.sha256(repr(parts).encode()).hexdigest()[:16])
