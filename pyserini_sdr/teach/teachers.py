"""Teachers: what gives the documents of a window of groups their scores."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..core.errors import DataError, UsageError, shorten
from ..core.files import file_sha256
from ..core.progress import bar
from ..data.group import Candidate, Group
from ..data.ids import hash_id
from ..search.rerank import PairScorer, score_pairs
from ..trec.columns import format_score
from ..trec.run import iter_run

Table = dict[str, float]
"""`Candidate.key` → score."""
OnBatch = Callable[[int], None]


class Teacher(Protocol):
    """A named source of scores."""

    name: str

    def identity(self) -> dict[str, Any]:
        """What decides the scores, JSON-ready."""

    def score(self, groups: Sequence[Group], on_batch: OnBatch) -> list[Table]:
        """The scores of every group's documents; calls `on_batch` with the number of pairs that are done."""


def candidates(group: Group) -> dict[str, Candidate]:
    """The documents of a group, each once, by key."""
    found: dict[str, Candidate] = {}
    for candidate in (*group.positives, *group.negatives):
        found.setdefault(candidate.key, candidate)
    return found


class ModelTeacher:
    """A cross-encoder, or a bi-encoder by its similarity.

    Args:
        name: of the scores.
        scorer: the model.
        texts: document id → text, for candidates that come without one.
    """

    def __init__(self, name: str, scorer: PairScorer, texts: Any) -> None:
        self.name, self.scorer, self.texts = name, scorer, texts

    def identity(self) -> dict[str, Any]:
        return self.scorer.identity()

    def score(self, groups: Sequence[Group], on_batch: OnBatch) -> list[Table]:
        found = [candidates(group) for group in groups]
        pairs = [
            (group.query, candidate.text if candidate.text is not None else self.texts[candidate.id])
            for group, own in zip(groups, found, strict=True)
            for candidate in own.values()
        ]
        scores = score_pairs(self.scorer, pairs, on_batch)
        tables, start = [], 0
        for group, own in zip(groups, found, strict=True):
            values = scores[start : start + len(own)]
            start += len(own)
            for key, value in zip(own, values, strict=True):
                if not np.isfinite(value):
                    raise DataError(
                        self.scorer.resolved.directory,
                        f"gives query {group.query_id!r} and document {key!r} the score {value}",
                        remedy="try --precision fp32, or check the checkpoint",
                    )
            tables.append({key: float(format_score(value)) for key, value in zip(own, values, strict=True)})
        return tables


class RunTeacher:
    """Scores that a TREC run has; of the run only the pairs in the groups are kept, 16 bytes each.

    Args:
        name: of the scores.
        path: the run.
        wanted: (query id, document key) of every document in the groups.
        missing: what becomes of a document that the run lacks: an `error`, the run's `lowest` score of that query, or
            `skip`: no score.
    """

    def __init__(self, name: str, path: Path, wanted: Iterable[tuple[str, str]], missing: str) -> None:
        self.name, self.path, self.missing = name, path, missing
        hashes, queries = array("Q"), set()
        for qid, key in wanted:
            queries.add(qid)
            hashes.append(_hash(qid, key))
        self._hashes = np.unique(np.frombuffer(hashes, dtype=np.uint64))
        self._scores = np.full(len(self._hashes), np.nan)
        self._lowest: dict[str, float] = {}
        for qid, ranking in bar(iter_run(path), unit="topic", desc=f"read {path.name}"):
            if qid not in queries:
                continue
            self._lowest[qid] = min(score for _, score in ranking)
            own = np.array([_hash(qid, docid) for docid, _ in ranking], dtype=np.uint64)
            places = np.searchsorted(self._hashes, own).clip(max=len(self._hashes) - 1)
            there = self._hashes[places] == own
            self._scores[places[there]] = np.array([score for _, score in ranking])[there]
        if not self._lowest:
            raise DataError(path, "holds none of the groups' queries", remedy="search their topics for it")

    def identity(self) -> dict[str, Any]:
        return {"run": str(self.path), "sha256": file_sha256(self.path), "missing": self.missing}

    def score(self, groups: Sequence[Group], on_batch: OnBatch) -> list[Table]:
        tables = []
        for group in groups:
            found = candidates(group)
            own = np.array([_hash(group.query_id, key) for key in found], dtype=np.uint64)
            values = self._scores[np.searchsorted(self._hashes, own)]
            table = {key: float(value) for key, value in zip(found, values, strict=True) if not np.isnan(value)}
            if len(table) < len(found):
                self._fill(table, found, group.query_id)
            tables.append(table)
            on_batch(len(found))
        return tables

    def _fill(self, table: Table, found: Mapping[str, Candidate], qid: str) -> None:
        if self.missing == "skip":
            return
        if self.missing == "lowest" and qid in self._lowest:
            for key in found:
                table.setdefault(key, self._lowest[qid])
            return
        key = next(key for key in found if key not in table)
        if qid not in self._lowest:
            raise DataError(self.path, f"lacks the query {qid!r}", remedy="--missing skip leaves it without scores")
        raise DataError(
            self.path,
            f"lacks document {key!r} of query {qid!r}",
            remedy="search deeper, --missing lowest (the run's lowest score of the query) or skip (no score)",
        )


def _hash(qid: str, key: str) -> int:
    return hash_id(f"{qid}\t{key}")


def teacher_names(teachers: Sequence[str], runs: Sequence[Path], given: Sequence[str] | None) -> list[str]:
    """The names of the teachers' and the runs' scores, all different.

    Raises:
        UsageError: as many names as teachers and runs are not given, an empty one, or one twice.
    """
    names = [Path(name).expanduser().name or Path(name).resolve().name for name in teachers]
    names += [_stem(run.name) for run in runs]
    if given is not None:
        if len(given) != len(names):
            raise UsageError(f"--name {' '.join(given)}: {len(given)} names for {len(names)} teachers and runs")
        names = list(given)
    for place, name in enumerate(names):
        if not name.strip():
            raise UsageError(f"--name {shorten(name)}: must not be empty")
        if name in names[:place]:
            raise UsageError(f"two teachers are called {name!r}; tell them apart with --name")
    return names


def _stem(name: str) -> str:
    """A run's file name without the usual endings."""
    name = name.removesuffix(".gz")
    for ending in (".trec", ".run", ".txt", ".tsv"):
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return name
