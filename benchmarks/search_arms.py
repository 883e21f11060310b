"""Ways to search an index, each as the functions that a worker serves, and how two runs agree.

A served function is called with the name of what is to be done first: `topics`, `vectors`, `latency`, ….
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import spread
from material import batches

from pyserini_sdr.core.files import read_json
from pyserini_sdr.core.runtime import share_cores

TOLERANCE = 1e-4
"""Documents may differ between two runs if their score is this close to that of the last one."""


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _dispatch(kinds: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    return lambda kind, *arguments: kinds[kind](*arguments)


def ours(index: str, encoder: str | None = None, options: Mapping[str, Any] | None = None) -> Callable[..., Any]:
    """`Searcher` over an index, with the thread setting that our commands begin with."""
    share_cores()
    from pyserini_sdr.search.searcher import Searcher

    start = time.perf_counter()
    searcher = Searcher(index, encoder, device="cpu") if encoder is None else Searcher(index, encoder)
    loading = time.perf_counter() - start

    def encode(queries: Sequence[str], path: str) -> None:
        np.save(path, searcher.encoder.encode_queries(queries))

    def topics(queries: Sequence[str], hits: int) -> float:
        given = {str(number): query for number, query in enumerate(queries)}
        return timed(lambda: sum(len(ranking) for _, ranking in searcher.search_topics(given, hits)))

    def vectors(path: str, hits: int) -> float:
        rows = np.load(path)
        return timed(lambda: sum(len(ranking) for ranking in searcher.search_vectors(rows, hits)))

    def rankings(path: str, hits: int) -> list[list[str]]:
        return [[docid for docid, _ in ranking] for ranking in searcher.search_vectors(np.load(path), hits)]

    def latency(queries: Sequence[str], hits: int) -> list[float]:
        return [timed(lambda query=query: searcher.search(query, hits)) for query in queries]

    def one_vector(path: str, hits: int) -> list[float]:
        rows = np.load(path)
        return [timed(lambda row=row: list(searcher.search_vectors(row[None], hits))) for row in rows]

    return _dispatch(
        {
            "encode": encode,
            "topics": topics,
            "vectors": vectors,
            "rankings": rankings,
            "latency": latency,
            "one_vector": one_vector,
            "loading": lambda: loading,
        }
    )


def stock(index: str, encoder: str) -> Callable[..., Any]:
    """Stock's `FaissSearcher` with its `auto` query encoder, called as `pyserini.search.faiss` calls it."""
    from pyserini_sdr.anserini import jvm
    from pyserini_sdr.model.pretrained import quiet_transformers
    from pyserini_sdr.model.spec import read_spec

    jvm.start()
    from pyserini.encode import AutoQueryEncoder
    from pyserini.search.faiss import FaissSearcher

    spec = read_spec(Path(encoder), {})
    with quiet_transformers():
        queries_of = AutoQueryEncoder(
            encoder, device="cpu", pooling=spec.pooling, l2_norm=spec.normalize, prefix=spec.query_prefix or None
        )
    searcher = FaissSearcher(index, queries_of)

    def topics(queries: Sequence[str], hits: int, batch_size: int, threads: int) -> float:
        def search() -> None:
            if batch_size <= 1 and threads <= 1:
                for query in queries:
                    searcher.search(query, hits)
                return
            for part in batches(queries, batch_size):
                searcher.batch_search(list(part), [str(n) for n in range(len(part))], hits, threads=threads)

        return timed(search)

    def vectors(path: str, hits: int, batch_size: int, threads: int) -> float:
        rows = np.load(path)

        def search() -> None:
            for part in batches(rows, batch_size):
                searcher.batch_search(part, [str(n) for n in range(len(part))], hits, threads=threads)

        return timed(search)

    def latency(queries: Sequence[str], hits: int) -> list[float]:
        return [timed(lambda query=query: searcher.search(query, hits)) for query in queries]

    return _dispatch({"topics": topics, "vectors": vectors, "latency": latency})


def faiss_flat(index: str) -> Callable[..., Any]:
    """FAISS's own search of an index file, with the threads that it takes by itself."""
    import faiss

    found = faiss.read_index(str(Path(index) / "index"))

    def vectors(path: str, hits: int) -> float:
        rows = np.load(path)
        return timed(lambda: found.search(rows, hits))

    return _dispatch({"vectors": vectors})


def encoder_of(index: Path) -> str | None:
    """The encoder that an index says it was made with."""
    manifest = index / "sdr_index.json"
    return read_json(manifest).get("encoder") if manifest.exists() else None


def agreement(
    one: Mapping[str, Mapping[str, float]], other: Mapping[str, Mapping[str, float]], tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """How two runs over the same topics agree.

    Args:
        one, other: topic → document → score.
        tolerance: a document that only one run has is a violation if its score is farther than this from the lowest
            score of that run.

    Returns:
        `topics`; `missing_topics` (in one run only); `different` documents in all, `violations` among them, and
        `largest_difference` of the scores of documents that both have.
    """
    different = violations = 0
    largest = 0.0
    for qid in one.keys() & other.keys():
        for mine, theirs in ((one[qid], other[qid]), (other[qid], one[qid])):
            cut = min(mine.values(), default=0.0)
            for docid in mine.keys() - theirs.keys():
                different += 1
                violations += abs(mine[docid] - cut) > tolerance
        for docid in one[qid].keys() & other[qid].keys():
            largest = max(largest, abs(one[qid][docid] - other[qid][docid]))
    return {
        "topics": len(one.keys() | other.keys()),
        "missing_topics": len(one.keys() ^ other.keys()),
        "different": different,
        "violations": int(violations),
        "largest_difference": largest,
        "tolerance": tolerance,
    }


def recall(found: Sequence[Sequence[str]], exact: Sequence[Sequence[str]], depth: int) -> float:
    """Share of the `depth` best documents that are among the `depth` found, averaged over queries."""
    shares = [
        len(set(mine[:depth]) & set(right[:depth])) / len(right[:depth])
        for mine, right in zip(found, exact, strict=True)
    ]
    return sum(shares) / len(shares)


def percentiles(values: Sequence[float]) -> dict[str, Any]:
    """Spread of many timings, without the list, with the 95th percentile."""
    found = spread(values)
    del found["values"]
    return found | {"p95": float(np.percentile(values, 95)), "count": len(values)}
