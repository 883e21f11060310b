"""Outputs of `collection` commands: refused before the work, not after it."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import DataError
from ..data.corpus import corpus_files


def check_directory(output: Path, source: Path, *, overwrite: bool) -> None:
    """Refuses a directory that cannot be made, is used, or holds the corpus that is to be read.

    Args:
        output: directory to make.
        source: see `corpus_files`.
        overwrite: whether a used one may be replaced.
    """
    if output.exists() and not output.is_dir():
        raise DataError(output, "is a file, cannot make a directory there")
    if output.exists() and any(output.iterdir()) and not overwrite:
        raise DataError(output, "already exists and is not empty", remedy="give another path or --overwrite")
    if output.exists() and any(output.resolve() in file.resolve().parents for file in corpus_files(source)):
        raise DataError(output, "holds the corpus that is to be read", remedy="give another output")


def check_file(output: Path, *, overwrite: bool) -> None:
    """Refuses a file that is there."""
    if output.exists() and not overwrite:
        raise DataError(output, "already exists", remedy="give another file or --overwrite")
