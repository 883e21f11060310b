"""Runs: ranked documents per topic, read and written topic by topic in trec_eval's order.

trec_eval ignores the rank column, keeps scores as C floats and breaks ties by document id *descending*. Everything here
orders documents in that way, so that the rank written is the rank evaluated.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Literal

import numpy as np

from ..core.errors import DataError, shorten
from ..core.files import atomic_file, decode_line, read_lines, read_raw_lines, require_file
from .columns import check_ids, parse_integer, parse_score, parse_scores, split_columns
from .scores import score_texts

Ranking = list[tuple[str, float]]
"""Document ids with their scores."""


def rank(docids: Sequence[str], scores: np.ndarray | Sequence[float], k: int | None = None) -> Ranking:
    """Orders documents as trec_eval does: by float32 score descending, then document id descending.

    Args:
        docids: n document ids.
        scores: n finite scores.
        k: how many to keep (all if None); ties at the cut are decided by the same rule.

    Returns:
        At most `k` pairs of document id and float32 score (as a Python float).
    """
    docids, values = ordered(docids, scores, k)
    return list(zip(docids, values.tolist(), strict=True))


def ordered(
    docids: Sequence[str], scores: np.ndarray | Sequence[float], k: int | None = None
) -> tuple[Sequence[str], np.ndarray]:
    """What `rank` gives, as document ids and scores (n,) float32; arguments as there."""
    with np.errstate(over="ignore"):
        values = np.asarray(scores, dtype=np.float32)
    if values.ndim != 1 or len(values) != len(docids):
        raise ValueError(f"{len(docids)} document ids, but scores of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite float32 numbers")
    if k is not None and k <= 0:
        return [], values[:0]
    if (values[1:] < values[:-1]).all():  # in order and without ties, as a search nearly always gives them
        return docids[:k], values[:k]
    candidates = np.arange(len(values))
    if k is not None and k < len(values):  # everything that ties with the k-th stays in until ids are compared
        threshold = np.partition(values, len(values) - k)[len(values) - k]
        candidates = np.flatnonzero(values >= threshold)
    order = candidates[np.argsort(-values[candidates], kind="stable")]
    if (values[order[1:]] == values[order[:-1]]).any():
        by_id = np.array(sorted(candidates.tolist(), key=docids.__getitem__, reverse=True))
        order = by_id[np.argsort(-values[by_id], kind="stable")]
    order = order[:k]
    return [docids[i] for i in order.tolist()], values[order]


class RunWriter:
    """Writes a run topic by topic; the file appears, whole, when the `with` block ends without an exception.

    Args:
        path: the run file (`.gz` is compressed).
        tag: last column of a TREC run, one word.
        format: `"trec"` (`qid Q0 docid rank score tag`) or `"msmarco"` (`qid<TAB>docid<TAB>rank`).
    """

    def __init__(
        self, path: str | os.PathLike[str], tag: str = "pyserini_sdr", format: Literal["trec", "msmarco"] = "trec"
    ) -> None:
        if format not in ("trec", "msmarco"):
            raise ValueError(f"unknown run format {format!r}")
        check_ids(path, [tag])
        self.path, self.tag, self.format = path, tag, format
        self.topics: set[str] = set()
        self.lines = 0
        self._stack = contextlib.ExitStack()
        self._handle: IO[str] | None = None
        self._numbers: list[str] = []

    def __enter__(self) -> RunWriter:
        self._handle = self._stack.enter_context(atomic_file(self.path))
        return self

    def __exit__(self, *exception: object) -> bool | None:
        self._handle = None
        return self._stack.__exit__(*exception)  # type: ignore[arg-type]

    def write(
        self, qid: str, docids: Sequence[str], scores: np.ndarray | Sequence[float], k: int | None = None
    ) -> None:
        """Ranks one topic's documents (see `rank`) and writes the first `k`.

        Raises:
            DataError: a topic written before, a duplicate document, a score that is not finite, or an id with white
                space.
        """
        if self._handle is None:
            raise ValueError("RunWriter.write outside of its `with` block")
        if qid in self.topics:
            raise DataError(self.path, f"topic {qid!r} is written twice", remedy="topics must have different ids")
        check_ids(self.path, [qid])
        self._check(qid, docids, scores)
        self.topics.add(qid)
        docids, scores = ordered(docids, scores, k)
        if self.format == "trec":
            columns = (docids, self._ranks(len(docids)), score_texts(scores))
            start, end = f"{qid} Q0 ", f" {self.tag}\n"
        else:
            columns, start, end = (docids, self._ranks(len(docids))), f"{qid}\t", "\n"
        self._handle.write(_lines(columns, start, "\t" if self.format == "msmarco" else " ", end))
        self.lines += len(docids)

    def _ranks(self, count: int) -> list[str]:
        """Texts of the numbers from 1 on; most topics have equally many documents."""
        if len(self._numbers) < count:
            self._numbers = [str(number) for number in range(1, count + 1)]
        return self._numbers[:count]

    def _check(self, qid: str, docids: Sequence[str], scores: np.ndarray | Sequence[float]) -> None:
        check_ids(self.path, docids)
        if len(set(docids)) < len(docids):
            seen: set[str] = set()
            twice = next(d for d in docids if d in seen or seen.add(d))
            raise DataError(self.path, f"document {twice!r} twice in topic {qid!r}", remedy="keep one of them")
        with np.errstate(over="ignore"):
            finite = np.isfinite(np.asarray(scores, dtype=np.float32))
        if not finite.all():
            i = int(np.flatnonzero(~finite)[0])
            raise DataError(
                self.path,
                f"document {docids[i]!r} of topic {qid!r} has the score {scores[i]}",
                remedy="scores must be finite float32 numbers",
            )


def _lines(columns: Sequence[Sequence[str]], start: str, between: str, end: str) -> str:
    """Lines of a run: one join of all their parts takes a third of the time of a format for each line."""
    if not columns[0]:
        return ""
    parts = [between] * (2 * len(columns) * len(columns[0]))
    parts[:: 2 * len(columns)] = [end + start] * len(columns[0])
    parts[0] = start
    for number, column in enumerate(columns):
        parts[2 * number + 1 :: 2 * len(columns)] = column
    parts.append(end)
    return "".join(parts)


def iter_run(path: str | os.PathLike[str]) -> Iterator[tuple[str, Ranking]]:
    """Yields `(query id, [(document id, score), ...])` topic by topic, in file order, holding one topic in memory.

    Reads TREC's six columns, or MS MARCO's three (query id, document id, rank), where the score is 1/rank.

    Raises:
        DataError: with file and line, for a wrong number of columns, a score or rank that is no finite number, a
            document twice in a topic, a topic whose lines are not together, or an empty file.
    """
    path = require_file(path, "run file")
    done: set[str] = set()
    current: str | None = None
    documents: dict[str, str] = {}
    lines: list[int] = []
    width = 0
    for number, line in read_lines(path):
        columns = split_columns(line)
        if not columns:
            continue
        if not width:
            width = len(columns)
        if len(columns) != width or width not in (3, 6):
            raise DataError(path, f"{len(columns)} columns in {shorten(line, 60)}", line=number, remedy=_layout(width))
        if width == 6:
            qid, _, docid, _, text, _ = columns
        else:
            qid, docid, text = columns
        if qid != current:
            if qid in done:
                raise DataError(
                    path,
                    f"topic {qid!r} continues here after other topics",
                    line=number,
                    remedy=f"`python -m pyserini_sdr.run check --run {path} --output FIXED` brings its lines together",
                )
            if current is not None:
                yield current, list(zip(documents, _scores(path, documents.values(), lines, width), strict=True))
            done.add(qid)
            current, documents, lines = qid, {}, []
        if docid in documents:
            raise DataError(
                path, f"document {docid!r} twice in topic {qid!r}", line=number, remedy="trec_eval refuses such runs"
            )
        documents[docid] = text
        lines.append(number)
    if current is None:
        raise DataError(path, "holds no results")
    yield current, list(zip(documents, _scores(path, documents.values(), lines, width), strict=True))


def _layout(width: int) -> str:
    if width == 3:
        return "the first line has MS MARCO's three: qid docid rank"
    return "expected qid Q0 docid rank score tag, or MS MARCO's qid docid rank"


def _scores(path: str | os.PathLike[str], texts: Collection[str], lines: Sequence[int], width: int) -> Sequence[float]:
    """The scores of a topic, from the texts of its scores or (of three columns) ranks, which stand on `lines`."""
    scores = None if width == 3 else parse_scores(texts)
    return scores or [_score(path, number, text, width) for number, text in zip(lines, texts, strict=True)]


def _score(path: str | os.PathLike[str], number: int, text: str, width: int) -> float:
    if width == 6:
        score = parse_score(text)
        if score is None:
            raise DataError(path, f"score {shorten(text)}", line=number, remedy="scores must be finite float32 numbers")
        return score
    position = parse_integer(text)
    if position is None or position < 1:
        raise DataError(path, f"rank {shorten(text)}", line=number, remedy="ranks are integers from 1")
    return 1 / position


def read_run(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """A whole run in memory: query id → document id → score, in file order; errors as `iter_run`."""
    return {qid: dict(ranking) for qid, ranking in iter_run(path)}


def run_topics(path: str | os.PathLike[str]) -> dict[str, int]:
    """Query ids of a run in order of first appearance → number of separate places they appear in (1 is right).

    Lines are taken as they are; whoever reads them tells what is wrong with them.
    """
    places: dict[str, int] = {}
    current, start = None, b"\n"
    for number, raw in enumerate(read_raw_lines(require_file(path, "run file")), start=1):
        if raw.startswith(start):  # the topic of the line above: nothing else need be looked at
            continue
        columns = split_columns(decode_line(path, number, raw))
        if columns and columns[0] != current:
            current = columns[0]
            places[current] = places.get(current, 0) + 1
            id = current.encode()
            start = raw[: len(id) + 1]
            if not (start.startswith(id) and start[-1:] in b" \t"):
                start = b"\n"
    return places
