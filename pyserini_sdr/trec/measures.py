"""Measures of runs: trec_eval's names and numbers, over all judged topics (`trec_eval -c`), topic by topic.

The numbers come from trec_eval's code through pytrec_eval-terrier. Added are `recip_rank_cut_K`, the ranking cut to K
in trec_eval's order, then `recip_rank`, as `trec_eval -M K -m recip_rank` gives it (MS MARCO's MRR@10 is K = 10), and
`judged_K`, the share of judged documents among the first K retrieved (ir_measures' Judged@K).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.errors import DataError
from .names import DEFAULT_MEASURES, canonical, canonical_all, parse
from .qrels import Qrels
from .run import Ranking, iter_run, rank

HOLE_DEPTHS = (5, 10, 20, 100)
"""Depths at which unjudged documents are counted."""


@dataclass
class Holes:
    """Documents among the first k of each judged topic, and those of them that the qrels lack for that topic."""

    k: int
    documents: int = 0
    unjudged: int = 0

    @property
    def share(self) -> float:
        """Share of these documents that is unjudged; judged@k is the rest."""
        return self.unjudged / self.documents if self.documents else 0.0


@dataclass
class RunCounts:
    """What a mean stands on.

    Attributes:
        judged: topics in the qrels; every mean is over these.
        retrieved: judged topics for which the run has documents.
        missing: judged topics for which it has none (they count 0).
        unjudged_topics: topics of the run that the qrels lack (they count nothing).
        documents: documents of the run for judged topics.
        depth: documents of the longest of these topics.
        holes: unjudged documents at each of `HOLE_DEPTHS`.
    """

    judged: int = 0
    retrieved: int = 0
    missing: int = 0
    unjudged_topics: int = 0
    documents: int = 0
    depth: int = 0
    holes: list[Holes] = field(default_factory=lambda: [Holes(k) for k in HOLE_DEPTHS])


@dataclass
class RunScores:
    """Values of one run: canonical measure → query id → value, for every judged topic in the qrels' order."""

    values: dict[str, dict[str, float]]
    counts: RunCounts = field(default_factory=RunCounts)

    def mean(self, measure: str) -> float:
        """Mean over all judged topics, as `trec_eval -c` prints it."""
        values = self.values[canonical(measure)].values()
        return math.fsum(values) / len(values)


