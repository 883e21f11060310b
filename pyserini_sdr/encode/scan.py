"""The check of a corpus before it is encoded, kept with the run so that resuming need not repeat it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.files import read_object, write_json
from ..core.progress import note
from ..data.corpus import CorpusSummary, corpus_files, scan_corpus
from ..data.reading import Place
from .options import InputOptions

_RECORD = "corpus.json"
_RECENT = 2.0  # seconds in which a file system may give two changes the same time


def check_corpus(folder: Path, source: InputOptions) -> CorpusSummary:
    """Reads the corpus once, checks all of it and writes down in `folder` what was found.

    A record is believed, and nothing read, while size, inode and times of every file are those of the record.
    """
    files = corpus_files(source.corpus)
    before = {"reading": _reading(source), "files": _stamps(files)}
    settled = all(time.time() - 1e-9 * max(stamp[2:4]) > _RECENT for stamp in before["files"])
    record = _record(folder)
    if record is not None and record["settled"] and all(record[key] == before[key] for key in before):
        note(f"corpus: not changed since it was checked ({record['count']:,} documents)")
        return _summary(record, files)
    summary = scan_corpus(source.corpus, **before["reading"])
    if _stamps(summary.files) != before["files"]:
        raise DataError(source.corpus, "has been changed while it was read", remedy="run the command again")
    facts = {**asdict(summary), "places": [astuple(place) for place in summary.places]}
    del facts["files"]
    write_json(folder / _RECORD, {**before, "settled": settled, **facts})
    return summary


def checked_corpus(folder: Path, source: InputOptions) -> CorpusSummary:
    """What the first process found, for the others."""
    return _summary(read_object(folder / _RECORD), corpus_files(source.corpus))


class Unchanged:
    """Called while a corpus is being encoded: raises a `DataError` if a file of it is not as when it was checked.

    Args:
        folder: where the record of the check lies.
        corpus: for the message.
    """

    def __init__(self, folder: Path, corpus: Path) -> None:
        self._corpus, self._stamps = corpus, read_object(folder / _RECORD)["files"]
        self._files = [Path(stamp[0]) for stamp in self._stamps]

    def __call__(self) -> None:
        if not all(file.exists() for file in self._files) or _stamps(self._files) != self._stamps:
            raise DataError(
                self._corpus,
                "has been changed while it was being encoded",
                remedy="restore it, or encode it anew (--overwrite)",
            )


def _reading(source: InputOptions) -> dict[str, Any]:
    return {"docid_field": source.docid_field, "fields": source.fields, "delimiter": source.delimiter}


def _stamps(files: Sequence[Path]) -> list[list[Any]]:
    stamps = []
    for file in files:
        found = file.stat()
        stamps.append([str(file.absolute()), found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino])
    return stamps


def _record(folder: Path) -> dict[str, Any] | None:
    try:
        record = read_object(folder / _RECORD)
    except DataError:  # none, or damaged: the corpus is read again
        return None
    names = {"reading", "files", "settled", "count", "bytes", "sha256", "id_bytes", "places"}
    return record if names <= record.keys() else None


def _summary(record: dict[str, Any], files: list[Path]) -> CorpusSummary:
    return CorpusSummary(
        record["count"],
        record["bytes"],
        record["sha256"],
        files,
        record["id_bytes"],
        [Place(*place) for place in record["places"]],
    )
