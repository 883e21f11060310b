"""A collection directory: corpus, topics and qrels by split, training pairs.

corpus/*.jsonl[.gz] or corpus.jsonl   documents and nothing else
topics.SPLIT.tsv                      qid, query
qrels.SPLIT.txt                       TREC qrels
train.pairs.tsv                       qid, docid: the training positives (else the qrels of `train`, grade > 0)
collection.json                       how it was made
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, shorten, unknown
from ..core.files import read_lines, require_directory
from ..core.manifest import read_manifest
from ..trec.qrels import read_qrels
from ..trec.topics import read_topics
from .corpus import corpus_files

MANIFEST = "collection.json"
PAIRS = "train.pairs.tsv"


@dataclass(frozen=True)
class Collection:
    """A collection directory; nothing is read before it is asked for.

    Args:
        path: the directory.
    """

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Collection:
        """The collection in `path`; `DataError` if there is no such directory or no corpus in it."""
        collection = cls(require_directory(path, "collection directory"))
        corpus_files(collection.path)
        return collection

    @property
    def corpus(self) -> Path:
        """The corpus: the directory `corpus/` or the file `corpus.jsonl[.gz]`."""
        folder = self.path / "corpus"
        return folder if folder.is_dir() else corpus_files(self.path)[0]

    @property
    def splits(self) -> list[str]:
        """Splits that have topics: those of train first, then dev, test and others, by name."""
        names = [file.name[len("topics.") : -len(".tsv")] for file in self.path.glob("topics.*.tsv")]
        order = {"train": 0, "dev": 1, "test": 2}
        return sorted(names, key=lambda name: (order.get(name.split(".")[0], 3), name))

    def topics_path(self, split: str) -> Path:
        """The topics file of a split; `UsageError` if the collection has no such split."""
        if split not in self.splits:
            raise UsageError(f"{self.path}: {unknown('split', split, self.splits)}")
        return self.path / f"topics.{split}.tsv"

    def qrels_path(self, split: str) -> Path:
        """The qrels file of a split; `UsageError` if the collection has no qrels for it."""
        path = self.path / f"qrels.{split}.txt"
        if not path.is_file():
            known = [file.name[len("qrels.") : -len(".txt")] for file in self.path.glob("qrels.*.txt")]
            raise UsageError(f"{self.path}: {unknown('split with qrels', split, known)}")
        return path

    def topics(self, split: str) -> dict[str, str]:
        """Query id → query of a split, in file order."""
        return read_topics(self.topics_path(split))

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """Query id → document id → grade of a split."""
        return read_qrels(self.qrels_path(split))

    def pairs(self, split: str = "train") -> list[tuple[str, str]]:
        """The training positives `(query id, document id)` of a split, each once, in file order.

        Of `train`, from `train.pairs.tsv`; where there is none, and of other splits, from the qrels, grade > 0.
        """
        if split == "train" and self.pairs_path.is_file():
            return list(dict.fromkeys((qid, docid) for _, qid, docid in read_pairs(self.pairs_path)))
        if split == "train" and not (self.path / "qrels.train.txt").is_file():
            raise DataError(
                self.path, f"no training pairs: neither {PAIRS} nor qrels.train.txt", remedy="add one of the two"
            )
        return [
            (qid, docid) for qid, grades in self.qrels(split).items() for docid, grade in grades.items() if grade > 0
        ]

    def has_pairs(self, split: str = "train") -> bool:
        """Whether `pairs(split)` has a source, and its queries have texts."""
        source = (split == "train" and self.pairs_path.is_file()) or (self.path / f"qrels.{split}.txt").is_file()
        return source and split in self.splits

    @property
    def pairs_path(self) -> Path:
        """Where the training pairs are, if the collection has them."""
        return self.path / PAIRS

    @property
    def manifest(self) -> dict[str, Any] | None:
        """What `collection.json` says, `None` if there is none."""
        path = self.path / MANIFEST
        return read_manifest(path) if path.is_file() else None


def read_pairs(path: str | os.PathLike[str]) -> Iterator[tuple[int, str, str]]:
    """Yields `(line number, query id, document id)` of a pairs file, streamed."""
    for number, line in read_lines(path):
        if not line.strip():
            continue
        columns = line.split("\t")
        if len(columns) != 2 or any(column.split() != [column] for column in columns):
            raise DataError(
                path, f"expected query id, tab, document id, found {shorten(line, 60)}", line=number,
                remedy="write one pair of ids per line",
            )  # fmt: skip
        yield number, columns[0], columns[1]
