"""Views of a document: its text with one generated query after it (CAPSTONE, arXiv 2212.09114).

The queries are a JSONL file, `{"id": "d1", "queries": ["...", ...]}`, one line per document.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ..core.errors import DataError, shorten
from ..core.files import read_jsonl
from ..trec.columns import encodable
from .records import Problem, checked_id


def with_query(text: str, query: str) -> str:
    """The view of a document for a query: its text, a space, the query. Training and encoding both make it here.

    An empty query gives the text itself.
    """
    return f"{text} {query}" if query else text


def read_document_queries(path: str | os.PathLike[str]) -> Iterator[tuple[int, str, list[str]]]:
    """Yields `(line number, document id, its queries)`, streamed; a document may have none.

    Raises:
        DataError: with file and line: a line of another kind, a blank query, a bad id; or a file without a line.
    """
    number = 0
    for number, record in read_jsonl(path):
        try:
            id = checked_id(record.get("id"), "id")
        except Problem as problem:
            raise DataError(path, problem.args[0], line=number, remedy=problem.args[1]) from None
        queries = record.get("queries")
        if not isinstance(queries, list) or not all(
            isinstance(query, str) and query.strip() and encodable(query) for query in queries
        ):
            raise DataError(
                path,
                f"'queries' of {id!r} must be a list of texts, found {shorten(queries, 60)}",
                line=number,
                remedy='write {"id": "...", "queries": ["...", ...]} per document',
            )
        yield number, id, queries
    if not number:
        raise DataError(path, "no line with queries in the file")


class QueriesOf:
    """The queries of documents, asked for one by one; streamed where the file has the order in which they are asked.

    Lines that come before their turn are kept meanwhile.

    Args:
        path: the file, see `read_document_queries`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._lines = read_document_queries(path)
        self._early: dict[str, list[str]] = {}

    def __call__(self, id: str) -> list[str]:
        """The queries of a document that has not been asked for before; `DataError` if the file lacks it."""
        if id in self._early:
            return self._early.pop(id)
        for number, other, queries in self._lines:
            if other == id:
                return queries
            if other in self._early:
                raise DataError(self.path, f"document {other!r} has a line already", line=number, remedy="keep one")
            self._early[other] = queries
        raise DataError(self.path, f"has no line of document {id!r}", remedy="give the file made of this corpus")
