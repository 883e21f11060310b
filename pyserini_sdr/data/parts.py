"""Collections of parts of documents (passages, views): every document as `DOCID#0`, `DOCID#1`, …"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.files import atomic_directory, atomic_file
from ..core.manifest import write_manifest
from ..core.progress import bar, warn
from ..trec.qrels import write_qrels
from .collection import MANIFEST, PAIRS, Collection
from .corpus import corpus_files, duplicate_error, duplicate_ids, iter_documents, scan_corpus
from .group import Group
from .groups import iter_located_groups, write_groups
from .ids import IdHashes
from .material import Qrels, write_documents
from .part_ids import DELIMITER, part_id
from .passages import to_passages
from .records import Document, DocumentParser


@dataclass(frozen=True)
class GroupsToCut:
    """Groups of documents that become groups of parts.

    Args:
        source: groups of documents.
        output: groups of parts to write.
        most: parts taken of a document at most, its first ones; None takes all.
    """

    source: Path
    output: Path
    most: int | None = None


def write_parts(
    directory: str | os.PathLike[str],
    source: Collection,
    parts: Callable[[Document], list[str]],
    *,
    what: str,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    inputs: Sequence[Path] = (),
    delimiter: str = DELIMITER,
    groups: GroupsToCut | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes a collection whose documents are the parts of another's, and returns its manifest.

    The corpus is streamed. Topics are those of the source; in qrels and training pairs every document is replaced by
    all of its parts, with its grade. Nothing is written if anything is wrong.

    Args:
        directory: collection directory to make.
        source: the collection of documents.
        parts: texts of a document's parts, at least one; asked in the order of the corpus.
        what: the parts are called, for the manifest: `passages` or `views`.
        config: the resolved options.
        facts: about the parts, for the manifest.
        inputs: files besides corpus and groups that it was made from.
        delimiter: between a document's id and the part's number.
        groups: groups to rewrite likewise.
        overwrite: replace an existing directory.

    Raises:
        DataError: a bad document, an id that holds the delimiter or occurs twice, groups with documents that the
            corpus lacks.
    """
    judged = {split: source.qrels(split) for split in _judged_splits(source)}
    pairs = source.pairs() if source.pairs_path.is_file() else []
    wanted = {docid for qrels in judged.values() for grades in qrels.values() for docid in grades}
    wanted |= {docid for _, docid in pairs}
    if groups is not None:
        wanted |= {docid for _, group in iter_located_groups(groups.source) for docid in _ids(group)}
    counts: dict[str, int] = {}
    written = _Written(wanted, counts)
    with atomic_directory(directory, overwrite=overwrite) as folder:
        documents = bar(iter_documents(source.corpus), unit="doc", desc=f"write {what}")
        ids = IdHashes()
        write_documents(folder / "corpus" / "documents.jsonl", _cut(source, documents, parts, delimiter, ids, written))
        for id, first, second in duplicate_ids(source.corpus, DocumentParser(), ids.repeated()):
            raise duplicate_error(id, first, second)
        summary = scan_corpus(folder / "corpus", progress=False)
        for split in source.splits:
            shutil.copyfile(source.topics_path(split), folder / f"topics.{split}.tsv")
        _write_judgments(folder, source, judged, pairs, lambda id: _parts_of(id, counts, delimiter))
        totals = {"documents": len(ids), what: summary.count}
        if groups is not None:
            place = groups.output
            if place.resolve().is_relative_to(Path(directory).resolve()):  # comes with the directory
                place = folder / place.resolve().relative_to(Path(directory).resolve())
            totals["groups"] = write_groups(place, _cut_groups(groups, source, counts, delimiter))
        return write_manifest(
            folder / MANIFEST,
            "collection",
            config=config,
            inputs=[*corpus_files(source.corpus), *inputs, *([groups.source] if groups is not None else [])],
            counts=totals,
            corpus={"bytes": summary.bytes, "sha256": summary.sha256},
            parts={"of": str(source.path), "kind": what, "delimiter": delimiter, "most": written.most, **facts},
        )


@dataclass
class _Written:
    """What the pass that writes the corpus finds out.

    Args:
        wanted: documents whose number of parts is wanted.
        counts: those numbers.
        most: parts of the document that has most.
    """

    wanted: Set[str]
    counts: dict[str, int]
    most: int = 0


def _cut(
    source: Collection,
    documents: Iterator[Document],
    parts: Callable[[Document], list[str]],
    delimiter: str,
    ids: IdHashes,
    written: _Written,
) -> Iterator[Document]:
    for document in documents:
        if delimiter in document.id:
            raise DataError(
                source.corpus,
                f"document id {document.id!r} holds {delimiter!r}, which is to stand before the number of a part",
                remedy="give another --delimiter",
            )
        ids.add(document.id)
        texts = parts(document)
        written.most = max(written.most, len(texts))
        if document.id in written.wanted:
            written.counts[document.id] = len(texts)
        for number, text in enumerate(texts):
            yield Document(part_id(document.id, number, delimiter), text, document.title)


def _write_judgments(
    folder: Path,
    source: Collection,
    judged: Mapping[str, Qrels],
    pairs: Sequence[tuple[str, str]],
    parts_of: Callable[[str], list[str]],
) -> None:
    """Writes qrels and training pairs of parts; warns of documents that have none, as the corpus lacks them."""
    docids = [docid for qrels in judged.values() for grades in qrels.values() for docid in grades]
    lost = sum(not parts_of(docid) for docid in [*docids, *(docid for _, docid in pairs)])
    for split, qrels in judged.items():
        expanded = {
            qid: {part: grade for docid, grade in grades.items() for part in parts_of(docid)}
            for qid, grades in qrels.items()
        }
        write_qrels(folder / f"qrels.{split}.txt", {qid: grades for qid, grades in expanded.items() if grades})
    if source.pairs_path.is_file():
        with atomic_file(folder / PAIRS) as handle:
            for qid, docid in pairs:
                handle.writelines(f"{qid}\t{part}\n" for part in parts_of(docid))
    if lost:
        warn(f"{source.path}: left out {lost:,} judgments and pairs of documents that are not in the corpus")


def _parts_of(docid: str, counts: Mapping[str, int], delimiter: str) -> list[str]:
    return [part_id(docid, number, delimiter) for number in range(counts.get(docid, 0))]


def _cut_groups(groups: GroupsToCut, source: Collection, counts: Mapping[str, int], delimiter: str) -> Iterator[Group]:
    for number, group in iter_located_groups(groups.source):
        missing = next((docid for docid in _ids(group) if docid not in counts), None)
        if missing is not None:
            raise DataError(
                groups.source,
                f"document {missing!r} of query {group.query_id!r} is not in the corpus of {source.path}",
                line=number,
                remedy="give the collection that the groups were made from",
            )
        yield to_passages(group, counts, delimiter, groups.most)


def _ids(group: Group) -> Iterator[str]:
    return (candidate.id for candidate in (*group.positives, *group.negatives) if candidate.id is not None)


def _judged_splits(source: Collection) -> list[str]:
    return sorted(file.name[len("qrels.") : -len(".txt")] for file in source.path.glob("qrels.*.txt"))
