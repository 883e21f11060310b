"""Documents from passages: a document scores as its best passage (stock Pyserini's `--max-passage`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..data.part_ids import document_of
from ..trec.run import Ranking, rank
from .options import MaxPassageOptions


def best_passages(
    results: Iterable[tuple[str, Ranking]], options: MaxPassageOptions, *, remove_query: bool = False
) -> Iterator[tuple[str, Ranking]]:
    """Yields `(qid, ranking of documents)` of rankings of passages or views; as they are without `--max-passage`.

    Args:
        results: query id and ranking, best first.
        options: whether, how many documents, and what ids are cut at.
        remove_query: drop the document whose id is the query's.
    """
    if not options.max_passage:
        yield from results
        return
    for qid, ranking in results:
        best: dict[str, float] = {}
        for id, score in ranking:
            best.setdefault(document_of(id, options.delimiter), score)
        if remove_query:
            best.pop(qid, None)
        yield qid, rank(list(best), list(best.values()), options.documents)
