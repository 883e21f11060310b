"""Identity of a checkpoint's weights, without torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..core.errors import DataError
from ..core.files import file_sha256


def weight_files(directory: Path) -> list[Path]:
    """The weight files of a checkpoint directory; none if it has lost them."""
    return sorted(directory.glob("*.safetensors")) or sorted(directory.glob("pytorch_model*.bin"))


_TOKENS = (
    *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt"),
)


def has_tokenizer(directory: Path) -> bool:
    """Whether a checkpoint directory holds the words of its tokenizer."""
    names = ("tokenizer.json", "tokenizer.*.json", "vocab.txt", "vocab.json", "*.model")
    return any(True for name in names for _ in directory.glob(name))


def tokens_fingerprint(directory: Path) -> str:
    """A hash over the files of a checkpoint that decide architecture and tokens."""
    files = [directory / name for name in _TOKENS] + sorted(directory.glob("*.model"))
    files += sorted(directory.glob("tokenizer.*.json"))  # `fast_tokenizer_files`, by version of transformers
    parts = [f"{file.name} {file_sha256(file)}" for file in files if file.exists()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def weights_fingerprint(directory: Path) -> str:
    """A hash over the weight files of a checkpoint directory."""
    files = weight_files(directory)
    if not files:
        raise DataError(directory, "holds no weights (*.safetensors)")
    return hashlib.sha256("".join(file_sha256(path) for path in files).encode()).hexdigest()
