"""What an index is made of: index directories and embedding files, streamed, checked to belong together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import open_binary, read_jsonl, require_directory
from ..core.progress import warn
from ..data.records import Problem, checked_id
from ..encode.layout import DOCID, FOLDER, INDEX, MANIFEST
from .manifest import read_index_manifest
from .replace import complete
from .store import open_index, spec_of

_BLOCK_BYTES = 32 << 20

Block = tuple[Sequence[str], np.ndarray]
"""Ids, and vectors (n, dim) float32."""


def block_rows(dimension: int) -> int:
    """Vectors to hold at a time."""
    return max(256, _BLOCK_BYTES // (4 * dimension))


class IndexSource:
    """The vectors of an index directory, of any type."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.index = open_index(directory)
        self.manifest = self.index.manifest or {}
        self.dimension: int = self.index.faiss_index.d
        self.count = len(self.index)
        self.exact = self.index.exact

    def blocks(self) -> Iterator[Block]:
        """Ids and vectors, in order."""
        rows = block_rows(self.dimension)
        for start in range(0, self.count, rows):
            stop = min(start + rows, self.count)
            yield self.index.docids[start:stop], self.index.vectors(start, stop)

    def located(self) -> Iterator[tuple[str, Path, int]]:
        """Yields `(id, file, line)`."""
        for number, id in enumerate(self.index.docids, start=1):
            yield id, self.directory / DOCID, number


class EmbeddingSource:
    """The vectors in the `.jsonl` files of a directory, ours or stock's."""

    exact = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = sorted([*directory.glob("*.jsonl"), *directory.glob("*.jsonl.gz")])
        if not self.files:
            raise DataError(directory, f"holds neither {INDEX} nor embedding .jsonl files")
        self.manifest: dict[str, Any] = read_index_manifest(directory) or {}

    @cached_property
    def count(self) -> int:
        """Lines with something on them, which is what an error before building has to go by."""
        total = 0
        for file in self.files:
            with open_binary(file) as handle:
                total += sum(1 for line in handle if line.strip())
        return total

    @cached_property
    def dimension(self) -> int:
        for _, vectors in self._rows():
            return len(vectors)
        raise DataError(self.directory, "holds no vectors")

    def blocks(self) -> Iterator[Block]:
        """Ids and vectors, in the order of files and lines."""
        ids: list[str] = []
        rows: list[np.ndarray] = []
        for (id, file, number), row in self._rows():
            if len(row) != self.dimension:
                raise DataError(file, f"vector of dimension {len(row)} after ones of {self.dimension}", line=number)
            ids.append(id)
            rows.append(row)
            if len(ids) == block_rows(self.dimension):
                yield ids, np.stack(rows)
                ids, rows = [], []
        if ids:
            yield ids, np.stack(rows)

    def located(self) -> Iterator[tuple[str, Path, int]]:
        """Yields `(id, file, line)`."""
        for place, _ in self._rows():
            yield place

    def _rows(self) -> Iterator[tuple[tuple[str, Path, int], np.ndarray]]:
        for file in self.files:
            for number, record in read_jsonl(file):
                try:
                    id = checked_id(record.get("id"), "document id")
                except Problem as problem:
                    raise DataError(file, problem.args[0], line=number, remedy=problem.args[1]) from None
                yield (id, file, number), _vector(file, number, record.get("vector"))


Source = IndexSource | EmbeddingSource


def _vector(file: Path, number: int, value: object) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
            row = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(file, "vector: expected a list of numbers", line=number) from error
    if row.ndim != 1 or not len(row):
        raise DataError(file, "vector: expected a list of numbers", line=number)
    if not np.isfinite(row).all():
        raise DataError(file, "vector: NaN or infinite value", line=number)
    return row


def open_source(directory: Path) -> Source:
    """What a directory holds; `DataError` if it is nothing to make an index of."""
    directory = require_directory(directory, "input directory")
    complete(directory)
    finished = (directory / MANIFEST).exists()
    if (directory / INDEX).exists() or ((directory / FOLDER).exists() and not finished):
        source: Source = IndexSource(directory)  # says so itself, if it is unfinished
    else:
        source = EmbeddingSource(directory)
    if not source.count:
        raise DataError(directory, "holds no vectors")
    return source


