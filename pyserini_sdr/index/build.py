"""`index build`: a flat index from embedding files or another flat index, streamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from ..core.errors import DataError, UsageError
from ..core.files import atomic_file, read_jsonl, require_directory
from ..core.manifest import read_manifest, write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note
from ..data.records import Problem, checked_id
from ..encode.engine import DOCID, INDEX, MANIFEST
from ..encode.flat import flat_header
from .options import BuildOptions
from .store import open_index

_BLOCK = 4096

Block = tuple[list[str], np.ndarray]
"""Ids, and vectors (n, dim) float32."""


def build(options: BuildOptions) -> None:
    """Builds the index and writes its manifest last."""
    source, output = require_directory(options.input, "input directory"), options.output
    if output.resolve() == source.resolve():
        raise UsageError(f"--output {output}: is the input directory")
    if (output / INDEX).exists() and not options.overwrite:
        raise DataError(output, "already holds an index", remedy="give another directory or --overwrite")
    blocks = _blocks(source)
    try:
        first = next(blocks)
    except StopIteration:
        raise DataError(source, "holds no vectors") from None
    dimension, count = first[1].shape[1], 0
    (output / MANIFEST).unlink(missing_ok=True)
    with atomic_file(output / INDEX, "wb") as index, atomic_file(output / DOCID) as names:
        index.write(flat_header(dimension, 0))
        with bar(unit="doc", desc="index") as progress:
            for ids, vectors in chain([first], blocks):
                index.write(vectors.tobytes())
                names.writelines(f"{id}\n" for id in ids)
                count += len(ids)
                progress.update(len(ids))
        index.seek(0)
        index.write(flat_header(dimension, count))
    made_by = read_manifest(source / MANIFEST) if (source / MANIFEST).exists() else {}
    inherited = {
        key: made_by[key] for key in ("encoder", "weights", "spec", "precision", "corpus", "shard") if key in made_by
    }
    write_manifest(
        output / MANIFEST,
        "index",
        config=as_dict(options),
        count=count,
        dimension=dimension,
        type=options.type,
        source=os.fspath(source),
        **inherited,
    )
    note(f"{output}: {count:,} vectors of dimension {dimension}")


def _blocks(source: Path) -> Iterator[Block]:
    if (source / INDEX).exists():
        index = open_index(source)
        for start in range(0, len(index), _BLOCK):
            stop = min(start + _BLOCK, len(index))
            yield index.docids[start:stop], index.vectors(start, stop)
        return
    files = sorted(source.glob("*.jsonl"))
    if not files:
        raise DataError(source, f"holds neither {INDEX} nor embedding .jsonl files")
    ids: list[str] = []
    vectors: list[np.ndarray] = []
    dimension: int | None = None
    seen: set[str] = set()
    for file in files:
        for number, record in read_jsonl(file):
            id, vector = record.get("id"), record.get("vector")
            try:
                id = checked_id(id, "document id")
            except Problem as problem:
                raise DataError(file, problem.args[0], line=number, remedy=problem.args[1]) from None
            if id in seen:
                raise DataError(file, f"duplicate document id {id!r}", line=number, remedy="remove one")
            seen.add(id)
            row = _vector(file, number, vector)
            if dimension is not None and len(row) != dimension:
                raise DataError(file, f"vector of dimension {len(row)} after ones of {dimension}", line=number)
            dimension = len(row)
            ids.append(id)
            vectors.append(row)
            if len(ids) == _BLOCK:
                yield ids, np.stack(vectors)
                ids, vectors = [], []
    if ids:
        yield ids, np.stack(vectors)


def _vector(file: Path, number: int, value: object) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # becomes infinite, and is refused as such
            row = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(file, "vector: expected a list of numbers", line=number) from error
    if row.ndim != 1 or not len(row):
        raise DataError(file, "vector: expected a list of numbers", line=number)
    if not np.isfinite(row).all():
        raise DataError(file, "vector: NaN or infinite value", line=number)
    return row
