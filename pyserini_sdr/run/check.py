"""`run check`: finds what is wrong with a run, topic by topic, and writes a repaired one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ..core.errors import DataError, shorten
from ..core.files import read_lines, require_file
from ..core.progress import bar, note
from ..trec.columns import parse_integer, parse_score, split_columns
from ..trec.qrels import read_qrels
from ..trec.run import RunWriter, rank
from ..trec.topics import read_topics
from .command import CheckOptions

Severity = Literal["error", "warning", "note"]

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


@dataclass
class Finding:
    """One kind of fault: its first instance and how many there are."""

    severity: Severity
    message: str
    line: int | None
    repaired: bool
    count: int = 1


@dataclass
class Report:
    """What `check` found in a run.

    Attributes:
        findings: per kind of fault, in order of first appearance.
        topics, lines, depth: counts; `depth` is the length of the longest topic.
        format: `trec` or `msmarco`.
        tags: tags of the run with their number of lines.
    """

    path: Path
    findings: dict[str, Finding] = field(default_factory=dict)
    topics: int = 0
    lines: int = 0
    depth: int = 0
    format: Literal["trec", "msmarco"] = "trec"
    tags: Counter[str] = field(default_factory=Counter)

    def add(
        self, kind: str, severity: Severity, message: str, *, line: int | None = None, repaired: bool = False
    ) -> None:
        """Counts a fault; only the first of its kind keeps its message."""
        if kind in self.findings:
            self.findings[kind].count += 1
        else:
            self.findings[kind] = Finding(severity, message, line, repaired)

    def errors(self, *, after_repair: bool) -> int:
        """Number of faults that are errors, all or only those that a repair leaves."""
        found = self.findings.values()
        return sum(f.count for f in found if f.severity == "error" and not (after_repair and f.repaired))

    def render(self) -> str:
        """A line of counts, then one line per kind of fault."""
        tags = ", ".join(self.tags) or "none"
        lines = [
            f"{self.path}: {self.topics} topics, {self.lines} lines, at most {self.depth} documents per topic, "
            f"{self.format} format, tag {shorten(tags, 60)[1:-1]}"
        ]
        for finding in self.findings.values():
            place = self.path if finding.line is None else f"{self.path}:{finding.line}"
            more = f" (and {finding.count - 1} more)" if finding.count > 1 else ""
            lines.append(f"{place}: {finding.severity}: {finding.message}{more}")
        return "\n".join(lines)


def run_check(options: CheckOptions) -> int:
    """Prints the report; writes `--output` unless faults remain that no repair can mend. Exit status 0 or 1."""
    topics = read_topics(options.topics) if options.topics else None
    qrels = read_qrels(options.qrels) if options.qrels else None
    report = check(options.run, topics=topics, qrels=qrels, depth=options.depth)
    print(report.render())
    remaining = report.errors(after_repair=options.output is not None)
    if options.output is None:
        if remaining and remaining > report.errors(after_repair=True):
            note("--output FIXED writes a run without the errors that can be repaired")
    elif remaining:
        note(f"{options.output}: not written, {remaining} errors cannot be repaired")
    else:
        repair(report, options.output, keep=topics, depth=options.depth, tag=options.tag)
        note(f"{options.output}: written")
    return 1 if remaining else 0


def check(
    path: Path,
    *,
    topics: dict[str, str] | None = None,
    qrels: dict[str, dict[str, int]] | None = None,
    depth: int | None = None,
) -> Report:
    """Examines a run; holds one topic in memory (and those whose lines are scattered)."""
    report = Report(require_file(path, "run file"))
    seen: set[str] = set()
    rises = steps = 0
    judged_top = retrieved_top = 0
    for qid, rows in bar(_topics(path, report), unit=" topics", desc="checking"):
        seen.add(qid)
        report.topics += 1
        report.lines += len(rows)
        report.depth = max(report.depth, len(rows))
        report.tags.update(row.tag for row in rows)
        if topics is not None and qid not in topics:
            report.add(
                "unknown topic", "error", f"topic {qid!r} is not in the topics", line=rows[0].line, repaired=True
            )
        if depth is not None and len(rows) > depth:
            message = f"topic {qid!r} has {len(rows)} documents, more than {depth}"
            report.add("depth", "error", message, line=rows[0].line, repaired=True)
        rises += _check_topic(report, rows)
        steps += len(rows) - 1
        if qrels is not None and qid in qrels:
            top = rank([r.docid for r in rows], [r.score for r in rows], 10)
            judged_top += sum(docid in qrels[qid] for docid, _ in top)
            retrieved_top += len(top)
    if not report.lines:
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
        report.add("tags", "warning", f"{len(report.tags)} different tags: {shorten(sorted(report.tags), 80)}")
    for name, wanted in (("topics", topics), ("judged topics", qrels)):
        missing = [qid for qid in wanted or () if qid not in seen]
        if missing:
            effect = " (they count 0)" if name == "judged topics" else ""
            message = f"no results for {len(missing)} of {len(wanted)} {name}, as {missing[0]!r}{effect}"
            report.add(f"missing {name}", "warning", message)
    if qrels is not None:
        unjudged = len(seen - qrels.keys())
        if unjudged == len(seen):
            report.add("no judged topic", "error", "none of its topics is in the qrels")
        elif unjudged:
            report.add("unjudged topics", "note", f"{unjudged} of {len(seen)} topics are not in the qrels")
        if retrieved_top:
            share = judged_top / retrieved_top
            report.add("judged@10", "note", f"{share:.1%} of the ten first documents of judged topics are judged")
    return report


def _check_topic(report: Report, rows: list[Row]) -> int:
    """Adds one topic's faults; returns at how many steps down the ranks the score rises."""
    qid = rows[0].qid
    first: dict[str, int] = {}
    for row in rows:
        if row.docid in first:
            message = f"document {row.docid!r} twice in topic {qid!r} (first on line {first[row.docid]})"
            report.add("duplicate", "error", message, line=row.line, repaired=True)
        first.setdefault(row.docid, row.line)
    if [row.rank for row in rows] != list(range(1, len(rows) + 1)):
        line = next((r.line for i, r in enumerate(rows, start=1) if r.rank != i), None)
        report.add("ranks", "warning", f"ranks of topic {qid!r} are not 1, 2, 3 ... in line order", line=line)
    ranked = sorted(rows, key=lambda row: row.rank)
    scores = np.asarray([row.score for row in ranked], dtype=np.float32)
    rises = np.flatnonzero(scores[1:] > scores[:-1])
    if len(rises):
        above, below = ranked[rises[0]], ranked[rises[0] + 1]
        message = (
            f"rank {below.rank} of topic {qid!r} has the score {below.text}, above rank {above.rank} with {above.text}"
        )
        report.add("rank order", "error", message, line=below.line, repaired=True)
    tied = [(a, b) for (a, b), x, y in zip(pairwise(ranked), scores, scores[1:], strict=False) if x == y]
    if tied and report.format == "trec":
        a, b = tied[0]
        report.add("ties", "note", f"tied scores in topic {qid!r} ({a.text})", line=b.line)
        for a, b in tied:
            if a.score != b.score:
                message = f"scores {a.text} and {b.text} are one float32 number; trec_eval sees a tie"
                report.add("float32", "warning", message, line=b.line)
            if a.docid < b.docid:
                message = f"ties of topic {qid!r} are not in trec_eval's order (document id descending)"
                report.add("tie order", "warning", message, line=b.line)
    return len(rises)


