"""`collection check`: every fault of a collection directory, one line each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import DataError
from ..core.files import read_lines
from ..core.progress import bar
from ..data.collection import Collection, read_pairs
from ..data.corpus import duplicate_error, duplicate_ids, iter_located
from ..data.groups import iter_located_groups
from ..data.ids import IdHashes, IdSet
from ..data.leaks import Leak, TrainingQueries
from ..data.records import DocumentParser, begins_with_title
from .commands import CheckOptions


@dataclass(frozen=True)
class Finding:
    """A fault (`level` error) or something to know (warning).

    Args:
        level: `error` or `warning`.
        kind: what sort of fault, for counting.
        message: one line with file and line.
    """

    level: str
    kind: str
    message: str


def run(options: CheckOptions) -> int:
    """Prints counts and findings; 1 if there are errors."""
    report = check_collection(options.directory, options.groups or ())
    kinds = Counter((finding.level, finding.kind) for finding in report.findings)
    errors = sum(count for (level, _), count in kinds.items() if level == "error")
    if options.json:
        rows = [{"level": f.level, "kind": f.kind, "message": f.message} for f in report.findings]
        print(json.dumps({"counts": report.counts, "errors": errors, "findings": rows}, indent=2, ensure_ascii=False))
        return int(errors > 0)
    for name, count in report.counts.items():
        print(f"{name}: {count:,}")
    for (level, kind), count in kinds.items():
        for finding in [f for f in report.findings if (f.level, f.kind) == (level, kind)][: options.max_findings]:
            print(f"{level}: {finding.message}")
        if count > options.max_findings:
            print(f"{level}: ... and {count - options.max_findings:,} more of this kind ({kind})")
    warnings = sum(count for (level, _), count in kinds.items() if level == "warning")
    print(f"{errors:,} errors, {warnings:,} warnings")
    return int(errors > 0)


@dataclass
class Report:
    """What `check_collection` found."""

    counts: dict[str, int]
    findings: list[Finding]


def check_collection(directory: str | Path, groups: Iterable[str | Path] = ()) -> Report:
    """Reads all of a collection and says what it holds and what is wrong with it.

    Args:
        directory: collection directory.
        groups: files of training groups to check against it.
    """
    collection = Collection.open(directory)
    report = Report({}, [])
    documents = _check_corpus(collection, report)
    topics = _check_topics(collection, report)
    for path in sorted(collection.path.glob("qrels.*.txt")):
        _check_qrels(path, topics, documents, report)
    if collection.pairs_path.is_file():
        _check_pairs(collection, topics, documents, report)
    _check_leaks(collection, topics, report)
    for path in groups:
        _check_groups(Path(path), topics, documents, report)
    return report


def _check_corpus(collection: Collection, report: Report) -> IdSet | None:
    """Checks every document; returns the ids, `None` if they could not all be read."""
    ids = IdHashes()
    faults: list[DataError] = []
    titled = without = 0
    place: tuple[Path, int] | None = None
    located = iter_located(collection.corpus, on_error=faults.append)
    for file, number, document in bar(located, unit="doc", desc="check corpus"):
        ids.add(document.id)
        titled += bool(document.title)
        if document.title and not begins_with_title(document):
            without, place = without + 1, place or (file, number)
    report.counts["documents"] = len(ids)
    if place is not None:
        fault = DataError(
            place[0],
            f"{without:,} of {titled:,} documents with a title have contents that do not begin with it (first here)",
            line=place[1],
            remedy="put the title before the text, or it is never indexed",
        )
        report.findings.append(Finding("warning", "title not in contents", str(fault)))
    report.findings += [Finding("error", "bad document", str(fault)) for fault in faults]
    for id, first, second in duplicate_ids(collection.corpus, DocumentParser(), ids.repeated()):
        report.findings.append(Finding("error", "duplicate document", str(duplicate_error(id, first, second))))
    if not len(ids) and not faults:
        report.findings.append(Finding("error", "empty corpus", f"{collection.corpus}: the corpus has no documents"))
    return None if faults else ids.as_set()


def _check_topics(collection: Collection, report: Report) -> dict[str, dict[str, str]]:
    topics: dict[str, dict[str, str]] = {}
    for split in collection.splits:
        try:
            topics[split] = collection.topics(split)
            report.counts[f"{split} queries"] = len(topics[split])
        except DataError as error:
            report.findings.append(Finding("error", "bad topics", str(error)))
    if not collection.splits:
        report.findings.append(Finding("warning", "no topics", f"{collection.path}: no topics.SPLIT.tsv"))
    return topics


def _check_qrels(path: Path, topics: dict[str, dict[str, str]], documents: IdSet | None, report: Report) -> None:
    split = path.name[len("qrels.") : -len(".txt")]
    try:
        qrels = Collection(path.parent).qrels(split)
    except DataError as error:
        report.findings.append(Finding("error", "bad qrels", str(error)))
        return
    report.counts[f"{split} judgments"] = sum(len(grades) for grades in qrels.values())
    pairs = ((qid, docid) for qid, grades in qrels.items() for docid in grades)
    absent = [(qid, docid) for qid, docid in pairs if documents is not None and docid not in documents]
    lines = _lines_of(path, {(qid, docid) for qid, docid in absent}, (0, 2)) if absent else {}
    for qid, docid in absent:
        where = DataError(path, f"document {docid!r} is not in the corpus", line=lines.get((qid, docid)))
        report.findings.append(Finding("error", "absent document in qrels", str(where)))
    known = topics.get(split)
    if known is None:
        if not (path.parent / f"topics.{split}.tsv").exists():
            report.findings.append(Finding("warning", "no topics", f"{path}: there is no topics.{split}.tsv"))
        return
    untold = [qid for qid in qrels if qid not in known]
    first = _lines_of(path, {(qid,) for qid in untold}, (0,)) if untold else {}
    for qid in untold:
        where = DataError(path, f"query {qid!r} is not in topics.{split}.tsv", line=first.get((qid,)))
        report.findings.append(Finding("error", "absent query in qrels", str(where)))
    unused = [qid for qid in known if not any(grade > 0 for grade in qrels.get(qid, {}).values())]
    topics_path = path.parent / f"topics.{split}.tsv"
    lines_of_unused = _lines_of(topics_path, {(qid,) for qid in unused}, (0,), "\t") if unused else {}
    for qid in unused:
        where = DataError(topics_path, f"query {qid!r} has no relevant document", line=lines_of_unused.get((qid,)))
        report.findings.append(Finding("warning", "unused topic", str(where)))


def _lines_of(
    path: Path, wanted: set[tuple[str, ...]], columns: tuple[int, ...], separator: str | None = None
) -> dict[tuple[str, ...], int]:
    """First line of each combination of columns that is wanted."""
    found: dict[tuple[str, ...], int] = {}
    for number, line in read_lines(path):
        parts = line.split(separator)
        key = tuple(parts[column] for column in columns if column < len(parts))
        if key in wanted:
            found.setdefault(key, number)
    return found


def _check_pairs(
    collection: Collection, topics: dict[str, dict[str, str]], documents: IdSet | None, report: Report
) -> None:
    path, count = collection.pairs_path, 0
    seen: set[tuple[str, str]] = set()
    try:
        for number, qid, docid in read_pairs(path):
            count += 1
            if (qid, docid) in seen:
                message = str(DataError(path, f"pair {qid} {docid} occurs again", line=number))
                report.findings.append(Finding("warning", "duplicate pair", message))
            seen.add((qid, docid))
            _check_ids(path, number, qid, [docid], topics, documents, report, "pairs")
    except DataError as error:
        report.findings.append(Finding("error", "bad pairs", str(error)))
    report.counts["train pairs"] = count


def _check_groups(path: Path, topics: dict[str, dict[str, str]], documents: IdSet | None, report: Report) -> None:
    count = 0
    try:
        for number, group in iter_located_groups(path):
            count += 1
            own_text = {c.key for c in group.positives + group.negatives if c.text is not None}
            ids = dict.fromkeys(c.id for c in group.positives + group.negatives if c.id is not None and c.text is None)
            for docid in (docid for table in group.scores.values() for docid in table if docid not in own_text):
                ids.setdefault(docid)
            _check_ids(path, number, None, ids, topics, documents, report, "groups")
    except DataError as error:
        report.findings.append(Finding("error", "bad groups", str(error)))
    report.counts[f"groups in {path.name}"] = count


def _check_ids(
    path: Path,
    number: int,
    qid: str | None,
    docids: Iterable[str],
    topics: dict[str, dict[str, str]],
    documents: IdSet | None,
    report: Report,
    what: str,
) -> None:
    if qid is not None and "train" in topics and qid not in topics["train"]:
        message = str(DataError(path, f"query {qid!r} is not in topics.train.tsv", line=number))
        report.findings.append(Finding("error", f"absent query in {what}", message))
    for docid in docids:
        if documents is not None and docid not in documents:
            message = str(DataError(path, f"document {docid!r} is not in the corpus", line=number))
            report.findings.append(Finding("error", f"absent document in {what}", message))


def _check_leaks(collection: Collection, topics: dict[str, dict[str, str]], report: Report) -> None:
    """Queries of dev and test that are in train too, compared without case and punctuation, or nearly so."""
    train = TrainingQueries(topics.get("train", {}))
    for split, held in topics.items():
        if split != "train":
            report.findings += _leaks(collection.topics_path(split), list(train.leaks(held)))


def _leaks(path: Path, leaks: list[Leak]) -> Iterator[Finding]:
    lines = _lines_of(path, {(leak.qid,) for leak in leaks}, (0,), "\t") if leaks else {}
    for leak in leaks:
        like = "equals" if leak.equal else "has nearly the words of"
        fault = DataError(path, f"query {leak.qid!r} {like} training query {leak.twin!r}", line=lines.get((leak.qid,)))
        yield Finding("warning", "query also in train" if leak.equal else "query nearly in train", str(fault))
