"""Where negatives come from: run files, a dense index and BM25, each as one ranking per query with scores."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.progress import warn
from ..search.searcher import Searcher
from ..trec.run import iter_run, rank
from .options import MineOptions

_BATCH = 256
_POSITIVE_DEPTH = 1000
"""Where BM25 looks for the positives, if their scores matter."""

Positives = Mapping[str, Sequence[str]]
"""Query id → its positives."""


@dataclass(frozen=True)
class Ranking:
    """What one source says of a query.

    Args:
        hits: documents with their scores, best first, down to the last rank that is of use.
        positives: scores of the query's positives, as far as the source knows them, at any rank.
        best: rank of the best positive, from 1; None if it is not among what the source gave.
    """

    hits: list[tuple[str, float]] = field(default_factory=list)
    positives: dict[str, float] = field(default_factory=dict)
    best: int | None = None

    @classmethod
    def of(cls, hits: list[tuple[str, float]], positives: Sequence[str], depth: int | None) -> Ranking:
        """Cuts a ranking, and keeps the scores of positives that lie deeper."""
        wanted = set(positives)
        best = next((place for place, (docid, _) in enumerate(hits, start=1) if docid in wanted), None)
        return cls(hits[:depth], {docid: score for docid, score in hits if docid in wanted}, best)


@dataclass(frozen=True)
class Source:
    """A named source.

    Args:
        name: under which its scores are filed.
        rankings: one per query, in the order of the topics.
    """

    name: str
    rankings: Iterator[Ranking]


def open_sources(
    options: MineOptions,
    topics: Mapping[str, str],
    positives: Positives,
    searcher: Searcher | None,
    stack: ExitStack,
) -> list[Source]:
    """The sources that the options name, in the order runs, index, BM25.

    Args:
        searcher: of `--index`, open.
        stack: closes what has to be closed.
    """
    depth, looked_at = options.depth, options.looked_at
    assert depth is not None and looked_at is not None
    names = source_names(options)
    rankings = [from_run(run, topics, positives, depth) for run in options.runs or ()]
    if searcher is not None:
        scored = options.needs_positive
        rankings.append(from_index(searcher, topics, positives, depth, looked_at, score_positives=scored))
    if options.bm25_index is not None:
        from ..anserini.bm25 import BM25Searcher  # the JVM starts only where it is asked for

        bm25 = stack.enter_context(BM25Searcher(options.bm25_index))
        hits = max(looked_at, _POSITIVE_DEPTH) if options.needs_positive else looked_at
        rankings.append(
            Ranking.of(list(zip(docids, scores.tolist(), strict=True)), positives[qid], depth)
            for qid, docids, scores in bm25.search_batch(topics, hits, progress=False)
        )
    return [Source(name, ranking) for name, ranking in zip(names, rankings, strict=True)]


def source_names(options: MineOptions) -> list[str]:
    """A name for each source: a run's file name without its endings (the path, where two share it), `index`, `bm25`."""
    runs = [run.name.split(".")[0] or run.name for run in options.runs or ()]
    others = ["index"] * bool(options.index) + ["bm25"] * bool(options.bm25_index)
    uses = Counter([*runs, *others])
    return [str(run) if uses[name] > 1 else name for run, name in zip(options.runs or (), runs, strict=True)] + others


class _Packed:
    """A ranking in about a tenth of the memory, for queries that a run holds in another order than the topics."""

    __slots__ = ("best", "docids", "positives", "scores")

    def __init__(self, ranking: Ranking) -> None:
        self.docids = "\n".join(docid for docid, _ in ranking.hits).encode()
        self.scores = array("f", (score for _, score in ranking.hits))
        self.positives, self.best = ranking.positives, ranking.best

    def unpack(self) -> Ranking:
        return Ranking(list(zip(self.docids.decode().split("\n"), self.scores, strict=True)), self.positives, self.best)


def from_run(run: Path, topics: Mapping[str, str], positives: Positives, depth: int | None) -> Iterator[Ranking]:
    """The rankings of a run file for `topics`; a query it lacks has an empty one.

    Streamed where the run has the order of the topics; queries that come before their turn are kept meanwhile.
    Documents are ordered as trec_eval orders them.
    """
    entries = iter_run(run)
    early: dict[str, _Packed] = {}
    found = False
    for qid in topics:
        ranking = Ranking()
        if qid in early:
            ranking = early.pop(qid).unpack()
        else:
            for other, hits in entries:
                if other not in topics:
                    continue
                found = True
                ordered = rank([docid for docid, _ in hits], [score for _, score in hits])
                cut = Ranking.of(ordered, positives[other], depth)
                if other == qid:
                    ranking = cut
                    break
                early[other] = _Packed(cut)
            if not found:
                raise DataError(
                    run, "holds none of the training queries", remedy="search the topics of that split for it"
                )
        yield ranking
    for _ in entries:  # a fault further down is a fault of the run
        pass


def from_index(
    searcher: Searcher,
    topics: Mapping[str, str],
    positives: Positives,
    depth: int,
    looked_at: int | None = None,
    *,
    score_positives: bool,
) -> Iterator[Ranking]:
    """The rankings of a dense index.

    Args:
        depth: rank at which they are cut.
        looked_at: rank down to which the best positive is looked for, at least `depth`; None is `depth`.
        score_positives: compute the scores of positives that are not among the `depth` best from their vectors.
    """
    vectors_of = _StoredVectors(searcher, positives) if score_positives else None
    qids = list(topics)
    for start in range(0, len(qids), _BATCH):
        batch = qids[start : start + _BATCH]
        vectors = searcher.encoder.encode_queries([topics[qid] for qid in batch])
        for qid, vector, hits in zip(batch, vectors, searcher.search_vectors(vectors, looked_at or depth), strict=True):
            ranking = Ranking.of(hits, positives[qid], depth)
            if vectors_of is not None:
                for docid in positives[qid]:
                    stored = None if docid in ranking.positives else vectors_of.get(docid)
                    if stored is not None:
                        ranking.positives[docid] = float(np.float32(vector @ stored))
            yield ranking


class _StoredVectors:
    """The vectors that an index holds of the positives, as it compares them (of a compressed index: decoded)."""

    def __init__(self, searcher: Searcher, positives: Positives) -> None:
        self._index = searcher.index
        wanted = {docid for docids in positives.values() for docid in docids}
        self._positions = {docid: i for i, docid in enumerate(self._index.docids) if docid in wanted}
        self._readable = True

    def get(self, docid: str) -> np.ndarray | None:
        """The vector (dim,) float32; None if the index has no such document, or is of a type that gives none back."""
        position = self._positions.get(docid)
        if position is None or not self._readable:
            return None
        try:
            return self._index.take(np.array([position]))[0]
        except DataError:
            self._readable = False
            warn(
                f"{self._index.directory}: an index of its type gives no vectors back; positives that it does not "
                "retrieve have no score"
            )
            return None
