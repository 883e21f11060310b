"""Building a Lucene index for BM25 with stock `pyserini.index.lucene`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..core.errors import DataError, SdrError
from ..core.files import PARTIAL, atomic_directory, translate_os_error
from ..core.manifest import write_manifest
from ..core.progress import bar
from ..core.runtime import available_cores
from ..data.corpus import corpus_files, duplicate_error, duplicate_ids, iter_located
from ..data.ids import IdHashes
from ..data.records import DocumentParser
from . import compat, jvm
from .stock import StockCommand, failure, invocation, lucene_index_command

MANIFEST = "sdr_bm25.json"
"""Lies inside the index directory; Lucene leaves files that are not its own alone."""

_INDEXED = re.compile(r"([\d,]+) documents? indexed")


def build_bm25_index(
    corpus_path: str | os.PathLike[str],
    index_path: str | os.PathLike[str],
    threads: int | None = None,
    *,
    overwrite: bool = False,
    store_positions: bool = False,
    store_docvectors: bool = False,
    store_raw: bool = False,
    language: str = "en",
) -> dict[str, Any]:
    """Builds a Lucene index of a corpus with Anserini's defaults; it appears only when complete.

    The corpus is checked and written to a temporary directory beside the index as `{"id", "contents"}` lines in as
    many files as there are threads (Anserini gives each thread a file), which takes about the corpus' size of disk
    while it runs.

    Args:
        corpus_path: a file, a directory of files or a collection directory, as `data.corpus.iter_documents` reads.
        index_path: the index directory.
        threads: indexing threads (default: the cores at hand).
        overwrite: replace an existing index.
        store_positions: keep term positions (phrase queries).
        store_docvectors: keep document vectors (RM3 and Rocchio feedback).
        store_raw: keep the documents, for `searcher.doc(id).raw()`.
        language: of Anserini's analyzer.

    Returns:
        The manifest, which also lies in the index as `sdr_bm25.json`.

    Raises:
        DataError: a bad document or duplicate id (with file and line), an index that exists, no space left.
        NoJavaError: no Java 21 or newer.
        SdrError: Anserini failed or indexed another number of documents than the corpus holds.
    """
    index_path = Path(index_path)
    threads = threads or available_cores()
    java = jvm.find_java()  # before the corpus is read: a missing Java should not be news after an hour
    stored = {"store_positions": store_positions, "store_docvectors": store_docvectors, "store_raw": store_raw}
    with atomic_directory(index_path, overwrite=overwrite) as building:
        with tempfile.TemporaryDirectory(prefix=f".{index_path.name}{PARTIAL}-", dir=building.parent) as staged:
            count = _stage(corpus_path, Path(staged), threads)
            command = lucene_index_command(
                corpus=staged,
                index=building,
                threads=threads,
                language=None if language == "en" else language,
                **stored,
            )
            _run(command, count, index_path)
        indexed = _count(building)
        if indexed != count:
            raise SdrError(f"{index_path}: Anserini indexed {indexed} of {count} documents")
        config = {"input": str(corpus_path), "index": str(index_path), "threads": threads, "language": language}
        return write_manifest(
            building / MANIFEST,
            "bm25 index",
            config={**config, **stored},
            inputs=corpus_files(corpus_path),
            documents=count,
            java=java.version,
            anserini=compat.fatjar().name,
        )


def _stage(corpus_path: str | os.PathLike[str], folder: Path, parts: int) -> int:
    """Writes the corpus round-robin to `parts` JSON lines files; returns the number of documents."""
    parser, ids = DocumentParser(), IdHashes()
    with ExitStack() as stack:
        try:
            files = [
                stack.enter_context((folder / f"part{i:03}.jsonl").open("w", encoding="utf-8", newline="\n"))
                for i in range(parts)
            ]
            for _, _, document in bar(iter_located(corpus_path, parser), unit="doc", desc="reading"):
                record = {"id": document.id, "contents": document.contents}
                if document.title is not None:
                    record["title"] = document.title
                files[len(ids) % parts].write(json.dumps(record, ensure_ascii=False) + "\n")
                ids.add(document.id)
        except OSError as error:
            raise translate_os_error(error, folder) from error
    if not len(ids):
        raise DataError(corpus_path, "holds no documents")
    for id, first, second in duplicate_ids(corpus_path, parser, ids.repeated()):
        raise duplicate_error(id, first, second)
    return len(ids)


def _run(command: StockCommand, count: int, index_path: Path) -> None:
    """Runs Anserini's indexer, showing its progress; its log is kept only to explain a failure."""
    argv, environment = invocation(command.module, command.args)
    log: deque[str] = deque(maxlen=200)
    process = subprocess.Popen(
        argv,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    try:
        with bar(total=count, unit="doc", desc="indexing") as shown:
            for line in process.stdout:
                log.append(line)
                if progress := _INDEXED.search(line):
                    shown.update(int(progress[1].replace(",", "")) - shown.n)
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    text = "".join(log)
    if "No space left on device" in text:
        raise DataError(index_path, "no space left on device", remedy="free some space or write elsewhere")
    if status:
        raise SdrError(failure(command, status, text))


def _count(index: Path) -> int:
    """Documents in a Lucene index."""
    jvm.start()
    paths = jvm.autoclass("java.nio.file.Paths").get(str(index.parent), index.name)
    reader = jvm.autoclass("org.apache.lucene.index.DirectoryReader").open(
        jvm.autoclass("org.apache.lucene.store.FSDirectory").open(paths)
    )
    try:
        return reader.numDocs()
    finally:
        reader.close()
