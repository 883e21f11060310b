"""A known-item collection of pseudo-queries, written from a corpus in streamed passes."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError
from ..core.files import atomic_directory
from ..core.progress import bar
from .corpus import corpus_files, duplicate_error, duplicate_ids, iter_documents
from .doctext import normalise
from .group import Candidate, Group
from .groups import write_groups
from .ids import IdHashes, hash_id
from .material import Material, OnError, write_collection
from .pseudo_card import pseudo_card
from .pseudo_methods import Cut, Method
from .pseudo_text import hash64
from .records import Document, DocumentParser

GROUPS = "pseudo.train.groups.jsonl"
TASK = "known-item, pseudo-queries"
SPLITS = ("train", "dev", "test")
TITLED = 0.5
"""Share of documents with a title of their own from which `auto` takes titles as queries."""


@dataclass(frozen=True)
class Source:
    """The documents that pseudo-queries are made from.

    Args:
        corpus: see `corpus_files`.
        seed: of the sample.
        limit: documents whose hash is above it are left out; `None` takes all.
        count: how many documents there are.
    """

    corpus: Path
    seed: int
    limit: int | None
    count: int

    @classmethod
    def open(cls, corpus: str | os.PathLike[str], seed: int = 0, max_documents: int | None = None) -> Source:
        """Reads the corpus once; `DataError` for bad documents, duplicate ids or an empty corpus."""
        path, ids, hashes = Path(corpus), IdHashes(), array("Q")
        for document in bar(iter_documents(path), unit="doc", desc="read corpus"):
            ids.add(document.id)
            hashes.append(hash64(seed, "sample", document.id))
        for id, first, second in duplicate_ids(path, DocumentParser(), ids.repeated()):
            raise duplicate_error(id, first, second)
        if not hashes:
            raise DataError(path, "the corpus has no documents")
        if max_documents is None or max_documents >= len(hashes):
            return cls(path, seed, None, len(hashes))
        drawn = np.partition(np.frombuffer(hashes, np.uint64), max_documents - 1)
        return cls(path, seed, int(drawn[max_documents - 1]), max_documents)

    def documents(self) -> Iterator[Document]:
        """The documents, streamed."""
        for document in iter_documents(self.corpus):
            if self.limit is None or hash64(self.seed, "sample", document.id) <= self.limit:
                yield document


@dataclass(frozen=True)
class Survey:
    """What a first pass finds out about a method's queries.

    Args:
        seed: of the splits.
        documents: documents read.
        short: documents too short to be cut.
        queries: distinct queries.
        shared: queries left out because several documents have them.
        repeated: hashes of those.
        bounds: test, then dev hold the documents whose hash is not above these.
    """

    seed: int
    documents: int
    short: int
    queries: int
    shared: int
    repeated: frozenset[int]
    bounds: tuple[int, int]

    def split_of(self, document: Document) -> str:
        """The split of a document's queries."""
        hashed = hash64(self.seed, "split", document.id)
        return "test" if hashed < self.bounds[0] else "dev" if hashed < self.bounds[1] else "train"

    def queries_of(self, cut: Cut) -> list[str]:
        """The queries of a document that no other one has."""
        return [query for query in cut.queries if _query_hash(query) not in self.repeated]


