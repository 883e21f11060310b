"""Relevance judgements (qrels): TREC's four columns, and BEIR's three with a header."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ..core.errors import DataError, shorten
from ..core.files import atomic_file, read_lines, require_file
from .columns import check_ids, parse_integer, split_columns

Qrels = dict[str, dict[str, int]]
"""Query id → document id → grade."""

_BEIR_HEADER = ["query-id", "corpus-id", "score"]
_GRADE_LIMIT = 1000  # trec_eval allocates a counter per grade; a score in this column would exhaust memory


def read_qrels(path: str | os.PathLike[str]) -> Qrels:
    """Reads `qid 0 docid grade` separated by any white space, or BEIR's `query-id corpus-id score` with its header.

    Returns:
        Query id → document id → grade, in file order. Grades may be 0 or negative (judged, not relevant).

    Raises:
        DataError: with file and line, for a wrong number of columns, a grade that is no integer, a document judged
            twice for a query, or a file without judgements.
    """
    path = require_file(path, "qrels file")
    qrels: Qrels = {}
    beir = None
    for number, line in read_lines(path):
        columns = split_columns(line)
        if not columns:
            continue
        if beir is None:
            beir = columns == _BEIR_HEADER
            if beir:
                continue
        if len(columns) != (3 if beir else 4):
            expected = "query-id corpus-id score" if beir else "qid 0 docid grade"
            raise DataError(
                path, f"{len(columns)} columns in {shorten(line, 60)}", line=number, remedy=f"expected {expected}"
            )
        qid, docid, text = columns[0], columns[-2], columns[-1]
        grade = parse_integer(text)
        if grade is None or abs(grade) > _GRADE_LIMIT:
            remedy = f"grades are integers between -{_GRADE_LIMIT} and {_GRADE_LIMIT}"
            raise DataError(path, f"grade {shorten(text)}", line=number, remedy=remedy)
        judged = qrels.setdefault(qid, {})
        if docid in judged:
            raise DataError(
                path,
                f"document {docid!r} is judged twice for query {qid!r} (grades {judged[docid]} and {grade})",
                line=number,
                remedy="keep one of them",
            )
        judged[docid] = grade
    if not qrels:
        raise DataError(path, "holds no judgements")
    return qrels


def write_qrels(path: str | os.PathLike[str], qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Writes `qid 0 docid grade` lines in the given order.

    Raises:
        DataError: an id that is empty or contains white space; nothing is written.
    """
    check_ids(path, list(qrels))
    with atomic_file(path) as handle:
        for qid, judged in qrels.items():
            check_ids(path, list(judged))
            for docid, grade in judged.items():
                handle.write(f"{qid} 0 {docid} {grade:d}\n")
