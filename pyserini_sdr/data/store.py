"""Random access to the texts of a corpus by id, without holding the texts in memory."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from array import array
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ..core.errors import DataError
from ..core.files import decode_line, translate_os_error
from ..core.progress import bar
from .corpus import corpus_files, duplicate_error, duplicate_ids
from .ids import IdHashes, IdSet, hash_id
from .records import DocumentParser


class DocumentStore:
    """`store[id]` → text, `id in store`, `len(store)`; 20 bytes of memory per document.

    Plain files are read where they lie; `.gz` files are unpacked once into unnamed temporary files, which take disk
    space (in `TMPDIR`), not memory. Reads are positional, so that a store may be used from several threads and after a
    fork; pickling it makes the other process build it anew.

    Args:
        corpus: see `corpus_files`; documents are read as `iter_documents` reads them without `fields`.
        progress: show a bar while the corpus is indexed.

    Raises:
        DataError: as `iter_documents`, or a duplicate id.
    """

    def __init__(self, corpus: str | os.PathLike[str], *, progress: bool = True) -> None:
        self.corpus = Path(corpus)
        self._parser = DocumentParser()
        self._files = corpus_files(corpus)
        self._handles: list[IO[bytes]] = [_seekable(file) for file in self._files]
        ids, offsets, files = IdHashes(), array("Q"), array("I")
        entries = self._entries()
        for id, offset, index in bar(entries, unit="doc", desc="index texts") if progress else entries:
            ids.add(id)
            offsets.append(offset)
            files.append(index)
        for id, first, second in duplicate_ids(corpus, self._parser, ids.repeated()):
            raise duplicate_error(id, first, second)
        order = np.argsort(ids.array(), kind="stable")
        self._hashes = ids.array()[order]
        self._ids = IdSet(self._hashes)
        self._offsets = np.frombuffer(offsets, np.uint64)[order] if offsets else np.empty(0, np.uint64)
        self._file_of = np.frombuffer(files, np.uint32)[order] if files else np.empty(0, np.uint32)

    def _entries(self) -> Iterator[tuple[str, int, int]]:
        """Yields `(id, byte offset of its line, position of its file)`."""
        for index, (file, handle) in enumerate(zip(self._files, self._handles, strict=True)):
            offset = handle.tell()
            for number, raw in enumerate(handle, start=1):
                if raw.strip():
                    yield self._parser.parse(file, number, decode_line(file, number, raw)).id, offset, index
                offset += len(raw)

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, id: object) -> bool:
        """By hash, see `IdSet`."""
        return id in self._ids

    def __getitem__(self, id: str) -> str:
        """The text of a document; `DataError` if the corpus lacks it."""
        position = self._ids.find(id)
        while position is not None and position < len(self) and self._hashes[position] == np.uint64(hash_id(id)):
            index = int(self._file_of[position])
            raw = _read_line(self._handles[index].fileno(), int(self._offsets[position]))
            document = self._parser.parse(self._files[index], 0, raw.decode("utf-8"))
            if document.id == id:
                return document.contents
            position += 1
        raise DataError(self.corpus, f"no document {id!r} in the corpus")

    def missing(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that the corpus lacks, each once, in the given order."""
        return [id for id in dict.fromkeys(ids) if id not in self]

    def __reduce__(self):
        return _reopen, (self.corpus,)


def _reopen(corpus: Path) -> DocumentStore:
    return DocumentStore(corpus, progress=False)


def _seekable(file: Path) -> IO[bytes]:
    """An open file of the plain lines of `file`, positioned after a byte order mark."""
    try:
        handle = file.open("rb") if file.suffix != ".gz" else _unpacked(file)
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror or error}") from error
    if handle.read(len(BOM_UTF8)) != BOM_UTF8:
        handle.seek(0)
    return handle


def _unpacked(file: Path) -> IO[bytes]:
    target = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the store)
    with gzip.open(file, "rb") as packed:
        while True:
            try:
                block = packed.read(1 << 20)
            except (EOFError, zlib.error) as error:
                raise DataError(file, f"cannot be read: {error}") from error
            if not block:
                break
            try:
                target.write(block)
            except OSError as error:
                raise translate_os_error(error, tempfile.gettempdir()) from error
    target.flush()
    target.seek(0)
    return target


def _read_line(descriptor: int, offset: int) -> bytes:
    """The bytes from `offset` to the end of the line."""
    parts, size = [], 1 << 13
    while block := os.pread(descriptor, size, offset):
        end = block.find(b"\n")
        if end >= 0:
            parts.append(block[:end])
            break
        parts.append(block)
        offset += len(block)
        size *= 2
    return b"".join(parts)