def survey(source: Source, method: Method, seed: int, dev: float, test: float) -> Survey:
    """Counts the method's queries and finds where to divide them; 16 bytes of memory per query.

    Args:
        source: the documents.
        method: prepared.
        seed: of the splits.
        dev: share of the documents with queries that goes to dev.
        test: share that goes to test.
    """
    hashes, places = array("Q"), array("Q")
    short = 0
    cuts = method.stream(source.documents())
    for cut in bar(cuts, total=source.count, unit="doc", desc="make queries"):
        short += cut.short
        for query in cut.queries:
            hashes.append(_query_hash(query))
            places.append(hash64(seed, "split", cut.document.id))
    values, counts = np.unique(np.frombuffer(hashes, np.uint64), return_counts=True) if hashes else _nothing()
    repeated = values[counts > 1]
    alone = ~np.isin(np.frombuffer(hashes, np.uint64), repeated) if hashes else np.empty(0, bool)
    order = np.unique(np.frombuffer(places, np.uint64)[alone]) if hashes else np.empty(0, np.uint64)
    held = [round(share * len(order)) or int(share > 0) for share in (test, dev)]
    bounds = [0, 0]
    for number, last in enumerate(np.cumsum(held)):
        bounds[number] = int(order[last - 1]) + 1 if 0 < last <= len(order) else 0
    return Survey(
        seed=seed,
        documents=source.count,
        short=short,
        queries=int(alone.sum()),
        shared=len(hashes) - int(alone.sum()),
        repeated=frozenset(repeated.tolist()),
        bounds=(bounds[0], max(bounds)),
    )


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.empty(0, np.uint64), np.empty(0, np.int64)


def _query_hash(query: str) -> int:
    return hash_id(normalise(query) or query)


@dataclass
class _Written:
    """What the pass that writes the corpus finds: queries and relevant documents by split."""

    topics: dict[str, dict[str, str]] = field(default_factory=dict)
    qrels: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def add(self, split: str, qid: str, query: str, docid: str) -> None:
        self.topics[split][qid] = query
        self.qrels[split][qid] = {docid: 1}


def write_pseudo_collection(
    directory: str | os.PathLike[str],
    source: Source,
    method: Method,
    found: Survey,
    *,
    config: Mapping[str, Any],
    facts: Mapping[str, Any],
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes corpus, topics, qrels, pairs and training groups atomically; returns the manifest.

    Args:
        directory: destination.
        source: the documents.
        method: how queries are made.
        found: what `survey` said of them.
        config: the resolved options, for the manifest.
        facts: more about the queries for the manifest, under `pseudo_queries`.
        overwrite: replace an existing directory.

    Raises:
        DataError: too few queries for all splits.
    """
    splits = ["train"] + [
        split for split, bound in (("dev", found.bounds[1] > found.bounds[0]), ("test", found.bounds[0])) if bound
    ]
    if found.queries < 2 * len(splits):
        raise DataError(
            source.corpus,
            f"its {found.documents:,} documents give {found.queries:,} queries, too few for {', '.join(splits)} "
            f"({found.short:,} documents are too short, {found.shared:,} queries are shared by several)",
            remedy="another --method, or smaller --min-tokens and --min-query-tokens",
        )
    written = _Written({split: {} for split in splits}, {split: {} for split in splits})

    def documents(on_error: OnError | None) -> Iterator[Document]:
        """The corpus; topics and qrels are gathered as it passes, and `write_collection` writes them after it."""
        for cut in method.stream(source.documents()):
            split = found.split_of(cut.document)
            queries = found.queries_of(cut)
            for number, query in enumerate(queries, start=1):
                written.add(split, f"pq{number}-{cut.document.id}", query, cut.document.id)
            yield cut.held if queries and split != "train" else cut.document

    facts = {
        **facts,
        "source": str(source.corpus),
        "documents_too_short": found.short,
        "shared_queries_left_out": found.shared,
    }
    with atomic_directory(directory, overwrite=overwrite) as folder:
        manifest = write_collection(
            folder,
            lambda: Material(
                documents,
                written.topics,
                written.qrels,
                inputs=corpus_files(source.corpus),
                facts={"task": TASK, "pseudo_queries": facts},
                card=pseudo_card,
            ),
            config=config,
        )
        write_groups(folder / GROUPS, _groups(folder / "corpus", written))
    return manifest


def _groups(corpus: Path, written: _Written) -> Iterator[Group]:
    """Training queries with the texts of their documents, in corpus order."""
    of_document: dict[str, list[str]] = {}
    for qid, grades in written.qrels["train"].items():
        for docid in grades:
            of_document.setdefault(docid, []).append(qid)
    for document in iter_documents(corpus):
        for qid in of_document.get(document.id, ()):
            yield Group(qid, written.topics["train"][qid], [Candidate(document.id, document.contents)])
