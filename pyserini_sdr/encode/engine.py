"""The work of `encode`: scan, encode chunk by chunk, assemble."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..anserini.stock import faiss_search_command, path_warnings
from ..core.errors import DataError, SdrError, UsageError
from ..core.files import atomic_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note, warn
from ..data.corpus import CorpusSummary, Document, scan_corpus
from ..model.spec import EncoderSpec
from .chunks import ChunkStore
from .flat import flat_header
from .loading import load_any_encoder, stock_search_flags
from .options import EncodeOptions, InputOptions
from .ranks import ALONE, Rank, join_ranks
from .texts import Reading, document_texts

if TYPE_CHECKING:
    from .loading import Encoder

MANIFEST = "sdr_index.json"
INDEX, DOCID, EMBEDDINGS = "index", "docid", "embeddings.jsonl"
_RESULTS = (MANIFEST, INDEX, DOCID, EMBEDDINGS)


class DocumentEncoder(Protocol):
    """What the engine needs of an encoder; `BiEncoder` is one."""

    def encode_documents(
        self,
        documents: Sequence[str],
        *,
        titles: Sequence[str] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray: ...

    def identity(self) -> dict[str, Any]: ...


def encode(options: EncodeOptions) -> None:
    """Encodes as the options say and prints the stock command that searches the result."""
    Reading.of(options)  # refuses fields that do not fit before anything is loaded
    encoder = load_encoder(options)
    with join_ranks() as rank:
        encode_corpus(encoder, options, rank)
        if rank.index == 0 and options.output.to_faiss:
            _print_stock_command(encoder, options.output.embeddings)


def _print_stock_command(encoder: Encoder, directory: Path) -> None:
    flags = stock_search_flags(encoder, made_index=True)
    if flags is None:
        return
    for warning in (*path_warnings(encoder.resolved.directory, "encoder"), *path_warnings(directory, "index")):
        warn(warning)
    command = faiss_search_command(index=directory, topics="TOPICS", output="RUN", **flags)
    note(f"search it with stock Pyserini:\n  {command}")


def load_encoder(options: EncodeOptions) -> Encoder:
    """The encoder of the options, with overrides, budget and precision applied."""
    chosen = options.encoder
    precision = "fp16" if chosen.fp16 else chosen.precision
    encoder = load_any_encoder(
        chosen.encoder,
        chosen.encoder_class,
        side="document",
        device=chosen.device,
        precision=precision,
        **chosen.spec_overrides(),
    )
    if isinstance(encoder.spec, EncoderSpec) and encoder.spec.queries_only:
        raise UsageError(
            f"--encoder {chosen.encoder}: encodes queries only; encode documents with {encoder.spec.document_encoder}"
        )
    if chosen.dimension is not None and chosen.dimension != encoder.spec.dimension:
        raise UsageError(
            f"encoder: --dimension {chosen.dimension}: the encoder's dimension is {encoder.spec.dimension}"
        )
    encoder.token_budget = chosen.token_budget or encoder.token_budget
    encoder.max_batch = chosen.batch_size
    note(f"encoder: {encoder.resolved}")
    return encoder


def shard_bounds(count: int, shard_id: int, shard_num: int) -> tuple[int, int]:
    """First and last + 1 position of a shard, with stock's bounds: ⌊count/num⌋ each, the last takes the rest."""
    size = count // shard_num
    return shard_id * size, count if shard_id == shard_num - 1 else (shard_id + 1) * size


def encode_corpus(encoder: DocumentEncoder, options: EncodeOptions, rank: Rank = ALONE) -> Path:
    """Encodes a corpus into `options.output.embeddings` and returns that directory.

    Every document is checked before the first is encoded. Chunks are encoded in turn by the ranks; a chunk that is
    there already is not encoded again. Batches never cross a chunk, so neither a resumption nor the number of
    processes changes a byte of the result.
    """
    directory, source = options.output.embeddings, options.input
    start_time = time.perf_counter()
    summary = _scan(source)
    start, stop = shard_bounds(summary.count, source.shard_id, source.shard_num)
    if start == stop:
        raise UsageError(
            f"--shard-num {source.shard_num}: shard {source.shard_id} of {summary.count} documents is empty"
        )
    size = options.output.chunk_size
    bounds = [(first, min(first + size, stop)) for first in range(start, stop, size)]
    store = ChunkStore(directory, encoder.identity()["spec"]["dimension"])
    if rank.index == 0:
        _prepare(directory, store, encoder, options, summary)
    rank.barrier()
    done = [store.is_done(number, last - first) for number, (first, last) in enumerate(bounds)]
    rank.barrier()  # nobody writes before everybody has looked
    _encode_missing(encoder, options, store, bounds, done, rank)
    rank.barrier()
    if rank.index == 0:
        _assemble(directory, store, encoder, options, summary, bounds)
        seconds = time.perf_counter() - start_time
        note(
            f"encoded {stop - start:,} documents into {directory} in {seconds:.1f} s ({(stop - start) / seconds:.0f}/s)"
        )
    rank.barrier()
    return directory


