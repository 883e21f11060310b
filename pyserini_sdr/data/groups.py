"""Training groups: a query with its positive and negative documents, one JSON object per line.

    {"query_id": "7", "query": "...", "positives": [{"id": "d1"}], "negatives": [{"id": "d4"}, {"text": "..."}],
     "scores": {"teacher": {"d1": 9.1, "d4": 2.3}}}

Tevatron's JSONL (`positive_passages`, `negative_passages`) is read too, told apart by its keys.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..core.errors import DataError, shorten
from ..core.files import atomic_file, read_jsonl
from ..trec.columns import encodable
from .group import Candidate, Group
from .records import Problem, checked_id
from .sources import groups_from_pairs, read_teacher_tsv, read_triples_ids, read_triples_text

__all__ = [
    "Candidate",
    "Group",
    "groups_from_pairs",
    "iter_located_groups",
    "read_groups",
    "read_teacher_tsv",
    "read_triples_ids",
    "read_triples_text",
    "write_groups",
]


def read_groups(path: str | os.PathLike[str]) -> Iterator[Group]:
    """Yields the groups of a file (ours or Tevatron's, plain or `.gz`), streamed.

    Raises:
        DataError: with file and line: what is missing or of the wrong kind, a query id that occurs again, a document
            that is positive and negative at once; or a file without groups.
    """
    for _, group in iter_located_groups(path):
        yield group


def iter_located_groups(path: str | os.PathLike[str]) -> Iterator[tuple[int, Group]]:
    """Yields `(line number, group)`, see `read_groups`."""
    lines: dict[str, int] = {}
    for number, record in read_jsonl(path):
        try:
            group = _tevatron(record) if "positive_passages" in record else _ours(record)
            if not group.query.strip():
                raise Problem(f"query {group.query_id!r} is empty", "remove it or give it a text")
            if not group.positives:
                raise Problem(f"query {group.query_id!r} has no positives", "remove the group")
            shared = {c.id for c in group.positives if c.id} & {c.id for c in group.negatives}
            if shared:
                raise Problem(f"query {group.query_id!r}: {min(shared)!r} is positive and negative at once", "keep one")
            first = lines.setdefault(group.query_id, number)
            if first != number:
                raise Problem(f"query {group.query_id!r} has a group at line {first} already", "merge the two")
        except Problem as problem:
            raise DataError(path, problem.args[0], line=number, remedy=problem.args[1]) from None
        yield number, group
    if not lines:
        raise DataError(path, "no groups in the file")


def write_groups(
    path: str | os.PathLike[str], groups: Iterable[Group], record: Callable[[int], object] | None = None
) -> int:
    """Writes groups atomically, one line each; returns how many.

    Args:
        path: the file.
        groups: what is written.
        record: called with their number just before the file appears, so that what it writes is there first.
    """
    count = 0
    with atomic_file(path) as handle:
        for group in groups:
            values: dict[str, Any] = {
                "query_id": group.query_id,
                "query": group.query,
                "positives": [_plain(candidate) for candidate in group.positives],
                "negatives": [_plain(candidate) for candidate in group.negatives],
            }
            if group.scores:
                values["scores"] = group.scores
            handle.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")
            count += 1
        if record is not None:
            record(count)
    return count


def _plain(candidate: Candidate) -> dict[str, str]:
    return {key: value for key, value in (("id", candidate.id), ("text", candidate.text)) if value is not None}


def _ours(record: dict[str, Any]) -> Group:
    unknown = set(record) - {"query_id", "query", "positives", "negatives", "scores"}
    if unknown or "positives" not in record:
        raise Problem(
            f"not a training group: its keys are {shorten(list(record), 80)}",
            "expected query_id, query, positives, negatives, scores, or Tevatron's query_id, query, positive_passages",
        )
    return Group(
        checked_id(record.get("query_id"), "query_id"),
        _string(record, "query"),
        [_candidate(item, "positives") for item in _list(record, "positives")],
        [_candidate(item, "negatives") for item in _list(record, "negatives")],
        _scores(record.get("scores", {})),
    )


def _candidate(item: Any, key: str) -> Candidate:
    if not isinstance(item, dict) or not item or set(item) - {"id", "text"}:
        raise Problem(f'{key!r}: expected {{"id": ...}} or {{"text": ...}}, found {shorten(item, 60)}')
    id = _id(item["id"], f"{key}: document id") if "id" in item else None
    text = _string(item, "text") if "text" in item else None
    if text is not None and not text.strip():
        raise Problem(f"{key!r}: a document has an empty text", "remove it")
    return Candidate(id, text)


def _scores(value: Any) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {}
    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise Problem(f"'scores': expected teacher → document id → number, found {shorten(value, 60)}")
    for teacher, table in value.items():
        for docid, score in table.items():
            if not _finite(score):
                raise Problem(f"'scores' of {teacher!r}: {docid!r} has {shorten(score, 40)}, expected a finite number")
            if not encodable(docid):
                raise Problem(f"'scores' of {teacher!r}: {docid!r} is not valid Unicode", "replace lone surrogates")
        if not encodable(teacher):
            raise Problem(f"'scores': the name {teacher!r} is not valid Unicode", "replace lone surrogates")
        scores[teacher] = {sys.intern(docid): float(score) for docid, score in table.items()}
    return scores


def _finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer that no float holds
        return False


def _tevatron(record: dict[str, Any]) -> Group:
    def candidates(key: str) -> list[Candidate]:
        return [_passage(item, key) for item in _list(record, key)]

    positives, negatives = candidates("positive_passages"), candidates("negative_passages")
    return Group(checked_id(record.get("query_id"), "query_id"), _string(record, "query"), positives, negatives)


def _passage(item: Any, key: str) -> Candidate:
    if not isinstance(item, dict) or "text" not in item:
        raise Problem(f"{key!r}: expected docid, title and text, found {shorten(item, 60)}")
    title, text = item.get("title") or "", _string(item, "text")
    if not isinstance(title, str):
        raise Problem(f"{key!r}: title must be a string, found {shorten(title, 40)}")
    contents = f"{title} {text}" if title and text.strip() else title or text
    if not contents.strip():
        raise Problem(f"{key!r}: a passage has an empty text", "remove it")
    return Candidate(_id(item["docid"], f"{key}: docid") if item.get("docid") is not None else None, contents)


def _id(value: Any, what: str) -> str:
    """A document id, the same object wherever it occurs: documents recur from group to group."""
    return sys.intern(checked_id(value, what))


def _list(record: dict[str, Any], key: str) -> list[Any]:
    value = record.get(key, [])
    if not isinstance(value, list):
        raise Problem(f"{key!r} must be a list, found {shorten(value, 60)}")
    return value


def _string(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise Problem(f"{key!r} must be a string, found {shorten(value, 60)}")
    if not encodable(value):
        raise Problem(f"{key!r} is not valid Unicode: {shorten(value, 60)}", "replace lone surrogates")
    return value