class Evaluator:
    """Measures rankings against qrels, one topic at a time.

    Args:
        qrels: query id → document id → grade.
        measures: names as in `canonical`.
        relevance_level: lowest grade that is relevant, for measures that know only relevant or not and name no level of
            their own (`trec_eval -l`).
    """

    def __init__(
        self, qrels: Mapping[str, Mapping[str, int]], measures: Iterable[str], relevance_level: int = 1
    ) -> None:
        import pytrec_eval

        self.qrels, self.measures = qrels, canonical_all(measures)
        plain = {qid: dict(judged) for qid, judged in qrels.items()}
        whole: dict[int, dict[str, str]] = {}
        cut: dict[int, dict[str, int]] = {}
        self._judged: dict[str, int] = {}
        for name in self.measures:
            measure = parse(name)
            level = measure.level or relevance_level
            if measure.base == "judged":
                self._judged[name] = int(measure.cut)
            elif measure.base == "recip_rank_cut":
                cut.setdefault(level, {})[name] = int(measure.cut)
            else:
                whole.setdefault(level, {})[name] = measure.trec_name
        build = pytrec_eval.RelevanceEvaluator
        self._whole = [(build(plain, set(names.values()), level), names) for level, names in whole.items()]
        self._cut = [(build(plain, {"recip_rank"}, level), cuts) for level, cuts in cut.items()]

    def zeros(self) -> dict[str, float]:
        """The values of a topic without results."""
        return dict.fromkeys(self.measures, 0.0)

    def topic(self, qid: str, ranking: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Values of one judged topic: canonical measure → value."""
        ranking = list(ranking)
        return self.ranked(qid, rank([docid for docid, _ in ranking], [score for _, score in ranking]))

    def ranked(self, qid: str, ordered: Ranking) -> dict[str, float]:
        """`topic` for a ranking that `trec.run.rank` has ordered."""
        if not ordered or not self.qrels[qid]:
            return self.zeros()
        values: dict[str, float] = {}
        # float32 values as doubles: trec_eval compares C floats, and ties must fall the same way here.
        scores = {qid: dict(ordered)}
        for evaluator, names in self._whole:
            found = evaluator.evaluate(scores)[qid]
            values |= {name: found[trec_name] for name, trec_name in names.items()}
        for evaluator, cuts in self._cut:
            for name, k in cuts.items():
                values[name] = evaluator.evaluate({qid: dict(ordered[:k])})[qid]["recip_rank"]
        for name, k in self._judged.items():
            values[name] = sum(docid in self.qrels[qid] for docid, _ in ordered[:k]) / len(ordered[:k])
        return {measure: values[measure] for measure in self.measures}


def evaluate_topic(
    judged: Mapping[str, int],
    ranking: Iterable[tuple[str, float]] | Mapping[str, float],
    measures: Iterable[str],
    relevance_level: int = 1,
) -> dict[str, float]:
    """Values of one topic: canonical measure → value.

    Args:
        judged: document id → grade.
        ranking: document ids and scores, in any order.
        measures: names as in `canonical`.
        relevance_level: lowest grade that is relevant.
    """
    pairs = ranking.items() if isinstance(ranking, Mapping) else ranking
    return Evaluator({"topic": judged}, measures, relevance_level).topic("topic", pairs)


def score_run(
    qrels: Qrels,
    run: str | os.PathLike[str] | Mapping[str, Mapping[str, float]] | Iterable[tuple[str, Ranking]],
    measures: Sequence[str] = DEFAULT_MEASURES,
    relevance_level: int = 1,
) -> RunScores:
    """Measures a run over all judged topics; topics it lacks count 0 (`trec_eval -c`).

    Args:
        qrels: query id → document id → grade.
        run: a run file (streamed), a mapping query id → document id → score, or pairs of query id and ranking.
        measures: names as in `canonical`.
        relevance_level: lowest grade that is relevant (`trec_eval -l`).

    Raises:
        UsageError: an unknown measure.
        DataError: a run that cannot be read, or that shares no topic, or no document, with the qrels.
    """
    if not qrels:
        raise DataError("qrels", "hold no judgements")
    evaluator = Evaluator(qrels, measures, relevance_level)
    name, topics = _topics_of(run)
    counts = RunCounts(judged=len(qrels))
    known = {docid for judged in qrels.values() for docid in judged}
    found: dict[str, dict[str, float]] = {}
    unjudged = ""
    share_documents = False
    for qid, ranking in topics:
        if qid not in qrels:
            counts.unjudged_topics += 1
            unjudged = unjudged or qid
            continue
        if not ranking:
            continue
        ordered = rank([docid for docid, _ in ranking], [score for _, score in ranking])
        found[qid] = evaluator.ranked(qid, ordered)
        _count_holes(counts.holes, [docid not in qrels[qid] for docid, _ in ordered[: HOLE_DEPTHS[-1]]])
        counts.documents += len(ranking)
        counts.depth = max(counts.depth, len(ranking))
        share_documents = share_documents or any(docid in known for docid, _ in ranking)
    counts.retrieved, counts.missing = len(found), len(qrels) - len(found)
    if not found:
        raise DataError(
            name,
            f"no topic in common with the qrels (run: {unjudged!r}, qrels: {next(iter(qrels))!r})",
            remedy="do both come from the same set of topics, with ids spelt the same?",
        )
    if not share_documents:
        raise DataError(
            name,
            f"none of its {counts.documents} documents for judged topics is judged for any topic",
            remedy="do the run and the qrels use the same document ids?",
        )
    zeros = evaluator.zeros()
    values = {m: {qid: found.get(qid, zeros)[m] for qid in qrels} for m in evaluator.measures}
    return RunScores(values, counts)


def _count_holes(holes: list[Holes], unjudged: list[bool]) -> None:
    for at in holes:
        at.documents += len(unjudged[: at.k])
        at.unjudged += sum(unjudged[: at.k])


def _topics_of(run: object) -> tuple[str | os.PathLike[str], Iterator[tuple[str, Ranking]]]:
    if isinstance(run, str | os.PathLike):
        return run, iter_run(run)
    if isinstance(run, Mapping):
        return "run", ((qid, list(documents.items())) for qid, documents in run.items())
    return "run", iter(run)  # type: ignore[call-overload]


def evaluate_run(
    qrels: Qrels,
    run: str | os.PathLike[str] | Mapping[str, Mapping[str, float]] | Iterable[tuple[str, Ranking]],
    measures: Sequence[str] = DEFAULT_MEASURES,
    relevance_level: int = 1,
) -> dict[str, dict[str, float]]:
    """The `values` of `score_run`: canonical measure → query id → value, for every judged topic."""
    return score_run(qrels, run, measures, relevance_level).values
