"""Replacing the files of an index directory together, so that they never disagree, whenever the process dies.

New files are written to `DIR/.index.partial`. When all are there and synced, that folder is renamed to
`DIR/.index.ready`: from then on the change is made, and whoever meets the folder (the command itself, or the next one
that opens the index) moves its files into place. Other files of the directory are left alone.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import DataError
from ..core.files import PARTIAL, translate_os_error
from ..encode.layout import DOCID, FOLDER, INDEX, MANIFEST, PENDING, held

WRITING = f".index{PARTIAL}"
_ATTEMPTS, _PAUSE = 50, 0.1


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """Yields an empty folder; the `index`, `docid` and manifest written there become those of `directory` at the end.

    Raises:
        DataError: another process is changing the directory, it holds an unfinished encoding, or cannot be written.
    """
    if (directory / FOLDER).exists():
        raise DataError(directory, "holds an unfinished encoding", remedy="finish it, or give another directory")
    with held(directory):
        writing = directory / WRITING
        try:
            _move(directory)
            shutil.rmtree(writing, ignore_errors=True)  # of a process that was killed
            writing.mkdir()
            yield writing
            for name in (INDEX, DOCID, MANIFEST):
                _sync(writing / name)
            for other in set(writing.iterdir()) - {writing / name for name in (INDEX, DOCID, MANIFEST)}:
                shutil.rmtree(other)
            _sync(writing)
            writing.rename(directory / PENDING)
            _sync(directory)
            _move(directory)
        except OSError as error:
            raise translate_os_error(error, directory) from error
        finally:
            shutil.rmtree(writing, ignore_errors=True)


def complete(directory: Path) -> None:
    """Moves the files of a finished change into place, if a process died before it had done so itself."""
    for attempt in range(_ATTEMPTS):
        if not (directory / PENDING).exists():
            return
        try:
            with held(directory):
                _move(directory)
        except OSError as error:
            raise DataError(
                directory,
                f"holds a finished change that is not in place yet, and cannot be written ({error.strerror})",
                remedy="run `python -m pyserini_sdr.index info --index DIR` as a user who may write there",
            ) from error
        except DataError:  # the process that made the change is at it
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(_PAUSE)


def _move(directory: Path) -> None:
    pending = directory / PENDING
    if not pending.exists():
        return
    for name in (INDEX, DOCID, MANIFEST):
        if (pending / name).exists():
            (pending / name).replace(directory / name)
    _sync(directory)
    shutil.rmtree(pending)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
