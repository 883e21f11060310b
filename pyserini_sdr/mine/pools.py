"""Pools: the documents that may become negatives of a query, merged from the sources or taken from groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..data.group import Candidate, Group
from ..data.groups import read_groups
from ..data.passages import best_passages, fold_groups
from ..data.sampling import sample_positions
from .options import MineOptions
from .ranks import rank_of_best
from .sources import Positives, Source

Scores = dict[str, float]
"""`Candidate.key` → score."""

LOOKED_AT = 1000
"""Groups among which named scores must occur, so that a misspelt name does not cost a pass over all of them."""


@dataclass
class Pool:
    """A query with what may become its negatives.

    Args:
        query_id: id of the query.
        query: its text.
        positives: its positives.
        candidates: documents of the windows, hardest first, each once; filters shorten it.
        sources: the scores of each source, of documents and positives.
        tables: named scores that go into the group, as far as they are of its documents.
        ranks: name of a ranking → rank of the best positive in it, None if it has none; of those that `RankFilter`
            goes by.
    """

    query_id: str
    query: str
    positives: list[Candidate]
    candidates: list[Candidate]
    sources: list[Scores] = field(default_factory=list)
    tables: dict[str, Scores] = field(default_factory=dict)
    ranks: dict[str, int | None] = field(default_factory=dict)

    def best_positive(self, scores: Mapping[str, float]) -> float | None:
        """The highest of the positives' scores; None if none is known."""
        return max((scores[c.key] for c in self.positives if c.key in scores), default=None)

    def group(self, chosen: Sequence[int]) -> Group:
        """The group with the candidates at the positions `chosen`."""
        negatives = [self.candidates[i] for i in chosen]
        keys = {candidate.key for candidate in (*self.positives, *negatives)}
        kept = {name: {key: x for key, x in scores.items() if key in keys} for name, scores in self.tables.items()}
        return Group(
            self.query_id, self.query, self.positives, negatives, {n: table for n, table in kept.items() if table}
        )


def merge(
    sources: Sequence[Source], topics: Mapping[str, str], positives: Positives, options: MineOptions
) -> Iterator[Pool]:
    """Yields the pool of every query: the windows of the sources, best ranks first, each document once."""
    first, last = options.first_rank - 1, options.depth
    for qid, *rankings in zip(topics, *(source.rankings for source in sources), strict=True):
        rows = zip_longest(*(ranking.hits[first:last] for ranking in rankings))
        docids = dict.fromkeys(hit[0] for row in rows for hit in row if hit is not None)
        scores = [{**dict(ranking.hits), **ranking.positives} for ranking in rankings]
        best = {source.name: ranking.best for source, ranking in zip(sources, rankings, strict=True)}
        yield Pool(
            query_id=qid,
            query=topics[qid],
            positives=[Candidate(id=docid) for docid in positives[qid]],
            candidates=[Candidate(id=docid) for docid in docids],
            sources=scores,
            tables=_named(sources, scores) if options.keep_scores else {},
            ranks=best if options.positive_rank is not None else {},
        )


def _named(sources: Sequence[Source], scores: Sequence[Scores]) -> dict[str, Scores]:
    """Scores by source, with the fewest digits that tell float32 numbers apart."""
    return {
        source.name: {key: float(str(np.float32(score))) for key, score in table.items()}
        for source, table in zip(sources, scores, strict=True)
    }


def choose_groups(path: Path, number: int, seed: int) -> Set[str]:
    """Query ids of `number` groups of a file, drawn at random."""
    qids = [group.query_id for group in read_groups(path)]
    return {qids[i] for i in sample_positions(len(qids), number, np.random.default_rng(seed))}


def from_groups(options: MineOptions) -> Iterator[Pool]:
    """Yields the pool of every group in a file, in its order; the scores it carries stay with it.

    Documents are ranked by the scores that the options name, those without one last; else as they stand in the file.

    Raises:
        DataError: no group, or none of the first `LOOKED_AT`, has the scores that the options name.
    """
    path = options.groups
    assert path is not None
    _check_scores(options, path)
    chosen = None if options.max_queries is None else choose_groups(path, options.max_queries, options.seed)
    for group in _regrouped(path, options):
        if chosen is not None and group.query_id not in chosen:
            continue
        candidates, sources = group.negatives, list[Scores]()
        if options.stored_scores is not None:
            scores = group.scores.get(options.stored_scores, {})
            candidates = sorted(candidates, key=lambda c: -scores.get(c.key, -float("inf")))
            sources = [scores]
        ranks = {
            name: rank_of_best(group.positives, candidates, group.scores.get(name, {}))
            for name in options.teacher_ranks
        }
        window = candidates[options.first_rank - 1 : options.depth]
        yield Pool(group.query_id, group.query, group.positives, window, sources, group.scores, ranks)


def _regrouped(path: Path, options: MineOptions) -> Iterator[Group]:
    """The groups of a file; those of passages as the options want them."""
    if options.documents_of is not None:
        return fold_groups(path, options.documents_of)
    if options.best_passage is not None:
        return best_passages(path, options.best_passage, options.passage_delimiter)
    return read_groups(path)


def _check_scores(options: MineOptions, path: Path) -> None:
    """Looks for the scores that the options name, before the work that goes by them."""
    wanted = (options.stored_scores, options.teacher_scores, options.best_passage, *options.teacher_ranks)
    lacking = {name for name in wanted if name is not None}
    known: dict[str, None] = {}
    number = 0
    for group in islice(read_groups(path), LOOKED_AT if lacking else 0):
        number += 1
        lacking -= group.scores.keys()
        known.update(dict.fromkeys(group.scores))
        if not lacking:
            return
    if lacking:
        where = f" in its first {LOOKED_AT:,} groups" if number == LOOKED_AT else ""
        raise DataError(
            path,
            f"holds no scores of {min(lacking)!r}{where} (it has: {', '.join(known) or 'none'})",
            remedy="score the groups with python -m pyserini_sdr.teach",
        )