def _scan(source: InputOptions) -> CorpusSummary:
    return scan_corpus(source.corpus, docid_field=source.docid_field, fields=source.fields, delimiter=source.delimiter)


def _prepare(
    directory: Path, store: ChunkStore, encoder: DocumentEncoder, options: EncodeOptions, summary: CorpusSummary
) -> None:
    if directory.exists() and not directory.is_dir():
        raise DataError(directory, "is a file, cannot make a directory there")
    results = [name for name in _RESULTS if (directory / name).exists()]
    if results and not options.output.overwrite and not store.folder.exists():
        raise DataError(
            directory, f"already holds {', '.join(results)}", remedy="give another directory or --overwrite"
        )
    if options.output.overwrite:
        store.remove(_RESULTS)
        for name in results:
            (directory / name).unlink()
    store.open(
        {
            "corpus": summary.sha256,
            **asdict(Reading.of(options)),
            "shard": [options.input.shard_id, options.input.shard_num],
            "chunk_size": options.output.chunk_size,
            "token_budget": options.encoder.token_budget,
            "batch_size": options.encoder.batch_size,
            **encoder.identity(),
        }
    )


def _encode_missing(
    encoder: DocumentEncoder,
    options: EncodeOptions,
    store: ChunkStore,
    bounds: Sequence[tuple[int, int]],
    done: Sequence[bool],
    rank: Rank,
) -> None:
    todo = [number for number, finished in enumerate(done) if not finished]
    mine = set(todo[rank.index :: rank.world])
    if any(done) and rank.index == 0:
        note(f"resuming: {sum(done)} of {len(done)} chunks are there")
    if not mine:
        return
    total = sum(last - first for number, (first, last) in enumerate(bounds) if number in mine)
    first_position = bounds[min(mine)][0]
    reading = Reading.of(options)
    documents = reading.documents(options.input.corpus, first_position, bounds[max(mine)][1])
    with bar(total=total, unit="doc", desc="encode") as progress:
        for number in range(min(mine), max(mine) + 1):
            chunk = list(islice(documents, bounds[number][1] - bounds[number][0]))
            if number not in mine:
                continue
            titles, texts = document_texts(chunk, reading)
            vectors = encoder.encode_documents(texts, titles=titles, on_batch=progress.update)
            _check_vectors(vectors, chunk)
            store.write(number, [document.id for document in chunk], vectors)


def _check_vectors(vectors: np.ndarray, chunk: Sequence[Document]) -> None:
    bad = ~np.isfinite(vectors).all(axis=1)
    if bad.any():
        document = chunk[int(np.argmax(bad))]
        raise SdrError(
            f"document {document.id!r}: the encoder gave NaN or infinite values; try --precision fp32, or check the "
            "checkpoint"
        )


def _assemble(
    directory: Path,
    store: ChunkStore,
    encoder: DocumentEncoder,
    options: EncodeOptions,
    summary: CorpusSummary,
    bounds: Sequence[tuple[int, int]],
) -> None:
    counts = [last - first for first, last in bounds]
    count, dimension = sum(counts), store.dimension
    (directory / MANIFEST).unlink(missing_ok=True)
    if options.output.to_faiss:
        with atomic_file(directory / DOCID, "wb") as ids, atomic_file(directory / INDEX, "wb") as index:
            index.write(flat_header(dimension, count))
            for vectors, names in store.read_all(counts):
                index.write(vectors)
                ids.write(names)
    else:
        reading = Reading.of(options)
        documents = reading.documents(options.input.corpus, bounds[0][0], bounds[-1][1])
        with atomic_file(directory / EMBEDDINGS) as lines:
            for vectors, names in store.read_all(counts):
                rows = np.frombuffer(vectors, dtype=np.float32).reshape(-1, dimension)
                for id, row, document in zip(names.decode().splitlines(), rows, documents, strict=False):
                    record = {"id": id, "contents": _stock_contents(document, reading), "vector": row.tolist()}
                    lines.write(json.dumps(record, ensure_ascii=False) + "\n")
    write_manifest(
        directory / MANIFEST,
        "index",
        config={name: as_dict(getattr(options, name)) for name in ("input", "output", "encoder")},
        count=count,
        dimension=dimension,
        type="flat" if options.output.to_faiss else "embeddings",
        corpus={
            "path": os.fspath(options.input.corpus),
            "sha256": summary.sha256,
            "documents": summary.count,
            "files": [os.fspath(path) for path in summary.files],
            "reading": asdict(Reading.of(options)),
        },
        shard={"id": options.input.shard_id, "num": options.input.shard_num, "start": bounds[0][0]},
        **encoder.identity(),
    )
    store.remove(_RESULTS)


def _stock_contents(document: Document, reading: Reading) -> str:
    """The text as stock writes it beside a vector: the fields read, in their order, one per line."""
    if reading.fields is None:  # contents begin with the title already
        return document.contents
    values = {"title": document.title or "", "text": document.contents}
    return "\n".join(values[name] for name in reading.fields if name in values)
