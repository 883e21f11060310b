"""Chunks: the unit of loss. A chunk is a vector file and an id file, valid once its checksum record is there.

DIR/.encode/plan.json        what is being encoded with what; a resumed run must have the same plan
DIR/.encode/00000.f32        vectors, row-major float32
DIR/.encode/00000.ids        one id per line
DIR/.encode/00000.json       count and checksums, written last
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.files import PARTIAL, atomic_file, read_object, write_json
from ..core.plan import hold_to_plan

FOLDER = ".encode"
_PLAN = "plan.json"


class ChunkStore:
    """The chunks of one encoding run.

    Args:
        directory: the output directory; chunks live in a hidden folder inside it until they are assembled.
        dimension: size of a vector.
    """

    def __init__(self, directory: Path, dimension: int) -> None:
        self.folder, self.dimension = directory / FOLDER, dimension

    def open(self, plan: Mapping[str, Any]) -> None:
        """Starts a run, or resumes one with the same plan.

        Raises:
            DataError: there are chunks of another plan; says what differs.
        """
        hold_to_plan(self.folder / _PLAN, plan, output=self.folder.parent, what="an unfinished encoding")

    def write(self, number: int, ids: Sequence[str], vectors: np.ndarray) -> None:
        """Stores a chunk: files first, then the record that makes it valid."""
        raw = np.ascontiguousarray(vectors, dtype=np.float32).tobytes()
        text = "".join(f"{id}\n" for id in ids).encode()
        for suffix, content in (("f32", raw), ("ids", text)):
            with atomic_file(self._path(number, suffix), "wb") as handle:
                handle.write(content)
        record = {"count": len(ids), "f32": hashlib.sha256(raw).hexdigest(), "ids": hashlib.sha256(text).hexdigest()}
        write_json(self._path(number, "json"), record)

    def is_done(self, number: int, count: int) -> bool:
        """Whether a chunk is there, whole and undamaged; a damaged one counts as not there."""
        if not self._path(number, "json").exists():
            return False
        try:
            self._read(number, count)
        except DataError:
            return False
        return True

    def _read(self, number: int, count: int) -> tuple[bytes, bytes]:
        record = read_object(self._path(number, "json"), remedy="--overwrite to start anew")
        contents = []
        for suffix in ("f32", "ids"):
            path = self._path(number, suffix)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DataError(path, f"cannot be read: {error.strerror}") from error
            if hashlib.sha256(content).hexdigest() != record.get(suffix):
                raise DataError(path, "does not match its checksum", remedy="run the command again")
            contents.append(content)
        vectors, ids = contents
        if record.get("count") != count or len(vectors) != count * self.dimension * 4 or ids.count(b"\n") != count:
            raise DataError(
                self._path(number, "json"), f"chunk holds {record.get('count')} documents, expected {count}"
            )
        return vectors, ids

    def read_all(self, counts: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
        """Yields `(vector bytes, id bytes)` of every chunk in order, checked; one chunk in memory at a time."""
        for number, count in enumerate(counts):
            yield self._read(number, count)

    def remove(self, results: Iterable[str]) -> None:
        """Deletes all chunks, and temporary files of the named results that a killed process left beside them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in results:
            for leftover in self.folder.parent.glob(f".{name}{PARTIAL}-*"):
                leftover.unlink(missing_ok=True)

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:05d}.{suffix}"
