"""Reranking: the best documents of a run scored pair by pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..data.store import DocumentStore
from ..model.cross_encoder import CrossEncoder
from ..model.encoder import BiEncoder
from ..trec.run import Ranking, iter_run, rank

PairScorer = CrossEncoder | BiEncoder
"""What can score a query with a document."""

_ENOUGH = 1024
"""Pairs scored at a time at least: texts of a length stand together, and little is padding."""


def score_pairs(
    scorer: PairScorer, pairs: Sequence[tuple[str, str]], on_batch: Callable[[int], None] | None = None
) -> np.ndarray:
    """Scores of (query, document) texts, (n,) float32: logits, or similarities as an index of the bi-encoder has them.

    A bi-encoder encodes each distinct text once.

    Args:
        scorer: a cross-encoder or a bi-encoder.
        pairs: texts.
        on_batch: called with the number of pairs that are done.
    """
    if isinstance(scorer, CrossEncoder):
        return scorer.score(pairs, on_batch)
    queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
    documents = {document: row for row, document in enumerate(dict.fromkeys(document for _, document in pairs))}
    query_vectors, document_vectors = scorer.encode_queries(list(queries)), scorer.encode_documents(list(documents))
    scores = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _ENOUGH):
        part = pairs[start : start + _ENOUGH]
        left = query_vectors[[queries[query] for query, _ in part]]
        right = document_vectors[[documents[document] for _, document in part]]
        scores[start : start + len(part)] = np.einsum("nd,nd->n", left, right)
    if on_batch is not None:
        on_batch(len(pairs))
    return scores


def rerank_run(
    scorer: PairScorer,
    run: Path,
    topics: Mapping[str, str],
    store: DocumentStore,
    hits: int,
    *,
    keep_rest: bool = False,
    remove_query: bool = False,
) -> Iterator[tuple[str, Ranking]]:
    """Yields `(qid, ranking)` for every topic of a run that `topics` has, in the run's order, streamed.

    Args:
        scorer: what scores the pairs.
        run: TREC run (or MS MARCO ranking).
        topics: qid → query.
        store: texts of the documents.
        hits: best documents of each topic that are scored.
        keep_rest: the others follow in the run's order, each scored one below the document before it.
        remove_query: drop the document whose id is the topic's.

    Raises:
        DataError: none of the topics is in the run, a document that the corpus lacks, a score that is not finite.
    """
    waiting: list[tuple[str, list[str], list[str]]] = []
    pairs, found = 0, False
    for qid, ranking in iter_run(run):
        if qid not in topics:
            continue
        found = True
        docids = [docid for docid, _ in rank([d for d, _ in ranking], [s for _, s in ranking])]
        if remove_query and qid in docids:
            docids.remove(qid)
        if not docids:
            continue
        missing = store.missing(docids[:hits])
        if missing:
            raise DataError(
                run,
                f"document {missing[0]!r} of topic {qid!r} is not in the corpus {store.corpus}",
                remedy="give the corpus that was searched",
            )
        waiting.append((qid, docids[:hits], docids[hits:] if keep_rest else []))
        pairs += len(docids[:hits])
        if pairs >= _ENOUGH:
            yield from _score_topics(scorer, waiting, topics, store, run)
            waiting, pairs = [], 0
    if not found:
        raise DataError(run, "holds none of the topics", remedy="give the topics that were searched")
    yield from _score_topics(scorer, waiting, topics, store, run)


def _score_topics(
    scorer: PairScorer,
    waiting: Sequence[tuple[str, list[str], list[str]]],
    topics: Mapping[str, str],
    store: DocumentStore,
    run: Path,
) -> Iterator[tuple[str, Ranking]]:
    scores = score_pairs(scorer, [(topics[qid], store[docid]) for qid, head, _ in waiting for docid in head])
    start = 0
    for qid, head, rest in waiting:
        own = scores[start : start + len(head)]
        start += len(head)
        if not np.isfinite(own).all():
            docid = head[int(np.argmin(np.isfinite(own)))]
            raise DataError(run, f"document {docid!r} of topic {qid!r}: the model's score is not finite",
                            remedy="try --precision fp32, or check the checkpoint")  # fmt: skip
        ranking = rank(head, own)
        lowest = ranking[-1][1]
        yield qid, [*ranking, *((docid, lowest - place) for place, docid in enumerate(rest, start=1))]
