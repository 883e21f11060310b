"""A corpus, streamed: which files it consists of, its documents one by one, its summary."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DataError
from ..core.files import PARTIAL, read_lines
from ..core.progress import bar
from .ids import IdHashes, hash_id
from .records import Document, DocumentParser

__all__ = [
    "CorpusSummary",
    "Document",
    "corpus_files",
    "duplicate_ids",
    "iter_documents",
    "iter_located",
    "scan_corpus",
]


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
    parser = parser or DocumentParser()
    position = 0
    for file in corpus_files(path):
        lines = read_lines(file)
        while True:
            try:
                number, line = next(lines, (0, ""))
                if not number or (stop is not None and position >= stop):
                    break
                if not line.strip():
                    continue
                position += 1
                document = parser.parse(file, number, line) if position > start else None
            except DataError as error:  # a fault of encoding ends the file: `lines` is exhausted after it
                if on_error is None:
                    raise
                on_error(error)
                continue
            if document is not None:
                yield file, number, document


def iter_documents(
    path: str | os.PathLike[str],
    *,
    docid_field: str | None = None,
    fields: Sequence[str] | None = None,
    delimiter: str = "\n",
    start: int = 0,
    stop: int | None = None,
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

    Raises:
        DataError: with file and line: invalid JSON or UTF-8; an id that is missing, empty, not a string or integer, or
            contains white space; a missing or empty text.
    """
    parser = DocumentParser(docid_field, fields, delimiter)
    for _, _, document in iter_located(path, parser, start=start, stop=stop):
        yield document


@dataclass(frozen=True)
class CorpusSummary:
    """What one pass over a corpus tells.

    Args:
        count: number of documents.
        bytes: size of the files as stored.
        sha256: over ids and texts in reading order; the same however the corpus is split into files or compressed.
        files: the files, in reading order.
    """

    count: int
    bytes: int
    sha256: str
    files: list[Path]


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
    digest, ids = hashlib.sha256(), IdHashes()
    documents = iter_located(path, parser)
    for _, _, document in bar(documents, unit="doc", desc="scan corpus") if progress else documents:
        ids.add(document.id)
        text = (
            document.contents if fields is None or document.title is None else f"{document.title}\n{document.contents}"
        )
        raw = text.encode("utf-8")
        digest.update(b"%s %d\n%s\n" % (document.id.encode("utf-8"), len(raw), raw))
    if not len(ids):
        raise DataError(files[0] if len(files) == 1 else path, "the corpus has no documents")
    for id, first, second in duplicate_ids(path, parser, ids.repeated()):
        raise duplicate_error(id, first, second)
    return CorpusSummary(len(ids), sum(file.stat().st_size for file in files), digest.hexdigest(), files)


Place = tuple[Path, int]


def duplicate_error(id: str, first: Place, second: Place) -> DataError:
    """The fault of a document id that occurs again; names both lines."""
    place = f"{first[0]}:{first[1]}"
    return DataError(second[0], f"duplicate document id {id!r}, first at {place}", line=second[1], remedy="remove one")


def duplicate_ids(
    path: str | os.PathLike[str], parser: DocumentParser, suspects: set[int]
) -> Iterator[tuple[str, Place, Place]]:
    """Yields `(id, first place, later place)` of ids that occur again, reading the corpus a second time.

    Args:
        path: see `corpus_files`.
        parser: how lines become documents.
        suspects: id hashes that occur more than once; nothing is read if there are none.
    """
    if not suspects:
        return
    first: dict[str, Place] = {}
    for file, number, document in iter_located(path, parser, on_error=lambda error: None):
        if hash_id(document.id) in suspects:
            if document.id in first:
                yield document.id, first[document.id], (file, number)
            else:
                first[document.id] = (file, number)
