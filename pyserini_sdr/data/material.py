"""What a collection is built from, and writing it: builders make a `Material`, `write_collection` does the rest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.files import atomic_directory, atomic_file
from ..core.manifest import write_manifest
from ..core.progress import bar, warn
from ..trec.qrels import write_qrels
from ..trec.topics import write_topics
from .collection import MANIFEST, PAIRS
from .corpus import scan_corpus
from .ids import IdHashes, IdSet
from .records import Document

Qrels = dict[str, dict[str, int]]
OnError = Callable[[DataError], None]


@dataclass
class Material:
    """The makings of a collection.

    Args:
        documents: yields the documents, streamed; gives the faults of bad ones to the callback, or raises them if it
            is `None`.
        topics: split → query id → query.
        qrels: split → query id → document id → grade; the same splits.
        origin: where the qrels come from, per split, for messages.
        inputs: files that the manifest records with their hashes.
        facts: more for the manifest.
        card: text of `CARD.md`, given the manifest.
    """

    documents: Callable[[OnError | None], Iterator[Document]]
    topics: dict[str, dict[str, str]]
    qrels: dict[str, Qrels]
    origin: dict[str, str] = field(default_factory=dict)
    inputs: list[Path] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    card: Callable[[Mapping[str, Any]], str] | None = None


def write_collection(
    directory: str | os.PathLike[str],
    make: Callable[[], Material],
    *,
    config: Mapping[str, Any],
    overwrite: bool = False,
    max_documents: int | None = None,
    drop_invalid: bool = False,
) -> dict[str, Any]:
    """Writes a collection directory atomically and returns its manifest.

    Args:
        directory: destination.
        make: gives what to write; called once the destination is known to be free.
        config: the resolved options, for the manifest.
        overwrite: replace an existing directory.
        max_documents: keep that many documents: judged ones first (test, dev, then train, in the order of the qrels),
            then the corpus's first ones; judgments of others and queries left without a relevant document go.
        drop_invalid: leave out bad documents and judgments of documents that the corpus lacks, with a warning.

    Raises:
        DataError: a bad document (file and line), a judgment of a document that the corpus lacks, a judged query
            without text, a duplicate id.
    """
    with atomic_directory(directory, overwrite=overwrite) as folder:
        material = make()
        wanted = _judged(material, max_documents) if max_documents is not None else None
        present, faults = _write_corpus(
            folder / "corpus" / "documents.jsonl", material, wanted, max_documents, drop_invalid
        )
        summary = scan_corpus(folder / "corpus", progress=False)
        counts: dict[str, Any] = {"documents": summary.count}
        for split, qrels in material.qrels.items():
            kept = _checked_qrels(material, split, qrels, present, drop_invalid or max_documents is not None)
            topics = {qid: text for qid, text in material.topics[split].items() if qid in kept}
            write_topics(folder / f"topics.{split}.tsv", topics)
            write_qrels(folder / f"qrels.{split}.txt", kept)
            counts[f"{split}_queries"] = len(topics)
            if split == "train":
                counts["train_pairs"] = _write_pairs(folder / PAIRS, kept)
        manifest = write_manifest(
            folder / MANIFEST,
            "collection",
            config=config,
            inputs=material.inputs,
            counts=counts,
            corpus={"bytes": summary.bytes, "sha256": summary.sha256},
            dropped_documents=faults,
            **material.facts,
        )
        if material.card:
            with atomic_file(folder / "CARD.md") as handle:
                handle.write(material.card(manifest))
    return manifest


def _judged(material: Material, limit: int) -> set[str]:
    order = sorted(material.qrels, key=lambda split: ("test", "dev", "train").index(split.split(".")[0]))
    ids = (
        docid
        for split in order
        for grades in material.qrels[split].values()
        for docid, grade in grades.items()
        if grade > 0
    )
    wanted: set[str] = set()
    for docid in ids:
        if len(wanted) == limit:
            break
        wanted.add(docid)
    return wanted


def _write_corpus(
    path: Path, material: Material, wanted: set[str] | None, limit: int | None, drop: bool
) -> tuple[IdSet, int]:
    """Writes the documents; returns their ids and the number of bad ones left out."""
    faults: list[DataError] = []

    def chosen() -> Iterator[Document]:
        fill = limit - len(wanted) if limit is not None and wanted is not None else 0
        for document in bar(material.documents(faults.append if drop else None), unit="doc", desc="write corpus"):
            if wanted is not None and document.id not in wanted:
                if fill == 0:
                    continue
                fill -= 1
            yield document

    ids = write_documents(path, chosen())
    if faults:
        warn(f"left out {len(faults):,} bad documents, the first: {faults[0]}")
    return ids.as_set(), len(faults)


def write_documents(path: str | os.PathLike[str], documents: Iterable[Document]) -> IdHashes:
    """Writes a corpus file, one document a line; returns the hashes of their ids in that order."""
    ids = IdHashes()
    with atomic_file(path) as handle:
        for document in documents:
            record = {"id": document.id, "title": document.title, "contents": document.contents}
            if document.title is None:
                del record["title"]
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
            ids.add(document.id)
    return ids


def _checked_qrels(material: Material, split: str, qrels: Qrels, present: IdSet, drop: bool) -> Qrels:
    """The qrels whose documents are there; queries that lose their last relevant document go."""
    origin = material.origin.get(split, f"qrels of {split}")
    kept: Qrels = {}
    lost = 0
    for qid, grades in qrels.items():
        if qid not in material.topics[split]:
            raise DataError(origin, f"query {qid!r} is judged but has no text", remedy="add it to the queries")
        there = {docid: grade for docid, grade in grades.items() if docid in present}
        if len(there) < len(grades) and not drop:
            absent = next(docid for docid in grades if docid not in there)
            raise DataError(
                origin,
                f"document {absent!r}, judged for query {qid!r}, is not in the corpus",
                remedy="complete the corpus, or leave such judgments out with --drop-invalid",
            )
        lost += len(grades) - len(there)
        if len(there) == len(grades) or any(grade > 0 for grade in there.values()):
            kept[qid] = there
    if lost:
        warn(f"{origin}: left out {lost:,} judgments of documents that are not in the corpus")
    if not kept:
        raise DataError(origin, "no query is left with a document in the corpus")
    return kept


def _write_pairs(path: Path, qrels: Qrels) -> int:
    count = 0
    with atomic_file(path) as handle:
        for qid, grades in qrels.items():
            for docid, grade in grades.items():
                if grade > 0:
                    handle.write(f"{qid}\t{docid}\n")
                    count += 1
    return count
