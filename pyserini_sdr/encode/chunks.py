"""Chunks: the unit of loss. A chunk is a vector file and an id file, valid once its checksum record is there.

DIR/.encode/plan.json        what is being encoded with what; a resumed run must have the same plan
DIR/.encode/corpus.json      what the check of the corpus found, see `scan`
DIR/.encode/00000.f32        vectors, row-major float32 (.f16: float16)
DIR/.encode/00000.ids        one id per line
DIR/.encode/00000.json       count, tokens and checksums, written last
DIR/.encode/00000.claim      only under several processes: one of them is at it
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, SdrError
from ..core.files import PARTIAL, atomic_file, discard, read_object, write_json
from ..core.plan import hold_to_plan
from ..core.runtime import available_cores
from .layout import FOLDER
from .options import ChunkDtype

__all__ = ["FOLDER", "ChunkStore"]

_PLAN = "plan.json"


class ChunkStore:
    """The chunks of one encoding run.

    Args:
        directory: the output directory; chunks live in a hidden folder inside it until they are assembled.
        dimension: size of a vector.
        dtype: of the stored vectors; float16 rounds them and takes half the space.
    """

    def __init__(self, directory: Path, dimension: int, dtype: ChunkDtype = "float32") -> None:
        self.folder, self.dimension = directory / FOLDER, dimension
        self.dtype = np.dtype(dtype)
        self._suffix = f"f{8 * self.dtype.itemsize}"

    def recorded_plan(self) -> dict[str, Any] | None:
        """The plan of the run that was interrupted here; None if there is none."""
        path = self.folder / _PLAN
        return read_object(path, remedy="--overwrite to start anew") if path.exists() else None

    def open(self, plan: Mapping[str, Any]) -> None:
        """Starts a run, or resumes one with the same plan.

        Raises:
            DataError: there are chunks of another plan; says what differs.
        """
        hold_to_plan(self.folder / _PLAN, plan, output=self.folder.parent, what="an unfinished encoding")

    def write(self, number: int, ids: Sequence[str], vectors: np.ndarray, tokens: int | None = None) -> None:
        """Stores a chunk: files first, then the record that makes it valid.

        Args:
            number: of the chunk, from 0.
            ids: one for each vector.
            vectors: (n, dim) float32.
            tokens: how many were encoded, if that is known.

        Raises:
            SdrError: a value that float16 cannot hold.
        """
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(vectors, dtype=self.dtype)
        if self.dtype == np.float16 and not np.isfinite(stored).all():
            raise SdrError("--chunk-dtype float16: a vector has values beyond 65504; use float32")
        text = "".join(f"{id}\n" for id in ids).encode()
        raw = memoryview(stored).cast("B") if stored.size else b""
        for suffix, content in ((self._suffix, raw), ("ids", text)):
            with atomic_file(self._path(number, suffix), "wb") as handle:
                handle.write(content)
        sums = {self._suffix: hashlib.sha256(raw).hexdigest(), "ids": hashlib.sha256(text).hexdigest()}
        write_json(self._path(number, "json"), {"count": len(ids), "tokens": tokens, **sums})

    def has_record(self, number: int) -> bool:
        """Whether a chunk has been written; whether it is whole is not looked at."""
        return self._path(number, "json").exists()

    def is_done(self, number: int, count: int) -> bool:
        """Whether a chunk is there, whole and undamaged; a damaged one counts as not there."""
        if not self.has_record(number):
            return False
        try:
            self._read(number, count)
        except DataError:
            return False
        return True

    def settle(self, counts: Sequence[int]) -> list[bool]:
        """Which chunks are there and whole; what a killed or damaged run left otherwise is removed."""
        for leftover in self.folder.glob(f".*{PARTIAL}-*"):
            leftover.unlink(missing_ok=True)
        for claim in self.folder.glob("*.claim"):
            claim.unlink(missing_ok=True)
        with ThreadPoolExecutor(min(4, available_cores())) as pool:  # checksums are made without the interpreter
            done = list(pool.map(self.is_done, range(len(counts)), counts))
        for number, whole in enumerate(done):
            if not whole:
                self._path(number, "json").unlink(missing_ok=True)
        return done

    def claim(self, number: int) -> bool:
        """Takes a chunk for this process; False if another one has it."""
        try:
            os.close(os.open(self._path(number, "claim"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def tokens(self, numbers: Sequence[int]) -> int | None:
        """Tokens of chunks together; None if that was not counted."""
        counted = [read_object(self._path(number, "json")).get("tokens") for number in numbers]
        return None if not counted or None in counted else sum(counted)

    def _read(self, number: int, count: int) -> tuple[bytes, bytes]:
        record = read_object(self._path(number, "json"), remedy="--overwrite to start anew")
        contents = []
        for suffix in (self._suffix, "ids"):
            path = self._path(number, suffix)
            try:
                content = path.read_bytes()
            except OSError as error:
                raise DataError(path, f"cannot be read: {error.strerror}") from error
            if hashlib.sha256(content).hexdigest() != record.get(suffix):
                raise DataError(path, "does not match its checksum", remedy="run the command again")
            contents.append(content)
        vectors, ids = contents
        size = count * self.dimension * self.dtype.itemsize
        if record.get("count") != count or len(vectors) != size or ids.count(b"\n") != count:
            raise DataError(
                self._path(number, "json"), f"chunk holds {record.get('count')} documents, expected {count}"
            )
        return vectors, ids

    def read_all(self, counts: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
        """Yields `(float32 vector bytes, id bytes)` of every chunk in order, checked; one chunk in memory at a time."""
        for number, count in enumerate(counts):
            vectors, ids = self._read(number, count)
            if self.dtype != np.float32:
                vectors = np.frombuffer(vectors, self.dtype).astype(np.float32).tobytes()
            yield vectors, ids

    def clear(self) -> None:
        """Deletes everything of a run but the check of its corpus."""
        (self.folder / _PLAN).unlink(missing_ok=True)
        for path in self.folder.glob("*"):
            if path.stem.isdigit():
                path.unlink()

    def remove(self) -> None:
        """Deletes the folder, of which nothing is left under its name from the first moment on."""
        if not self.folder.exists():
            return
        discard(self.folder)

    def _path(self, number: int, suffix: str) -> Path:
        return self.folder / f"{number:05d}.{suffix}"
