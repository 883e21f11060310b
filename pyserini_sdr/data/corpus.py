"""A corpus, streamed: which files it consists of, its documents one by one, its summary."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.files import PARTIAL
from ..core.progress import bar
from .ids import hash_id, repeated
from .reading import Place, walk
from .records import Document, DocumentParser

__all__ = [
    "CorpusSummary",
    "Document",
    "corpus_files",
    "duplicate_error",
    "duplicate_ids",
    "iter_documents",
    "iter_located",
    "scan_corpus",
]

_BLOCK = 1024
"""Documents between two remembered places."""


def corpus_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files of a corpus, in reading order.

    Args:
        path: one file; a directory of `*.jsonl[.gz]`, read in the order of their names (failing these, of
            `docs*.json[.gz]`, as Anserini's converters name them); or a collection directory, which holds `corpus/`
            or `corpus.jsonl[.gz]`.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(path, "no such corpus (a .jsonl file, a directory of them, or a collection directory)")
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        if (path / name).is_file() and not (path / "corpus").is_dir():
            return [path / name]
    folder = path / "corpus" if (path / "corpus").is_dir() else path
    for patterns in (("*.jsonl", "*.jsonl.gz"), ("docs*.json", "docs*.json.gz")):
        found = {file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}
        files = sorted((f for f in found if PARTIAL not in f.name and not f.name.startswith(".")), key=lambda f: f.name)
        if files:
            return files
    raise DataError(folder, "no corpus here: no *.jsonl or *.jsonl.gz file", remedy="give the file or its directory")


def iter_located(
    path: str | os.PathLike[str],
    parser: DocumentParser | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
    on_error: Callable[[DataError], None] | None = None,
) -> Iterator[tuple[Path, int, Document]]:
    """Yields `(file, line number, document)`; memory does not grow with the corpus.

    Args:
        path: see `corpus_files`.
        parser: how lines become documents.
        start: position of the first document wanted, over all files, from 0; those before it are not parsed.
        stop: position after the last document wanted.
        on_error: gets the fault of a bad line, which is then passed over; left out, the fault is raised.
    """
    files = corpus_files(path)
    for place, document in walk(files, parser or DocumentParser(), start, stop, on_error=on_error):
        yield files[place[0]], place[2] + 1, document


def iter_documents(
    path: str | os.PathLike[str],
    *,
    docid_field: str | None = None,
    fields: Sequence[str] | None = None,
    delimiter: str = "\n",
    start: int = 0,
    stop: int | None = None,
    places: Sequence[Place] = (),
) -> Iterator[Document]:
    """Yields the documents of a corpus, streamed.

    By default the text is `contents`, or BEIR's `title` + one space + `text`. With `fields` it is read as stock
    `pyserini.encode input --fields F1 F2 --delimiter D` reads it; `Document.contents` and `Document.title` then carry
    the fields `text` and `title` separately, and an empty title stays empty.

    Args:
        path: see `corpus_files`.
        docid_field: key of the id (default: the first of `id`, `_id`, `docid` that is there).
        fields: fields to read, `text` among them.
        delimiter: what separates the fields inside `contents`.
        start: position of the first document wanted, from 0.
        stop: position after the last document wanted.
        places: of a `CorpusSummary` of the same files; reading then begins near `start`.

    Raises:
        DataError: with file and line: invalid JSON or UTF-8; an id that is missing, empty, not a string or integer, or
            contains white space; a missing or empty text.
    """
    parser = DocumentParser(docid_field, fields, delimiter)
    for _, document in walk(corpus_files(path), parser, start, stop, places):
        yield document


@dataclass(frozen=True)
class CorpusSummary:
    """What one pass over a corpus tells.

    Args:
        count: number of documents.
        bytes: size of the files as stored.
        sha256: over ids and texts in reading order; the same however the corpus is split into files or compressed.
        files: the files, in reading order.
        id_bytes: size of all ids, with one byte more for each.
        places: of every 1,024th document.
    """

    count: int
    bytes: int
    sha256: str
    files: list[Path]
    id_bytes: int = 0
    places: Sequence[Place] = ()


def scan_corpus(
    path: str | os.PathLike[str],
    *,
    docid_field: str | None = None,
    fields: Sequence[str] | None = None,
    delimiter: str = "\n",
    progress: bool = True,
) -> CorpusSummary:
    """Reads a corpus once and checks all of it; needs 8 bytes per document (24 for a moment at the end).

    Raises:
        DataError: as `iter_documents`, a duplicate id (both lines are named), or no document at all.
    """
    parser = DocumentParser(docid_field, fields, delimiter)
    files = corpus_files(path)
    digest, hashes, places, id_bytes = hashlib.sha256(), array("q"), [], 0
    block: list[bytes] = []
    held = 0
    with bar(unit="doc", desc="scan corpus") if progress else contextlib.nullcontext() as documents:
        for count, (place, document) in enumerate(walk(files, parser)):
            if count % _BLOCK == 0:
                places.append(Place(count, *place))
                if documents is not None:
                    documents.update(len(hashes) - documents.n)
            if held > 1 << 16:  # large pieces are hashed faster than small ones
                digest.update(b"".join(block))
                block.clear()
                held = 0
            hashes.append(hash(document.id))  # compared in this process only, and equal ones looked at again
            id, text = document.id.encode("utf-8"), document.contents
            raw = (text if fields is None or document.title is None else f"{document.title}\n{text}").encode("utf-8")
            id_bytes += len(id) + 1
            held += len(raw)
            block.append(b"%s %d\n%s\n" % (id, len(raw), raw))
        digest.update(b"".join(block))
        if documents is not None:
            documents.update(len(hashes) - documents.n)
    if not hashes:
        raise DataError(files[0] if len(files) == 1 else path, "the corpus has no documents")
    for id, first, second in duplicate_ids(path, parser, repeated(np.frombuffer(hashes, np.int64)), hash):
        raise duplicate_error(id, first, second)
    size = sum(file.stat().st_size for file in files)
    return CorpusSummary(len(hashes), size, digest.hexdigest(), files, id_bytes, places)


Line = tuple[Path, int]
"""A file and a line in it, from 1."""


def duplicate_error(id: str, first: Line, second: Line) -> DataError:
    """The fault of a document id that occurs again; names both lines."""
    place = f"{first[0]}:{first[1]}"
    return DataError(second[0], f"duplicate document id {id!r}, first at {place}", line=second[1], remedy="remove one")


def duplicate_ids(
    path: str | os.PathLike[str],
    parser: DocumentParser,
    suspects: set[int],
    hashed: Callable[[str], int] = hash_id,
) -> Iterator[tuple[str, Line, Line]]:
    """Yields `(id, first place, later place)` of ids that occur again, reading the corpus a second time.

    Args:
        path: see `corpus_files`.
        parser: how lines become documents.
        suspects: id hashes that occur more than once; nothing is read if there are none.
        hashed: the function that made them.
    """
    if not suspects:
        return
    first: dict[str, Line] = {}
    for file, number, document in iter_located(path, parser, on_error=lambda error: None):
        if hashed(document.id) in suspects:
            if document.id in first:
                yield document.id, first[document.id], (file, number)
            else:
                first[document.id] = (file, number)
