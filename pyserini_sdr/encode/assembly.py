"""From chunks to the files of an index directory, streamed, and never to a mixture of old and new ones."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..core.files import atomic_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar
from ..data.corpus import CorpusSummary, Document
from .chunks import ChunkStore
from .flat import flat_header
from .layout import DOCID, EMBEDDINGS, INDEX, MANIFEST, PENDING, RESULTS, remove_leftovers
from .options import EncodeOptions
from .settings import Settings
from .texts import Reading


def assemble(
    directory: Path,
    store: ChunkStore,
    options: EncodeOptions,
    settings: Settings,
    summary: CorpusSummary,
    bounds: Sequence[tuple[int, int]],
    identity: Mapping[str, Any],
) -> None:
    """Writes the results and their manifest, then deletes the chunks.

    What was there before stays until the new files are complete beside it. While files are exchanged there is no
    manifest and the chunks are still there, by which everybody knows that the directory is unfinished.

    Args:
        directory: of the index.
        store: with every chunk.
        options: of the command.
        settings: of the run.
        summary: of the corpus.
        bounds: first and last + 1 position of every chunk.
        identity: of the encoder, its tokenizer's fingerprint included.

    Raises:
        DataError: a chunk that does not match its checksum.
    """
    counts = [last - first for first, last in bounds]
    remove_leftovers(directory)
    with bar(total=sum(counts), unit="doc", desc="assemble") as progress:
        if options.output.to_faiss:
            _write_index(directory, store, counts, progress)
        else:
            _write_embeddings(directory, store, options, summary, bounds, progress)
    kept = {INDEX, DOCID} if options.output.to_faiss else {EMBEDDINGS}
    for name in {*RESULTS} - kept:
        (directory / name).unlink(missing_ok=True)
    write_manifest(
        directory / MANIFEST,
        "index",
        config={name: as_dict(getattr(options, name)) for name in ("input", "output", "encoder")},
        count=sum(counts),
        dimension=store.dimension,
        type="flat" if options.output.to_faiss else "embeddings",
        corpus={
            "path": os.fspath(options.input.corpus),
            "sha256": summary.sha256,
            "documents": summary.count,
            "files": [os.fspath(path) for path in summary.files],
            "reading": asdict(Reading.of(options)),
        },
        shard={"id": options.input.shard_id, "num": options.input.shard_num, "start": bounds[0][0]},
        encoding={**asdict(settings), "tokens": store.tokens(range(len(counts)))},
        **identity,
    )
    store.remove()


def _vacate(directory: Path) -> None:
    """Makes the directory an unfinished one, just before its files are exchanged."""
    (directory / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(directory / PENDING, ignore_errors=True)


def _write_index(directory: Path, store: ChunkStore, counts: Sequence[int], progress: Any) -> None:
    with atomic_file(directory / DOCID, "wb") as ids, atomic_file(directory / INDEX, "wb") as index:
        index.write(flat_header(store.dimension, sum(counts)))
        for (vectors, names), count in zip(store.read_all(counts), counts, strict=True):
            index.write(vectors)
            ids.write(names)
            progress.update(count)
        _vacate(directory)


def _write_embeddings(
    directory: Path,
    store: ChunkStore,
    options: EncodeOptions,
    summary: CorpusSummary,
    bounds: Sequence[tuple[int, int]],
    progress: Any,
) -> None:
    reading = Reading.of(options)
    documents = reading.documents(options.input.corpus, bounds[0][0], bounds[-1][1], summary.places)
    counts = [last - first for first, last in bounds]
    with atomic_file(directory / EMBEDDINGS) as lines:
        for (vectors, names), count in zip(store.read_all(counts), counts, strict=True):
            rows = np.frombuffer(vectors, dtype=np.float32).reshape(-1, store.dimension)
            for id, row, document in zip(names.decode().split("\n"), rows, documents, strict=False):
                record = {"id": id, "contents": _stock_contents(document, reading), "vector": row.tolist()}
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")
            progress.update(count)
        _vacate(directory)


def _stock_contents(document: Document, reading: Reading) -> str:
    """The text as stock writes it beside a vector: the fields read, in their order, one per line."""
    if reading.fields is None:  # contents begin with the title already
        return document.contents
    values = {"title": document.title or "", "text": document.contents}
    return "\n".join(values[name] for name in reading.fields if name in values)