def open_sources(directories: Sequence[Path], *, sort: bool = True) -> list[Source]:
    """Opens directories.

    Args:
        directories: each holds vectors.
        sort: put shards of one encoding into their order, and miss none.

    Raises:
        DataError: they were made by different encoders, or a shard is missing or given twice.
    """
    resolved = [directory.resolve() for directory in directories]
    for position, directory in enumerate(directories):
        if resolved[position] in resolved[:position]:
            raise UsageError(f"{directory}: given twice")
    sources = [open_source(directory) for directory in directories]
    for other in sources[1:]:
        check_same_encoder(sources[0], other)
    return _in_order(sources) if sort else sources


def check_same_encoder(first: Source, other: Source) -> None:
    """Raises a `DataError` if the vectors of two sources cannot be searched together; warns if that cannot be told."""
    if first.dimension != other.dimension:
        raise DataError(
            other.directory,
            f"holds vectors of dimension {other.dimension}, {first.directory} of {first.dimension}",
            remedy="put vectors of one encoder together",
        )
    silent = [source for source in (first, other) if "weights" not in source.manifest]
    if silent:
        warn(f"{silent[0].directory} does not tell its encoder: whether all are of the same one cannot be checked")
        return
    sides = [_document_side(source) for source in (first, other)]
    keys = [key for key in sides[0] | sides[1] if sides[0].get(key) != sides[1].get(key)]
    different = [f"{key} {sides[0].get(key)!r} ≠ {sides[1].get(key)!r}" for key in keys]
    weights = [source.manifest["weights"] for source in (first, other)]
    if weights[0] != weights[1]:
        different.append(f"weights {weights[0][:12]} ≠ {weights[1][:12]}")
    if different:
        raise DataError(
            other.directory,
            f"was made by another encoder than {first.directory}: {'; '.join(different)}",
            remedy="put vectors of one encoder together",
        )


def _document_side(source: Source) -> dict[str, Any]:
    spec = spec_of(source.manifest, source.directory / MANIFEST)
    return spec.document_side() if spec is not None else {}


def _shard(source: Source) -> tuple[str | None, int, int] | None:
    """Corpus, number of shards and this one's, of one that is a shard."""
    shard = source.manifest.get("shard") or {}
    if shard.get("num", 1) < 2:
        return None
    return (source.manifest.get("corpus") or {}).get("sha256"), shard["num"], shard["id"]


def _in_order(sources: list[Source]) -> list[Source]:
    shards = [_shard(source) for source in sources]
    if len(sources) < 2 or None in shards or len({shard[:2] for shard in shards}) > 1:
        return sources
    numbers = [shard[2] for shard in shards]
    num = shards[0][1]
    repeated = [number for number in numbers if numbers.count(number) > 1]
    if repeated:
        raise DataError(sources[numbers.index(repeated[0])].directory, f"shard {repeated[0]} of {num} is given twice")
    missing = sorted(set(range(num)) - set(numbers))
    if missing:
        text = ", ".join(map(str, missing))
        raise UsageError(f"{sources[0].directory}: is one of {num} shards, of which {text} (from 0) is not given")
    return [source for _, source in sorted(zip(numbers, sources, strict=True), key=lambda pair: pair[0])]


def origin(sources: Sequence[Source]) -> dict[str, Any]:
    """What the manifest of an index made of these tells about the encoder and the corpus."""
    facts: dict[str, Any] = {}
    if len(sources) == 1 or all("weights" in source.manifest for source in sources):
        keys = ("encoder", "weights", "spec", "tokenizer", "precision", "device", "corpus", "shard")
        facts = {key: sources[0].manifest[key] for key in keys if key in sources[0].manifest}
    if len(sources) > 1:
        facts.pop("shard", None)
        if all(_shard(source) for source in sources) and len({_shard(source)[:2] for source in sources}) == 1:
            facts["shard"] = {"id": 0, "num": 1, "start": 0}  # all of them, in order
        elif "corpus" in facts:
            facts["corpus"] = {key: value for key, value in facts["corpus"].items() if key == "reading"}
    facts["exact"] = all(source.exact for source in sources)
    return facts


def describe_sources(sources: Sequence[Source]) -> list[str]:
    """Their paths, for a manifest."""
    return [os.fspath(source.directory) for source in sources]
