"""The work of `encode`: scan, encode chunk by chunk, assemble."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..anserini.stock import faiss_search_command, path_warnings
from ..core.errors import DataError, SdrError, UsageError
from ..core.progress import bar, note, warn
from ..data.corpus import CorpusSummary
from ..model.fingerprint import tokens_fingerprint
from ..model.spec import EncoderSpec
from . import scan
from .assembly import assemble
from .chunks import ChunkStore
from .layout import DOCID, EMBEDDINGS, INDEX, MANIFEST, RESULTS, held, remove_leftovers
from .loading import load_any_encoder, stock_search_flags
from .options import EncodeOptions
from .pipeline import DocumentEncoder, compute, prepare, run_stages
from .ranks import ALONE, Rank, join_ranks
from .settings import Settings, check_space, make_plan
from .texts import Reading, document_texts
from .watch import Watch

if TYPE_CHECKING:
    from .loading import Encoder

__all__ = ["DOCID", "EMBEDDINGS", "INDEX", "MANIFEST", "encode", "encode_corpus", "load_encoder", "shard_bounds"]

Bounds = Sequence[tuple[int, int]]
"""First and last + 1 position of every chunk."""


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
        backend=chosen.backend,
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
    note(f"encoder: {encoder.resolved}")
    return encoder


def shard_bounds(count: int, shard_id: int, shard_num: int) -> tuple[int, int]:
    """First and last + 1 position of a shard, with stock's bounds: ⌊count/num⌋ each, the last takes the rest."""
    size = count // shard_num
    return shard_id * size, count if shard_id == shard_num - 1 else (shard_id + 1) * size


def encode_corpus(encoder: DocumentEncoder, options: EncodeOptions, rank: Rank = ALONE) -> Path:
    """Encodes a corpus into `options.output.embeddings` and returns that directory.

    Every document is checked before the first is encoded. Each process takes the next chunk that nobody has, until
    there is none; a chunk that is there already is not encoded again. Batches never cross a chunk, so neither a
    resumption nor the number of processes changes a byte of the result.
    """
    directory, begin = options.output.embeddings, time.perf_counter()
    store = ChunkStore(directory, encoder.identity()["spec"]["dimension"], options.output.chunk_dtype)
    with ExitStack() as stack:
        if rank.index == 0:
            stack.enter_context(held(directory))
            summary, settings, bounds, done = _prepare(directory, store, encoder, options)
        rank.barrier()
        if rank.index > 0:
            summary = scan.checked_corpus(store.folder, options.input)
            settings = Settings.of_plan(store.recorded_plan() or {})
            bounds = _chunk_bounds(summary, options, settings)
            done = [store.has_record(number) for number in range(len(bounds))]
        settings.apply(encoder)
        checked = time.perf_counter()
        try:
            _encode_missing(encoder, options, store, summary, bounds, done, rank)
        except SdrError:  # refused before a chunk was finished: nothing to resume, and mended input is another plan
            if rank.world == 1 and not any(map(store.has_record, range(len(bounds)))):
                store.remove()
            raise
        rank.barrier()
        if rank.index == 0:
            encoded = time.perf_counter()
            fresh = [number for number, finished in enumerate(done) if not finished]
            tokens = store.tokens(fresh)
            scan.Unchanged(store.folder, options.input.corpus)()
            tokenizer = (store.recorded_plan() or {}).get("tokenizer")
            identity = {**encoder.identity(), "tokenizer": tokenizer}
            assemble(directory, store, options, settings, summary, bounds, identity)
            count = sum(bounds[number][1] - bounds[number][0] for number in fresh)
            _report(directory, bounds, count, tokens, (begin, checked, encoded, time.perf_counter()))
    rank.barrier()
    return directory


