"""The ids of an index, read from its `docid` file without a Python string for each of them in memory."""

from __future__ import annotations

import mmap
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from ..core.errors import DataError
from ..core.files import require_file

_BLOCK = 1 << 24
_LARGE = 32 << 20
"""Bytes of ids up to which a list of strings, some four times as large, is worth its speed."""


class DocIds(Sequence[str]):
    """`docids[position]` → id; 8 bytes of memory per document, the text stays in the mapped file.

    Args:
        path: one id per line; `\\r\\n` and a byte order mark are read as `read_lines` reads them.

    Raises:
        DataError: an empty line, with its number; later, where an id is read that is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = require_file(path)
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            self._text: mmap.mmap | bytes = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        self._ends = _line_ends(self._text)
        self._first = len(BOM_UTF8) if self._text[:3] == BOM_UTF8 else 0
        ends = np.frombuffer(self._ends, np.int64) if self._ends else np.empty(0, np.int64)
        for position in np.flatnonzero(np.diff(ends, prepend=self._first - 1) < 3).tolist():
            if not self._raw(position):
                raise DataError(path, "empty document id", line=position + 1)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, position: int) -> str: ...
    @overload
    def __getitem__(self, position: slice) -> list[str]: ...
    def __getitem__(self, position: int | slice) -> str | list[str]:
        if isinstance(position, slice):
            return [self._id(n) for n in range(*position.indices(len(self)))]
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        return self._id(int(position) % len(self))

    def __iter__(self) -> Iterator[str]:
        return map(self._id, range(len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(str.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _raw(self, position: int) -> bytes:
        start = self._ends[position - 1] + 1 if position else self._first
        return self._text[start : self._ends[position]].rstrip(b"\r")

    def _id(self, position: int) -> str:
        raw = self._raw(position)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(self.path, f"not UTF-8 ({raw[:40]!r})", line=position + 1) from error


def _line_ends(text: mmap.mmap | bytes) -> array[int]:
    """Where lines end; the last may lack its line feed."""
    ends = array("q")
    for start in range(0, len(text), _BLOCK):
        block = np.frombuffer(text[start : start + _BLOCK], np.uint8)
        ends.frombytes((np.flatnonzero(block == 10) + start).astype(np.int64).tobytes())
    if len(text) and text[-1] != 10:
        ends.append(len(text))
    return ends


def read_docids(path: Path) -> Sequence[str]:
    """The ids of an index: a list, or a `DocIds` where the file is so large that the strings would weigh."""
    docids = DocIds(path)
    return docids if path.stat().st_size > _LARGE else list(docids)
