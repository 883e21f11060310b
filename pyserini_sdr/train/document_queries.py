"""Documents seen with one of their generated queries, unlike the training query first (CAPSTONE, arXiv 2212.09114)."""

from __future__ import annotations

from collections.abc import Container
from functools import lru_cache
from pathlib import Path

from ..core.errors import DataError
from ..data.pseudo_text import fraction
from ..data.views import read_document_queries
from .rouge import rouge_l, words_of

_KEPT = 1 << 17
"""Orders that are kept, of pairs of a document and a training query; some 0.3 kB each with ten queries."""


def part_at(step: int, steps: int, parts: int) -> int:
    """The part that queries are drawn from at a step: from `parts`, the least similar, down to 1.

    max(N − ⌊g/(max_steps/N)⌋, 1), g the steps done, as in the authors' code.
    """
    return max(parts - step * parts // steps, 1)


class DocumentQueries:
    """The generated queries of documents.

    Args:
        path: JSONL of `{"id", "queries"}`, see `data.views`.
        wanted: ids that may be asked for, so that only these are held in memory; None holds all.
        parts: N, into how many parts the queries of a document are divided by their likeness to the training query.

    Raises:
        DataError: as `read_document_queries`; a document that comes twice.
    """

    def __init__(self, path: Path, wanted: Container[str] | None = None, parts: int = 3) -> None:
        self.path, self.parts = path, parts
        self._order = lru_cache(_KEPT)(self._ordered)  # the same pair comes again in every epoch
        self._queries: dict[str, list[str]] = {}
        for line, id, queries in read_document_queries(path):
            if wanted is not None and id not in wanted:
                continue
            if id in self._queries:
                raise DataError(path, f"document {id!r} comes twice", line=line, remedy="keep one of its lines")
            self._queries[id] = queries

    def __contains__(self, id: object) -> bool:
        """Whether the document has a query."""
        return bool(self._queries.get(id))  # type: ignore[call-overload]

    def ordered(self, id: str, query: str) -> list[str]:
        """The queries of a document by ROUGE-L to the training query, the most similar first; that query itself not."""
        return list(self._order(id, query))

    def _ordered(self, id: str, query: str) -> tuple[str, ...]:
        asked = words_of(query)
        found = [(text, words_of(text)) for text in self._queries.get(id, ())]
        scored = [(rouge_l(asked, words), text) for text, words in found if words != asked]
        return tuple(text for _, text in sorted(scored, key=lambda pair: -pair[0]))

    def draw(self, id: str, query_id: str, query: str, *, part: int, step: int, seed: int) -> str:
        """One query out of a part, by (seed, step, query, document); empty if the document has none but `query`.

        Of fewer queries than parts one serves for several parts.
        """
        queries = self._order(id, query)
        if not queries:
            return ""
        first, last = ((k * len(queries)) // self.parts for k in (part - 1, part))
        return queries[first + int(fraction(seed, f"view {step} {query_id}", id) * max(last - first, 1))]
