"""Views of documents: the text with a query, and the file of queries."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data.views import QueriesOf, read_document_queries, with_query

LINES = '{"id": "a", "queries": ["x y", "z"]}\n{"id": "b", "queries": []}\n\n{"id": 3, "queries": ["w"]}\n'


def test_with_query():
    assert with_query("a text.", "a query") == "a text. a query"
    assert with_query("a text.", "") == "a text."


def test_reading(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text(LINES)
    assert list(read_document_queries(path)) == [(1, "a", ["x y", "z"]), (2, "b", []), (4, "3", ["w"])]


def test_documents_may_be_asked_for_in_any_order(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text(LINES)
    queries = QueriesOf(path)
    assert [queries("3"), queries("a"), queries("b")] == [["w"], ["x y", "z"], []]
    with pytest.raises(DataError, match=r"q.jsonl: has no line of document 'c'"):
        queries("c")


def test_a_document_twice_is_noticed(tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text(LINES + '{"id": "a", "queries": []}\n')
    with pytest.raises(DataError, match=r"q.jsonl:5: document 'a' has a line already"):
        QueriesOf(path)("c")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "a", "queries": "x"}', r"q.jsonl:2: 'queries' of 'a' must be a list of texts, found 'x'"),
        ('{"id": "a", "queries": ["x", " "]}', "q.jsonl:2: 'queries' of 'a' must be a list of texts"),
        ('{"id": "a"}', "q.jsonl:2: 'queries' of 'a' must be a list of texts, found None"),
        ('{"queries": []}', "q.jsonl:2: id: "),
        ('{"id": "a b", "queries": []}', "q.jsonl:2: id: .*white space"),
    ],
)
def test_bad_lines(line: str, message: str, tmp_path: Path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"id": "0", "queries": []}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        list(read_document_queries(path))


def test_an_empty_file(tmp_path: Path):
    (tmp_path / "q.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no line with queries"):
        list(read_document_queries(tmp_path / "q.jsonl"))
