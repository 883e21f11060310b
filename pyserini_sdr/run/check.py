"""`run check`: finds what is wrong with a run, topic by topic, and writes a repaired one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.errors import DataError, UsageError, shorten
from ..core.files import read_lines, require_file
from ..core.progress import bar, note
from ..trec.columns import parse_integer, parse_score, split_columns
from ..trec.qrels import read_qrels
from ..trec.run import RunWriter, rank, run_topics
from ..trec.topics import read_topics
from .command import CheckOptions
from .documents import UnknownIds, known_ids
from .report import Report

_MIN_STEPS = 10  # with fewer ranks to compare, rising scores prove no more than a wrong order


class Row(NamedTuple):
    """One line of a run."""

    line: int
    qid: str
    docid: str
    rank: int
    score: float
    text: str
    tag: str


def run_check(options: CheckOptions) -> int:
    """Prints the report; writes `--output` unless faults remain that no repair can mend. Exit status 0 or 1."""
    if options.tag is not None and (problem := tag_problem(options.tag, options.tag_length)):
        raise UsageError(f"--tag {options.tag}: {problem}")
    require_file(options.run, "run file")
    topics = read_topics(options.topics) if options.topics else None
    qrels = read_qrels(options.qrels) if options.qrels else None
    unknown = None
    if options.corpus or options.collection or options.index:
        known = known_ids(options.corpus, options.collection, options.index)
        lines = _lines(options.run, lambda *_, **__: None)
        unknown = UnknownIds((row.docid for _, row in lines if row is not None), known)
    report = check(
        options.run,
        topics=topics,
        qrels=qrels,
        unknown=unknown,
        depth=options.depth,
        tag=options.tag,
        tag_length=options.tag_length,
        shown=options.show,
        strict=options.strict,
    )
    print(report.render())
    remaining = report.errors(after_repair=options.output is not None)
    if options.output is None:
        if remaining and remaining > report.errors(after_repair=True):
            note("--output FIXED writes a run without the errors that can be repaired")
    elif remaining:
        note(f"{options.output}: not written, {remaining} errors cannot be repaired")
    else:
        repair(report, options.output, keep=topics, unknown=unknown or (), depth=options.depth, tag=options.tag)
        note(f"{options.output}: written")
    return 1 if remaining else 0


def tag_problem(tag: str, length: int) -> str | None:
    """What TREC has against a tag, or None: it asks for at most 20 letters, digits, `.`, `_` and `-`."""
    if not re.fullmatch(r"[A-Za-z0-9._-]+", tag):
        return "a tag for TREC has letters, digits, '.', '_' and '-' only"
    return f"{len(tag)} characters, more than {length}" if len(tag) > length else None


def check(
    path: Path,
    *,
    topics: Mapping[str, str] | None = None,
    qrels: Mapping[str, Mapping[str, int]] | None = None,
    unknown: Container[str] | None = None,
    depth: int | None = None,
    tag: str | None = None,
    tag_length: int = 20,
    shown: int = 3,
    strict: bool = False,
) -> Report:
    """Examines a run; holds one topic in memory (and those whose lines are scattered).

    Args:
        path: the run.
        topics: query id → query; the run should answer each of them, and no other.
        qrels: query id → document id → grade, for which the run is meant.
        unknown: ids of documents that do not exist.
        depth: documents allowed per topic.
        tag: of the repaired run, if not its own.
        tag_length: characters allowed in a tag.
        shown: faults of each kind that are told with their places; the others are counted.
        strict: warnings are errors, as for a submission.

    Raises:
        DataError: a file that cannot be read or is empty.
    """
    report = Report(require_file(path, "run file"), shown=shown, strict=strict)
    seen: set[str] = set()
    rises = steps = 0
    judged_top = retrieved_top = 0
    for qid, rows in bar(_topics(path, report), unit=" topics", desc="checking"):
        seen.add(qid)
        report.topics += 1
        report.lines += len(rows)
        report.depth = max(report.depth, len(rows))
        tags = Counter([row.tag for row in rows])
        for new in tags:
            if new and new not in report.tags and (problem := tag_problem(new, tag_length)):
                line = next(row.line for row in rows if row.tag == new)
                message = f"tag {shorten(new, 60)}: {problem}" + (" (--tag gives another)" if tag is None else "")
                report.add("tag", "warning", message, line=line, repaired=tag is not None)
        report.tags.update(tags)
        if topics is not None and qid not in topics:
            message = f"topic {qid!r} is not in the topics"
            report.add("unknown topic", "error", message, line=rows[0].line, repaired=True)
        if unknown is not None:
            for row in rows:
                if row.docid in unknown:
                    message = f"there is no document {row.docid!r} (topic {qid!r})"
                    report.add("unknown document", "error", message, line=row.line, repaired=True)
        _check_depth(report, rows, depth)
        _check_ranks(report, rows)
        rises += _check_topic(report, rows)
        steps += len(rows) - 1
        if qrels is not None and qid in qrels:
            top = rank([r.docid for r in rows], [r.score for r in rows], 10)
            judged_top += sum(docid in qrels[qid] for docid, _ in top)
            retrieved_top += len(top)
    if not report.lines and not report.findings:
        raise DataError(path, "holds no results")
    if steps >= _MIN_STEPS and rises > 0.9 * steps:
        report.findings.pop("rank order", None)
        report.add(
            "ascending",
            "error",
            "scores rise with the rank, so trec_eval reads the run upside down "
            "(are they distances? search an inner-product index, or negate them)",
        )
    if report.format == "trec" and len(report.tags) > 1:
        message = f"{len(report.tags)} different tags: {shorten(sorted(report.tags), 80)}"
        report.add("tags", "warning", message, repaired=True)
    _check_missing(report, seen, topics, qrels)
    if retrieved_top:
        share = judged_top / retrieved_top
        told = f"{share:.1%} of the ten first documents of judged topics are judged"
        if judged_top:
            report.add("judged@10", "note", told)
        else:
            report.add("judged@10", "warning", f"{told}; are these the qrels of this collection?")
    return report


def _check_missing(
    report: Report,
    seen: set[str],
    topics: Mapping[str, str] | None,
    qrels: Mapping[str, Mapping[str, int]] | None,
) -> None:
    """Adds topics without results, and those that nobody judged."""
    for name, wanted in (("topics", topics), ("judged topics", qrels)):
        missing = [qid for qid in wanted or () if qid not in seen]
        if missing:
            effect = " (they count 0)" if name == "judged topics" else ""
            first = ", ".join(map(repr, missing[: max(report.shown, 1)]))
            message = f"no results for {len(missing)} of {len(wanted)} {name}, as {first}{effect}"
            report.add(f"missing {name}", "warning", message)
    if qrels is not None and seen:
        unjudged = len(seen - qrels.keys())
        if unjudged == len(seen):
            report.add("no judged topic", "error", "none of its topics is in the qrels")
        elif unjudged:
            report.add("unjudged topics", "note", f"{unjudged} of {len(seen)} topics are not in the qrels")


def _check_depth(report: Report, rows: list[Row], depth: int | None) -> None:
    if depth is None or len(rows) == depth:
        return
    qid, line = rows[0].qid, rows[0].line
    if len(rows) > depth:
        message = f"topic {qid!r} has {len(rows)} documents, more than {depth}"
        report.add("depth", "error", message, line=line, repaired=True)
    else:
        message = f"topic {qid!r} has {len(rows)} documents, fewer than {depth}"
        report.add("shallow", "note", message, line=line)


def _check_ranks(report: Report, rows: list[Row]) -> None:
    """Adds ranks that are not 1, 2, 3 … in line order; trec_eval ignores them, TREC and `pyserini.fusion` do not."""
    if [row.rank for row in rows] == list(range(1, len(rows) + 1)):
        return
    qid = rows[0].qid
    ranked = sorted(rows, key=lambda row: row.rank)
    if [row.rank for row in rows] != [row.rank for row in ranked]:
        row = next(b for a, b in pairwise(rows) if b.rank < a.rank)
        message = f"rank {row.rank} of topic {qid!r} stands below a higher one"
        report.add("line order", "warning", message, line=row.line, repaired=True)
    if ranked[0].rank != 1:
        message = f"ranks of topic {qid!r} begin with {ranked[0].rank}, not 1"
        report.add("rank start", "warning", message, line=ranked[0].line, repaired=True)
    for above, below in pairwise(ranked):
        if below.rank == above.rank:
            message = f"rank {below.rank} twice in topic {qid!r} (first on line {above.line})"
            report.add("rank twice", "warning", message, line=below.line, repaired=True)
        elif below.rank != above.rank + 1:
            message = f"rank {below.rank} of topic {qid!r} follows {above.rank}"
            report.add("rank gap", "warning", message, line=below.line, repaired=True)


def _check_topic(report: Report, rows: list[Row]) -> int:
    """Adds one topic's duplicates and faults of its scores; returns at how many steps down the ranks these rise."""
    qid = rows[0].qid
    if len({row.docid for row in rows}) < len(rows):
        first: dict[str, int] = {}
        for row in rows:
            if row.docid in first:
                message = f"document {row.docid!r} twice in topic {qid!r} (first on line {first[row.docid]})"
                report.add("duplicate", "error", message, line=row.line, repaired=True)
            first.setdefault(row.docid, row.line)
    ranked = sorted(rows, key=lambda row: row.rank)
    scores = np.asarray([row.score for row in ranked], dtype=np.float32)
    rises = np.flatnonzero(scores[1:] > scores[:-1])
    if len(rises):
        above, below = ranked[rises[0]], ranked[rises[0] + 1]
        message = (
            f"rank {below.rank} of topic {qid!r} has the score {below.text}, above rank {above.rank} with {above.text}"
        )
        report.add("rank order", "error", message, line=below.line, repaired=True)
    tied = [(ranked[i], ranked[i + 1]) for i in np.flatnonzero(scores[1:] == scores[:-1]).tolist()]
    if tied and report.format == "trec":
        report.ties += len(tied)
        a, b = tied[0]
        report.add("ties", "note", f"ties in topic {qid!r}: {len(tied)}, the first at {a.text}", line=b.line)
        for a, b in tied:
            if a.score != b.score:
                message = f"scores {a.text} and {b.text} are one float32 number; trec_eval sees a tie"
                report.add("float32", "warning", message, line=b.line, repaired=True)
            if a.docid < b.docid:
                message = f"ties of topic {qid!r} are not in trec_eval's order (document id descending)"
                report.add("tie order", "warning", message, line=b.line, repaired=True)
    return len(rises)


