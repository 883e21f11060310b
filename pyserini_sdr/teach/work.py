"""The folder of an unfinished output: `OUTPUT.parts`, beside it, removed when the output is whole."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..core.errors import DataError

SUFFIX = ".parts"


def parts_of(output: Path, *, overwrite: bool, directory: bool, made_by: str | None = None) -> Path:
    """The folder for unfinished work on an output that may be made, resumed or replaced.

    Args:
        output: what is to be made.
        overwrite: drop unfinished work, and let the output be replaced.
        directory: the output is a directory.
        made_by: file that every such directory of ours holds; one without it is not replaced.

    Raises:
        DataError: the output is there already, is of the other kind, or is a directory that is not ours to replace.
    """
    parts = output.with_name(output.name + SUFFIX)
    if output.exists() and output.is_dir() is not directory:
        kind = "a file, cannot make a directory there" if directory else "a directory, cannot write a file there"
        raise DataError(output, f"is {kind}")
    used = output.is_dir() and any(output.iterdir())
    if overwrite and used and made_by is not None and not (output / made_by).exists():
        raise DataError(
            output,
            f"holds other files and no {made_by}: --overwrite replaces only what this command has made",
            remedy="give another path, or remove it yourself",
        )
    if overwrite:
        shutil.rmtree(parts, ignore_errors=True)
    elif not parts.exists() and output.exists() and (used or not directory):
        raise DataError(output, "already exists", remedy="give another path or --overwrite")
    return parts


def start_anew_without(found: bool, plan: Path) -> None:
    """Drops the plan of an attempt that failed before it made anything: what it was told may then be changed.

    Args:
        found: something of it can be resumed.
        plan: its plan's file.
    """
    if not found:
        plan.unlink(missing_ok=True)