def repair(
    report: Report,
    output: Path,
    *,
    keep: dict[str, str] | None = None,
    depth: int | None = None,
    tag: str | None = None,
) -> None:
    """Writes the run of `report` sorted, ranked and cut, without duplicates (the best score stays) or topics not in
    `keep`."""
    tag = tag or next(iter(report.tags), None) or "pyserini_sdr"
    with RunWriter(output, tag, report.format) as writer:
        for qid, rows in _topics(report.path, Report(report.path)):
            if keep is not None and qid not in keep:
                continue
            best: dict[str, float] = {}
            for row in rows:
                best[row.docid] = max(row.score, best.get(row.docid, row.score))
            writer.write(qid, list(best), list(best.values()), depth)


def _topics(path: Path, report: Report) -> Iterator[tuple[str, list[Row]]]:
    """Topics in order of first appearance, scattered ones gathered; faulty lines are reported and left out."""
    segments: Counter[str] = Counter()
    current = None
    for row in _rows(path, lambda *_, **__: None):
        if row.qid != current:
            current = row.qid
            segments[current] += 1
    held: dict[str, list[Row]] = {}
    left = Counter(segments)
    current = None
    for row in _rows(path, report.add):
        if row.qid != current:
            yield from _complete(held, left)
            current = row.qid
            left[current] -= 1
            if current in held:
                message = f"topic {current!r} continues here after other topics"
                report.add("scattered", "error", message, line=row.line, repaired=True)
        report.format = "trec" if row.tag else "msmarco"
        held.setdefault(row.qid, []).append(row)
    yield from held.items()


def _complete(held: dict[str, list[Row]], left: Counter[str]) -> Iterator[tuple[str, list[Row]]]:
    """Takes out the topics at the front of `held` whose lines have all been read."""
    while held and left[next(iter(held))] == 0:
        qid = next(iter(held))
        yield qid, held.pop(qid)


def _rows(path: Path, fault: Callable[..., None]) -> Iterator[Row]:
    width = 0
    for number, line in read_lines(path):
        columns = split_columns(line)
        if not columns:
            continue
        width = width or (len(columns) if len(columns) in (3, 6) else 0)
        if len(columns) != (width or 6):
            message = f"{len(columns)} columns instead of {width or '6 (TREC) or 3 (MS MARCO)'}: {shorten(line, 60)}"
            fault("columns", "error", message, line=number)
            continue
        if width == 6:
            qid, q0, docid, place, text, tag = columns
            if q0 != "Q0":
                fault("Q0", "warning", f"second column is {shorten(q0)}, not 'Q0'", line=number, repaired=True)
        else:
            (qid, docid, place), text, tag = columns, "1", ""
        position = parse_integer(place)
        if position is None or (width == 3 and position < 1):
            fault("rank", "error", f"rank {shorten(place)} is no integer from 1", line=number)
            continue
        score = parse_score(text)
        if score is None:
            fault("score", "error", f"score {shorten(text)} is no finite number", line=number)
            continue
        yield Row(number, qid, docid, position, score if width == 6 else 1 / position, text, tag)
