"""One or several indexes searched as one: flat ones exactly by our kernel, others by FAISS."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import require_directory
from ..encode.chunks import FOLDER
from ..encode.engine import DOCID, INDEX
from ..index import faiss_files
from ..index.flat import FlatFile, open_flat
from ..index.make import faiss_threads
from ..index.replace import PENDING, WRITING
from ..index.store import Index, state_of
from ..model.device import resolve_device
from .exact import ExactSearch
from .found import Hits

_TIE_MARGIN = 32
"""Hits fetched from FAISS beyond those asked for, so that ties at the cut are decided by document id and not by it."""
_FAISS_QUERIES, _FAISS_BYTES = 1024, 256 << 20
"""Queries that FAISS gets at a time, at most; memory for what it finds."""


def index_directories(paths: Sequence[Path]) -> list[Path]:
    """The index directories that paths stand for: each for itself, or for the shards in it, in the order of their
    numbers."""
    found: list[Path] = []
    for path in paths:
        directory = require_directory(path, "index directory")
        if not (directory / INDEX).exists():
            shards = [entry for entry in directory.iterdir() if _is_index(entry)]
            if shards:
                found += sorted(shards, key=_natural)
                continue
        found.append(directory)
    return found


def _is_index(path: Path) -> bool:
    """Whether it holds an index, or (so that none is left out without a word) an unfinished one."""
    there = (path / INDEX).is_file() and (path / DOCID).is_file()
    begun = any((path / name).is_dir() for name in (FOLDER, WRITING, PENDING))
    return not path.name.startswith(".") and (there or begun)


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts `shard10` behind `shard2`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name) if part]


class Part(Protocol):
    """Indexes that are searched together; positions count through them."""

    def __len__(self) -> int: ...
    def batch_size(self, depth: int) -> int:
        """Queries at a time that make good use of it."""

    def search(self, vectors: np.ndarray, depth: int) -> list[Hits]:
        """At least the `depth` best documents for every query, best first."""

    def docids(self, positions: np.ndarray) -> list[str]: ...
    def take(self, positions: np.ndarray) -> np.ndarray:
        """Vectors (n, dim) float32."""


class FlatPart:
    """Flat indexes.

    Args:
        indexes: with their files.
        device: see `ExactSearch`.
        threads: see `ExactSearch`.
        memory: see `ExactSearch`.
    """

    def __init__(
        self, indexes: Sequence[tuple[Index, FlatFile]], device: torch.device, threads: int, memory: int | None
    ) -> None:
        self._ids = [index.docids for index, _ in indexes]
        self._exact = ExactSearch([file for _, file in indexes], device=device, threads=threads, memory=memory)
        self._starts = np.cumsum([0, *map(len, self._ids)])
        self.batch_size, self.search, self.take = self._exact.batch_size, self._exact.search, self._exact.take

    def __len__(self) -> int:
        return len(self._exact)

    def docids(self, positions: np.ndarray) -> list[str]:
        if len(self._ids) == 1:
            return [self._ids[0][position] for position in positions.tolist()]
        of = np.searchsorted(self._starts, positions, side="right") - 1
        within = positions - self._starts[of]
        return [self._ids[shard][position] for shard, position in zip(of.tolist(), within.tolist(), strict=True)]


class FaissPart:
    """An index of another type.

    Args:
        index: the index.
        threads: of FAISS; 0 is one per core.
    """

    def __init__(self, index: Index, threads: int) -> None:
        self._index, self._threads = index, threads
        self._walk = faiss_files.parameters_of(index.faiss_index).get("ef_search")
        self.take = index.take

    def __len__(self) -> int:
        return len(self._index)

    def batch_size(self, depth: int) -> int:
        return max(1, min(_FAISS_QUERIES, _FAISS_BYTES // (16 * (min(depth, len(self)) + _TIE_MARGIN))))

    def search(self, vectors: np.ndarray, depth: int) -> list[Hits]:
        if not np.isfinite(vectors).all():
            raise SdrError("the encoder gave NaN or infinite values for a query; is the checkpoint damaged?")
        margin = _TIE_MARGIN
        if self._walk is not None:  # a graph is walked further for more hits, and other documents found than by stock
            margin = min(margin, max(0, self._walk - depth))
        with faiss_threads(self._threads):  # of this thread, whichever it is
            scores, positions = self._index.search(vectors, min(depth + margin, len(self)))
        there = positions >= 0  # an approximate index may find fewer
        if not np.isfinite(scores[there]).all():
            raise DataError(
                self._index.directory / INDEX,
                "gives scores that are not finite",
                remedy="python -m pyserini_sdr.index verify tells more",
            )
        return [(s[t], p[t]) for s, p, t in zip(scores, positions, there, strict=True)]

    def docids(self, positions: np.ndarray) -> list[str]:
        ids = self._index.docids
        return [ids[position] for position in positions.tolist()]


class Shards:
    """Indexes of one encoder as one.

    Args:
        indexes: in any number and of any types.
        device: where flat ones are searched: `cpu`, `cuda`, `cuda:N`.
        threads: 0 is one per core.
        nprobe, ef_search: for the others; None leaves what their files say.
        memory: bytes for what is found in flat ones; None chooses.

    Raises:
        UsageError: a device that is not there, or on which an index of its type cannot be searched; a setting that its
            type does not have.
    """

    def __init__(
        self,
        indexes: Sequence[Index],
        *,
        device: str = "cpu",
        threads: int = 0,
        nprobe: int | None = None,
        ef_search: int | None = None,
        memory: int | None = None,
    ) -> None:
        chosen = _device(device)
        flat: list[tuple[Index, FlatFile]] = []
        self.parts: list[Part] = []
        for index in indexes:
            if nprobe is not None or ef_search is not None:
                index.tune(nprobe=nprobe, ef_search=ef_search)
            file = open_flat(index.directory / INDEX) if index.type == "flat" else None
            if file is None:
                if chosen.type != "cpu":
                    raise UsageError(
                        f"--faiss-device {device}: {index.directory} is of type {index.type!r}, and only flat indexes "
                        "are searched on a GPU; leave it out"
                    )
                self.parts.append(FaissPart(index, threads))
            else:
                if len(file) != len(index) or index.state not in (None, state_of(index.directory)):
                    raise DataError(index.directory, "has changed while it was opened", remedy="try again")
                flat.append((index, file))
        if flat:
            self.parts.insert(0, FlatPart(flat, chosen, threads, memory))
        self._several = len(indexes) > 1
        self._first = indexes[0].directory

    def batch_size(self, depth: int) -> int:
        """Queries at a time that make good use of memory and of every pass over the files."""
        return min(part.batch_size(depth) for part in self.parts)

    def search(self, vectors: np.ndarray, depth: int) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields document ids and scores (n,) float32 for every query: the best of every part, n ≥ `depth` in all
        unless there are fewer documents, in no set order where there are several parts."""
        found = [part.search(vectors, depth) for part in self.parts]
        for hits in zip(*found, strict=True):
            named = [part.docids(places) for part, (_, places) in zip(self.parts, hits, strict=True)]
            docids = list(chain.from_iterable(named))
            if self._several and len(set(docids)) < len(docids):
                twice = Counter(docids).most_common(1)[0][0]
                raise DataError(
                    self._first, f"document {twice!r} is in two of the indexes", remedy="leave one of them out"
                )
            yield docids, np.concatenate([scores for scores, _ in hits])

    def best_vectors(self, vectors: np.ndarray, depth: int) -> Iterator[np.ndarray]:
        """Yields the vectors (at most depth, dim) of the best documents for every query, best first."""
        found = [part.search(vectors, depth) for part in self.parts]
        for hits in zip(*found, strict=True):
            scores = np.concatenate([scores[:depth] for scores, _ in hits])
            order = np.argsort(-scores, kind="stable")[:depth]
            taken = [part.take(places[:depth]) for part, (_, places) in zip(self.parts, hits, strict=True)]
            yield np.concatenate(taken)[order]


def _device(name: str) -> torch.device:
    try:
        return resolve_device(name)
    except UsageError as error:
        raise UsageError(str(error).replace("--device", "--faiss-device", 1)) from error
