"""Reading the lines of a corpus as documents, from any place in it and without parsing what comes before."""

from __future__ import annotations

import bisect
import contextlib
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..core.errors import DataError
from ..core.files import decode_line, open_binary
from .records import Document, DocumentParser

_JUMP = 4096
"""Documents from which on it is worth opening a file anew instead of reading over their lines."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document begins, so that a reader can go there at once.

    Args:
        position: of the document, over all files, from 0.
        file: which of the corpus's files, from 0.
        offset: bytes before its line, in the file as unpacked.
        lines: lines before it in that file.
    """

    position: int
    file: int
    offset: int
    lines: int


Located = tuple[tuple[int, int, int], Document]
"""`(file, offset, lines before)` as in `Place`, and the document."""


def walk(
    files: Sequence[Path],
    parser: DocumentParser,
    start: int = 0,
    stop: int | None = None,
    places: Sequence[Place] = (),
    on_error: Callable[[DataError], None] | None = None,
) -> Generator[Located, int | None, None]:
    """Yields documents and where they are; a position that is sent to it becomes the next one wanted.

    Args:
        files: of the corpus, in reading order.
        parser: how lines become documents.
        start: position of the first document wanted; lines before it are not even decoded.
        stop: position after the last document wanted.
        places: known places, ascending; reading begins at the last one that is not after `start`.
        on_error: gets the fault of a bad line, which is then passed over; left out, the fault is raised.
    """
    place = nearest(places, start)
    position, offset, lines = place.position, place.offset, place.lines
    for index in range(place.file, len(files)):
        file = files[index]
        try:
            for raw in _raw_lines(file, offset, lines):
                begin, offset, lines = offset, offset + len(raw), lines + 1
                if raw[:1] != b"{":
                    if begin == 0:
                        raw = raw.removeprefix(BOM_UTF8)
                    if not raw.strip():
                        continue
                position += 1
                if position <= start:
                    continue
                if stop is not None and position > stop:
                    return
                try:
                    document = parser.parse(file, lines, decode_line(file, lines, raw))
                except DataError as error:
                    if on_error is None:
                        raise
                    on_error(error)
                    continue
                start = (yield (index, begin, lines - 1), document) or start
        except _Unreadable as error:
            if on_error is None:
                raise
            on_error(error)
        offset = lines = 0


def nearest(places: Sequence[Place], position: int) -> Place:
    """The last of `places` (ascending) that is not after `position`; the beginning if there is none."""
    before = bisect.bisect_right(places, position, key=lambda place: place.position)
    return places[before - 1] if before else Place(0, 0, 0, 0)


class StretchReader:
    """Reads stretches of a corpus; cheapest in ascending order, as a `.gz` file is then unpacked once.

    Args:
        files: of the corpus, in reading order.
        parser: how lines become documents.
        places: known places, ascending.
    """

    def __init__(self, files: Sequence[Path], parser: DocumentParser, places: Sequence[Place] = ()) -> None:
        self._files, self._parser, self._places = files, parser, places
        self._walk: Generator[Located, int | None, None] | None = None
        self._at = self._file = 0

    def read(self, start: int, stop: int) -> list[Document]:
        """The documents from position `start` to `stop`; fewer where the corpus ends before."""
        if stop <= start:
            return []
        first = None
        if self._walk is not None and not self._far(start):
            first = next(self._walk, None) if start == self._at else _send(self._walk, start)
        if first is None:
            self.close()
            self._walk = walk(self._files, self._parser, start, None, self._places)
            first = next(self._walk, None)
        if first is None:
            return []
        found = [first, *islice(self._walk, stop - start - 1)]
        self._at, self._file = start + len(found), found[-1][0][0]
        return [document for _, document in found]

    def _far(self, start: int) -> bool:
        place = nearest(self._places, start)
        if start < self._at:
            return True
        packed = place.file == self._file and self._files[place.file].suffix == ".gz"
        return place.position - self._at > _JUMP and not packed

    def close(self) -> None:
        """Closes the file that is open."""
        if self._walk is not None:
            with contextlib.suppress(ValueError):  # a thread is still in it: the process is being interrupted
                self._walk.close()
            self._walk = None


def _send(documents: Generator[Located, int | None, None], start: int) -> Located | None:
    try:
        return documents.send(start)
    except StopIteration:
        return None


class _Unreadable(DataError):
    """A file that cannot be read to its end."""


def _raw_lines(file: Path, offset: int, lines: int) -> Iterator[bytes]:
    with open_binary(file) as handle:
        try:
            handle.seek(offset)
            for raw in handle:
                lines += 1
                yield raw
        except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError, a cut stream an EOFError
            raise _Unreadable(file, f"cannot be read: {error}", line=lines + 1) from error
