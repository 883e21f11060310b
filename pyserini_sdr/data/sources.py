"""Training groups from other sources: pairs and a run, MS MARCO triples, Hofstätter's teacher scores."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping

from ..core.errors import DataError, shorten
from ..core.files import read_lines
from ..trec.run import iter_run
from .group import Candidate, Group

TEACHER = "teacher"
"""Name under which `read_teacher_tsv` files the scores."""


def groups_from_pairs(
    pairs: Iterable[tuple[str, str]],
    topics: Mapping[str, str],
    run_path: str | os.PathLike[str] | None = None,
    *,
    skip: int = 0,
    depth: int | None = None,
) -> Iterator[Group]:
    """Yields one group per query of `pairs`; negatives are the documents of a run that are not positives.

    The run is streamed: queries that it holds come in its order, the others, without negatives, after them.

    Args:
        pairs: `(query id, document id)` positives.
        topics: query id → query.
        run_path: TREC run (or MS MARCO ranking); `None` for groups without negatives.
        skip: documents at the top of each ranking that are not taken, as likely unlabelled positives.
        depth: last rank that is taken.

    Raises:
        DataError: a query of a pair that the topics lack, or a fault of the run with file and line.
    """
    positives: dict[str, list[str]] = {}
    for qid, docid in pairs:
        positives.setdefault(qid, [])
        if docid not in positives[qid]:
            positives[qid].append(docid)
    lacking = next((qid for qid in positives if qid not in topics), None)
    if lacking is not None:
        raise DataError("training pairs", f"query {lacking!r} is not in the topics", remedy="add it or drop its pairs")
    for qid, ranking in iter_run(run_path) if run_path is not None else ():
        known = positives.pop(qid, None)
        if known is not None:
            negatives = [docid for docid, _ in itertools.islice(ranking, skip, depth) if docid not in set(known)]
            yield _group(qid, topics[qid], known, negatives)
    for qid, known in positives.items():
        yield _group(qid, topics[qid], known, [])


def read_triples_ids(
    path: str | os.PathLike[str], topics: Mapping[str, str], *, contiguous: bool = False
) -> Iterator[Group]:
    """Groups from MS MARCO triples of ids, `qid \\t positive \\t negative`.

    Args:
        path: the file, plain or `.gz`.
        topics: query id → query.
        contiguous: all triples of a query stand together: groups are streamed. Otherwise all are gathered in memory
            and yielded in the order in which the queries first appear.
    """

    def triples() -> Iterator[tuple[int, str, _Gathered]]:
        for number, (qid, positive, negative) in _columns(path, "qid, positive id, negative id", 3, ids=True):
            yield number, qid, _Gathered(_topic(path, number, qid, topics), {positive: None}, {negative: None})

    for qid, _, gathered in _gather(path, triples(), contiguous):
        yield _group(qid, gathered.query, gathered.positives, gathered.negatives)


def read_triples_text(path: str | os.PathLike[str], *, contiguous: bool = False) -> Iterator[Group]:
    """Groups from triples of texts, `query \\t positive text \\t negative text`.

    Queries are told apart by their text; the query id is the number of the line where the query first appears.

    Args:
        path: the file, plain or `.gz`.
        contiguous: see `read_triples_ids`.
    """

    def triples() -> Iterator[tuple[int, str, _Gathered]]:
        for number, (query, positive, negative) in _columns(path, "query, positive text, negative text", 3):
            yield number, query, _Gathered(query, {positive: None}, {negative: None})

    for query, number, gathered in _gather(path, triples(), contiguous):
        positives = [Candidate(text=text) for text in gathered.positives]
        negatives = [Candidate(text=text) for text in gathered.negatives if text not in gathered.positives]
        yield Group(str(number), query, positives, negatives)


def read_teacher_tsv(
    path: str | os.PathLike[str], topics: Mapping[str, str], *, contiguous: bool = False
) -> Iterator[Group]:
    """Groups with scores from `pos_score \\t neg_score \\t qid \\t pos_pid \\t neg_pid` (Hofstätter et al. 2020).

    A document scored more than once for a query keeps its first score.

    Args:
        path: the file, plain or `.gz`.
        topics: query id → query.
        contiguous: see `read_triples_ids`.
    """

    def triples() -> Iterator[tuple[int, str, _Gathered]]:
        what = "positive score, negative score, qid, positive id, negative id"
        for number, (high, low, qid, positive, negative) in _columns(path, what, 5, ids=True):
            scores = _score(path, number, high), _score(path, number, low)
            query = _topic(path, number, qid, topics)
            yield number, qid, _Gathered(query, {positive: scores[0]}, {negative: scores[1]})

    for qid, _, gathered in _gather(path, triples(), contiguous):
        group = _group(qid, gathered.query, gathered.positives, gathered.negatives)
        group.scores = {TEACHER: {**gathered.negatives, **gathered.positives}}  # type: ignore[dict-item]
        yield group


class _Gathered:
    """What is known of a query so far: documents → score (or `None`), in order of appearance."""

    __slots__ = ("negatives", "positives", "query")

    def __init__(self, query: str, positives: dict[str, float | None], negatives: dict[str, float | None]) -> None:
        self.query, self.positives, self.negatives = query, positives, negatives

    def merge(self, other: _Gathered) -> None:
        for mine, theirs in ((self.positives, other.positives), (self.negatives, other.negatives)):
            for document, score in theirs.items():
                mine.setdefault(document, score)


def _gather(
    path: str | os.PathLike[str], triples: Iterable[tuple[int, str, _Gathered]], contiguous: bool
) -> Iterator[tuple[str, int, _Gathered]]:
    """Yields `(key, first line, gathered)` per query, in order of first appearance."""
    found: dict[str, tuple[int, _Gathered]] = {}
    seen: set[str] = set()
    for number, key, triple in triples:
        if key in found:
            found[key][1].merge(triple)
            continue
        if contiguous:
            if key in seen:
                raise DataError(
                    path, f"query {shorten(key, 40)} appears again", line=number, remedy="sort the file by query"
                )
            seen.add(key)
            for previous, (line, gathered) in found.items():
                yield previous, line, gathered
            found.clear()
        found[key] = number, triple
    if not found:
        raise DataError(path, "no triples in the file")
    for key, (line, gathered) in found.items():
        yield key, line, gathered


def _group(qid: str, query: str, positives: Iterable[str], negatives: Iterable[str]) -> Group:
    known = dict.fromkeys(positives)
    return Group(qid, query, [Candidate(id) for id in known], [Candidate(id) for id in negatives if id not in known])


def _columns(
    path: str | os.PathLike[str], what: str, count: int, *, ids: bool = False
) -> Iterator[tuple[int, list[str]]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != count or not all(
            column.split() == [column] if ids else column.strip() for column in columns
        ):
            raise DataError(path, f"expected {what}, separated by tabs, found {shorten(line, 60)}", line=number)
        yield number, columns


def _topic(path: str | os.PathLike[str], number: int, qid: str, topics: Mapping[str, str]) -> str:
    if qid not in topics:
        raise DataError(
            path, f"query {qid!r} is not in the topics", line=number, remedy="give the topics it belongs to"
        )
    return topics[qid]


def _score(path: str | os.PathLike[str], number: int, value: str) -> float:
    try:
        score = float(value)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise DataError(path, f"score {value!r} is not a finite number", line=number)
    return score