def repair(
    report: Report,
    output: Path,
    *,
    keep: Container[str] | None = None,
    unknown: Container[str] = (),
    depth: int | None = None,
    tag: str | None = None,
) -> None:
    """Writes the run of `report` sorted, ranked and cut, without duplicates (the best score stays), topics not in
    `keep`, and `unknown` documents."""
    tag = tag or next(iter(report.tags), None) or "pyserini_sdr"
    with RunWriter(output, tag, report.format) as writer:
        for qid, rows in _topics(report.path, Report(report.path)):
            if keep is not None and qid not in keep:
                continue
            best: dict[str, float] = {}
            for row in rows:
                if row.docid not in unknown:
                    best[row.docid] = max(row.score, best.get(row.docid, row.score))
            writer.write(qid, list(best), list(best.values()), depth)
        if not writer.lines:
            raise DataError(report.path, "nothing is left of it after the repair", remedy="is it of these topics?")


def _topics(path: Path, report: Report) -> Iterator[tuple[str, list[Row]]]:
    """Topics in order of first appearance, scattered ones gathered; faulty lines are reported and left out."""
    left = run_topics(path)
    held: dict[str, list[Row]] = {}
    current = last = None
    for qid, row in _lines(path, report.add):
        if qid != current:
            yield from _complete(held, left)
            current = qid
            left[qid] -= 1
        if row is None:
            continue
        if qid != last and qid in held:
            message = f"topic {qid!r} continues here after other topics"
            report.add("scattered", "error", message, line=row.line, repaired=True)
        last = qid
        report.format = "trec" if row.tag else "msmarco"
        held.setdefault(qid, []).append(row)
    yield from held.items()


