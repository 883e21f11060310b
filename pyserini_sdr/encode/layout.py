"""Names of what lies in an index directory, and holding it against other processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import DataError
from ..core.files import PARTIAL, translate_os_error
from ..core.progress import warn

MANIFEST = "sdr_index.json"
INDEX, DOCID, EMBEDDINGS = "index", "docid", "embeddings.jsonl"
RESULTS = (MANIFEST, INDEX, DOCID, EMBEDDINGS)
"""What an encoding can leave in its directory."""

FOLDER = ".encode"
"""Where an encoding keeps its chunks until it is finished."""

PENDING = ".index.ready"
"""Where a change of an index waits to be moved into place, see `index.replace`."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[int]:
    """Makes a directory if need be and holds it against other processes of ours; the system ends that with the process.

    Yields the handle; a child that inherits it goes on holding the directory.

    Raises:
        DataError: it is a file, cannot be made, or another process holds it.
    """
    if directory.exists() and not directory.is_dir():
        raise DataError(directory, "is a file, cannot make a directory there")
    made = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory, os.O_RDONLY)
    except OSError as error:
        raise translate_os_error(error, directory) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                directory,
                "is being written by another process",
                remedy="wait for it to end, or give another directory",
            ) from error
        except OSError:
            warn(f"{directory}: the file system has no locks; nothing else may write there until this has ended")
        yield handle
    finally:
        os.close(handle)
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty: something was made
                path.rmdir()


def remove_leftovers(directory: Path) -> None:
    """Deletes temporary files and folders of results that a killed process left in a directory."""
    for name in (*RESULTS, FOLDER):
        for leftover in directory.glob(f".{name.removeprefix('.')}{PARTIAL}-*"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)
