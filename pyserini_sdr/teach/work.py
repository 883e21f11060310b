"""The folder of an unfinished output: `OUTPUT.parts`, beside it, removed when the output is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core.errors import DataError

SUFFIX = ".parts"


def parts_of(output: Path, *, overwrite: bool, directory: bool) -> Path:
    """The folder for unfinished work on an output that may be made, resumed or replaced.

    Args:
        output: what is to be made.
        overwrite: drop unfinished work, and let the output be replaced.
        directory: the output is a directory.

    Raises:
        DataError: the output is there already, or is of the other kind.
    """
    parts = output.with_name(output.name + SUFFIX)
    if output.exists() and output.is_dir() is not directory:
        kind = "a file, cannot make a directory there" if directory else "a directory, cannot write a file there"
        raise DataError(output, f"is {kind}")
    if overwrite:
        shutil.rmtree(parts, ignore_errors=True)
    elif not parts.exists() and output.exists() and not (directory and not any(output.iterdir())):
        raise DataError(output, "already exists", remedy="give another path or --overwrite")
    return parts