def _complete(held: dict[str, list[Row]], left: Mapping[str, int]) -> Iterator[tuple[str, list[Row]]]:
    """Takes out the topics at the front of `held` whose lines have all been read."""
    while held and left[next(iter(held))] == 0:
        qid = next(iter(held))
        yield qid, held.pop(qid)


def _lines(path: Path, fault: Callable[..., None]) -> Iterator[tuple[str, Row | None]]:
    """Yields every line's topic, or what stands in its place, and the line; None for a faulty one, which is told."""
    width = 0
    for number, line in read_lines(path):
        columns = split_columns(line)
        if not columns:
            continue
        width = width or (len(columns) if len(columns) in (3, 6) else 0)
        if len(columns) != (width or 6):
            message = f"{len(columns)} columns instead of {width or '6 (TREC) or 3 (MS MARCO)'}: {shorten(line, 60)}"
            fault("columns", "error", message, line=number)
            yield columns[0], None
            continue
        if width == 6:
            qid, q0, docid, place, text, tag = columns
            if q0 != "Q0":
                fault("Q0", "warning", f"second column is {shorten(q0)}, not 'Q0'", line=number, repaired=True)
        else:
            (qid, docid, place), text, tag = columns, "1", ""
        position, score = parse_integer(place), parse_score(text)
        if position is None or (width == 3 and position < 1):
            fault("rank", "error", f"rank {shorten(place)} is no integer from 1", line=number)
            yield qid, None
        elif score is None:
            fault("score", "error", f"score {shorten(text)} is no finite float32 number", line=number)
            yield qid, None
        else:
            yield qid, Row(number, qid, docid, position, score if width == 6 else 1 / position, text, tag)
