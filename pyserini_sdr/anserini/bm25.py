"""BM25 through Anserini: searching a Lucene index in this process. Building one: `anserini.bm25_index`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import require_directory
from ..core.progress import bar
from ..core.runtime import available_cores
from . import jvm
from .bm25_index import build_bm25_index

__all__ = ["BM25Searcher", "build_bm25_index"]

_CHUNK_HITS = 50_000
"""Hits held on the Java side at once, each with what the index stores of its document, up to tens of kB."""


class BM25Searcher:
    """BM25 over a Lucene index, with Anserini's scores and order (score descending, then docid ascending).

    Anserini rounds scores to four decimals and takes 1e-6 off each further document of a tie, so that its order
    survives trec_eval's. The cut-off therefore does not depend on segments or threads.

    Args:
        index: directory made by `build_bm25_index` or stock `pyserini.index.lucene`.
        k1: term frequency saturation (0.9 is Anserini's default; 0.82 with b=0.68 for MS MARCO passages).
        b: length normalisation.
        language: of Anserini's analyzer; must be the one the index was built with.

    Raises:
        DataError: not a Lucene index.
        NoJavaError: no Java 21 or newer.
    """

    def __init__(self, index: str | os.PathLike[str], k1: float = 0.9, b: float = 0.4, language: str = "en") -> None:
        if k1 < 0 or not 0 <= b <= 1:
            raise UsageError(f"k1={k1} b={b}: k1 must be at least 0 and b lie between 0 and 1")
        self.index, self.k1, self.b = require_directory(index, "Lucene index"), k1, b
        if not any(self.index.glob("segments_*")):
            raise DataError(self.index, "not a Lucene index (no segments file)", remedy="build it with `index bm25`")
        jvm.start()
        from jnius import JavaException

        try:
            self._searcher = jvm.autoclass("io.anserini.search.SimpleSearcher")(str(self.index))
        except JavaException as error:
            raise DataError(self.index, f"cannot be opened by Lucene: {_reason(error)}") from error
        # A document used as a query can have more distinct terms than Lucene's default limit of 1,024.
        jvm.autoclass("org.apache.lucene.search.IndexSearcher").setMaxClauseCount(1 << 20)
        self._searcher.set_bm25(k1, b)
        if language != "en":
            self._searcher.set_language(language)
        self._as_json = _json_writer()

    @property
    def num_documents(self) -> int:
        """Documents in the index."""
        return self._searcher.get_total_num_docs()

    def search_batch(
        self, topics: Mapping[str, str], hits: int = 1000, threads: int | None = None, *, progress: bool = True
    ) -> Iterator[tuple[str, list[str], np.ndarray]]:
        """Searches topics, a few at a time, and yields their results in the order given.

        Args:
            topics: query id → query.
            hits: documents per topic at most.
            threads: Java threads (default: the cores at hand).
            progress: show a bar (not for callers that show their own).

        Yields:
            `(query id, docids, scores)`, scores float32 of shape (documents found,), best first; both are empty where
            no term of the query is in the index.
        """
        if hits < 1:
            raise UsageError(f"hits={hits}: must be at least 1")
        results = self._results(topics, hits, threads or available_cores())
        return iter(bar(results, total=len(topics), unit=" topics", desc="BM25")) if progress else results

    def _results(
        self, topics: Mapping[str, str], hits: int, threads: int
    ) -> Iterator[tuple[str, list[str], np.ndarray]]:
        qids = list(topics)
        size = max(threads, min(1000, _CHUNK_HITS // hits))
        for start in range(0, len(qids), size):
            chunk = qids[start : start + size]
            results = self._search(chunk, [topics[qid] for qid in chunk], hits, threads)
            for qid in chunk:
                found = results.get(qid)
                if found is None:
                    raise SdrError(f"{self.index}: Anserini returned no result for topic {qid!r}")
                docids = [hit["docid"] for hit in found]
                yield qid, docids, np.fromiter((hit["score"] for hit in found), np.float32, len(docids))

    def _search(self, qids: list[str], queries: list[str], hits: int, threads: int) -> dict[str, list[dict[str, Any]]]:
        """Query id → hits with `docid` and `score`, best first.

        They come as one text: fetching each from Java by itself takes four times as long, and longer than the search.
        """
        from jnius import JavaException

        array_list = jvm.autoclass("java.util.ArrayList")
        java_qids, java_queries = array_list(), array_list()
        for qid, query in zip(qids, queries, strict=True):
            java_qids.add(qid)
            java_queries.add(query)
        try:
            found = self._searcher.batch_search(java_queries, java_qids, hits, threads)
            return json.loads(self._as_json.writeValueAsBytes(found).tostring())
        except JavaException as error:
            reason = _reason(error)
            remedy = "; let Java have more: _JAVA_OPTIONS=-Xmx8g" if "OutOfMemoryError" in reason else ""
            raise SdrError(f"{self.index}: BM25 search failed: {reason}{remedy}") from error

    def close(self) -> None:
        """Releases the index."""
        self._searcher.close()

    def __enter__(self) -> BM25Searcher:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _json_writer() -> Any:
    """Java's writer of hits, without the documents that hang on them."""
    from jnius import find_javaclass

    mapper = jvm.autoclass("com.fasterxml.jackson.databind.ObjectMapper")()
    ignored = jvm.autoclass("com.fasterxml.jackson.annotation.JsonIgnoreProperties$Value")
    hit = mapper.configOverride(find_javaclass("io.anserini.search.ScoredDoc"))
    hit.setIgnorals(ignored.forIgnoredProperties("lucene_document"))
    return mapper


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].removeprefix("JVM exception occurred: ")