def _prepare(
    directory: Path, store: ChunkStore, encoder: DocumentEncoder, options: EncodeOptions
) -> tuple[CorpusSummary, Settings, Bounds, list[bool]]:
    """Checks the corpus, the plan of an interrupted run, its chunks, and the room on the disk."""
    remove_leftovers(directory)
    results = [name for name in RESULTS if (directory / name).exists()]
    if results and not options.output.overwrite and not (store.folder / "plan.json").exists():
        raise DataError(
            directory, f"already holds {', '.join(results)}", remedy="give another directory or --overwrite"
        )
    try:
        store.folder.mkdir(exist_ok=True)
        summary = scan.check_corpus(store.folder, options.input)
        recorded = _recorded_plan(store, options)
        resolved = getattr(encoder, "resolved", None)
        tokenizer = tokens_fingerprint(resolved.directory) if resolved is not None else None
        settings = Settings.choose(options, encoder, summary.count, recorded)
        bounds = _chunk_bounds(summary, options, settings)
        plan = make_plan(options, summary, settings, encoder.identity(), tokenizer)
        if recorded is not None and recorded != plan and options.output.overwrite:
            recorded, settings = None, Settings.choose(options, encoder, summary.count, None)
            bounds = _chunk_bounds(summary, options, settings)
            plan = make_plan(options, summary, settings, encoder.identity(), tokenizer)
        if recorded is not None:
            store.open(plan)  # refuses another one
        counts = [last - first for first, last in bounds]
        done = store.settle(counts) if recorded is not None else [False] * len(counts)
        missing = sum(count for count, finished in zip(counts, done, strict=True) if not finished)
        check_space(store, summary, counts, missing, options.output.to_faiss)
        if recorded is None:
            store.clear()
            store.open(plan)
    except BaseException:
        if not (store.folder / "plan.json").exists():
            shutil.rmtree(store.folder, ignore_errors=True)
        raise
    if recorded is not None:
        note(f"resuming: {sum(done)} of {len(done)} chunks are there ({_in_words(settings)})")
    else:
        note(_in_words(settings))
    return summary, settings, bounds, done


def _recorded_plan(store: ChunkStore, options: EncodeOptions) -> dict[str, Any] | None:
    try:
        return store.recorded_plan()
    except DataError:  # damaged
        if not options.output.overwrite:
            raise
        return None


def _in_words(settings: Settings) -> str:
    most = f" and {settings.batch_size} texts" if settings.batch_size else ""
    return f"chunks of {settings.chunk_size:,} documents, batches of {settings.token_budget:,} tokens{most} at most"


def _chunk_bounds(summary: CorpusSummary, options: EncodeOptions, settings: Settings) -> Bounds:
    source, size = options.input, settings.chunk_size
    start, stop = shard_bounds(summary.count, source.shard_id, source.shard_num)
    if start == stop:
        raise UsageError(
            f"--shard-num {source.shard_num}: shard {source.shard_id} of {summary.count} documents is empty"
        )
    return [(first, min(first + size, stop)) for first in range(start, stop, size)]


def _encode_missing(
    encoder: DocumentEncoder,
    options: EncodeOptions,
    store: ChunkStore,
    summary: CorpusSummary,
    bounds: Bounds,
    done: Sequence[bool],
    rank: Rank,
) -> None:
    todo = [number for number, finished in enumerate(done) if not finished]
    if not todo:
        return
    reading = Reading.of(options)
    reader = reading.reader(summary)
    unchanged = scan.Unchanged(store.folder, options.input.corpus)
    watch = Watch(encoder, reading)
    total = sum(bounds[number][1] - bounds[number][0] for number in todo)
    progress = bar(total=total, unit="doc", desc="encode") if rank.index == 0 else None

    def advance(count: int) -> None:
        if progress is not None:
            progress.update(count)

    def numbers() -> Iterator[int]:
        for number in todo:
            if rank.world == 1 or store.claim(number):
                yield number
            else:
                advance(bounds[number][1] - bounds[number][0])  # another process is at it

    def read(number: int) -> tuple[list[str], Any]:
        first, last = bounds[number]
        chunk = reader.read(first, last)
        unchanged()  # after reading: what was read of a changed file is dropped, or a restored one would hide it
        titles, texts = document_texts(chunk, reading)
        prepared = prepare(encoder, texts, titles)
        watch.read(chunk, prepared)
        return [document.id for document in chunk], prepared

    def write(number: int, read: tuple[list[str], Any], vectors: np.ndarray) -> None:
        ids, prepared = read
        watch.computed(vectors, ids)
        store.write(number, ids, vectors, getattr(prepared, "tokens", None))

    with progress or nullcontext():
        try:
            run_stages(numbers(), read, lambda got: compute(encoder, got[1], advance), write)
        finally:
            reader.close()
    watch.report()


def _report(directory: Path, bounds: Bounds, fresh: int, tokens: int | None, times: Sequence[float]) -> None:
    """One line: how many documents, how long, and how fast those went that were encoded now."""
    begin, checked, encoded, end = times
    rate = ""
    if fresh:
        seconds = max(encoded - checked, 1e-9)
        rate = f": {fresh / seconds:,.0f} documents/s" + (f", {tokens / seconds:,.0f} tokens/s" if tokens else "")
    note(
        f"encoded {bounds[-1][1] - bounds[0][0]:,} documents into {directory} in {end - begin:.1f} s "
        f"(check {checked - begin:.1f} s, encode {encoded - checked:.1f} s{rate}, assemble {end - encoded:.1f} s)"
    )
