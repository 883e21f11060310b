"""`index export`: vectors as Anserini's indexers for dense vectors read them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import atomic_directory
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note
from .options import ExportOptions
from .sources import IndexSource, block_rows

_UNIT_TOLERANCE = 1e-2
_EXPORTED = re.compile(r"vectors-\d+\.(parquet|jsonl)")
_NOT_UNIT = (
    "Lucene scores by max(0, (1 + q·d) / 2), which is right for vectors of length 1 only: search this one by FAISS"
)

Rows = Iterator[tuple[Sequence[str], np.ndarray]]


def export(options: ExportOptions) -> None:
    """Writes `docid` and `vector` of every document, in files of bounded size; all of them or none."""
    _check_output(options)
    if options.format == "parquet":
        _require_pyarrow()
    source = IndexSource(options.index)
    if not source.exact:
        raise UsageError(
            f"{options.index}: is of type {source.index.type!r}, or made of one, whose vectors are compressed; export "
            "the flat index that it was built of"
        )
    write: Callable[[Path, Rows], None] = {"parquet": _write_parquet, "jsonl": _write_jsonl}[options.format]
    files = []
    with (
        atomic_directory(options.output, overwrite=options.overwrite) as folder,
        bar(total=source.count, unit="doc", desc="export") as progress,
    ):
        for number, start in enumerate(range(0, source.count, options.rows)):
            stop = min(start + options.rows, source.count)
            files.append(f"vectors-{number:05d}.{options.format}")
            write(folder / files[-1], _rows(source, start, stop, progress.update))
    write_manifest(  # beside the directory: Anserini reads whatever is in it as vectors
        options.output.with_name(options.output.name + ".json"),
        "export",
        config=as_dict(options),
        count=source.count,
        dimension=source.dimension,
        files=files,
        **{key: source.manifest[key] for key in ("encoder", "weights", "spec") if key in source.manifest},
    )
    collection = {"parquet": "ParquetDenseVectorCollection", "jsonl": "JsonDenseVectorCollection"}[options.format]
    note(
        f"{options.output}: {source.count:,} vectors in {len(files)} files; index them with (or FlatDenseVectors):\n"
        f"  java -cp ANSERINI_FATJAR io.anserini.index.IndexHnswDenseVectors -collection {collection} \\\n"
        f"    -input {options.output} -generator DenseVectorDocumentGenerator -index LUCENE_INDEX -threads 1"
    )


def _check_output(options: ExportOptions) -> None:
    """Refuses to replace anything but an export."""
    output, index = options.output.resolve(), options.index.resolve()
    if output == index:
        raise UsageError(f"--output {options.output}: is the index directory")
    if index.is_relative_to(output):
        raise UsageError(f"--output {options.output}: holds the index directory")
    if options.overwrite and output.is_dir():
        others = sorted(path.name for path in output.iterdir() if not _EXPORTED.fullmatch(path.name))
        if others:
            raise DataError(
                options.output,
                f"holds {others[0]!r}, which no export has written, so it is not replaced",
                remedy="give another directory",
            )


def _rows(source: IndexSource, start: int, stop: int, done: Callable[[int], object]) -> Rows:
    step = block_rows(source.dimension)
    for first in range(start, stop, step):
        last = min(first + step, stop)
        vectors = source.index.vectors(first, last)
        wrong = ~(abs(np.linalg.norm(vectors, axis=1) - 1) <= _UNIT_TOLERANCE)
        if wrong.any():
            position = int(np.argmax(wrong))
            id, length = source.index.docids[first + position], np.linalg.norm(vectors[position])
            raise DataError(source.directory, f"the vector of {id!r} has length {length:.4g}; {_NOT_UNIT}")
        yield source.index.docids[first:last], vectors
        done(last - first)


def _write_jsonl(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8") as handle:
        for ids, vectors in rows:
            for id, vector in zip(ids, vectors, strict=True):
                numbers = ",".join(map(repr, vector.tolist()))  # digits enough to read back the same float32
                handle.write(f'{{"docid": {json.dumps(id, ensure_ascii=False)}, "vector": [{numbers}]}}\n')


def _write_parquet(path: Path, rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("docid", pa.string()), ("vector", pa.list_(pa.float32()))])
    with pq.ParquetWriter(path, schema, compression="none") as writer:  # vectors of floats do not compress
        for ids, vectors in rows:
            ends = np.arange(0, vectors.size + 1, vectors.shape[1], dtype=np.int32)
            lists = pa.ListArray.from_arrays(pa.array(ends), pa.array(vectors.reshape(-1)))
            writer.write_table(pa.table([pa.array(ids, pa.string()), lists], schema=schema))


def _require_pyarrow() -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise SdrError("parquet needs pyarrow: `pip install pyarrow`, or give --format jsonl") from error
