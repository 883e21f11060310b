"""Measures of runs: trec_eval's names and numbers, over all judged topics (`trec_eval -c`), topic by topic.

The numbers come from trec_eval's code through pytrec_eval-terrier. Added is `recip_rank_cut_K`: the ranking cut to K in
trec_eval's order, then `recip_rank`, as `trec_eval -M K -m recip_rank` gives it (MS MARCO's MRR@10 is K = 10).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..core.errors import DataError, UsageError, unknown
from .qrels import Qrels
from .run import Ranking, iter_run, rank

_PLAIN = ("map", "Rprec", "bpref", "recip_rank", "11pt_avg", "ndcg", "ndcg_rel", "Rndcg", "G", "binG", "infAP")
_PLAIN += ("set_P", "set_recall", "set_F", "set_map", "set_relative_P")
_CUT = ("P", "recall", "success", "ndcg_cut", "map_cut", "relative_P", "recip_rank_cut")
_LEVEL = ("iprec_at_recall", "Rprec_mult")

_ALIASES = {  # spellings of ir_measures and papers, in lower case → trec_eval's (with or without cut)
    "ap": ("map", "map_cut"),
    "map": ("map", "map_cut"),
    "ndcg": ("ndcg", "ndcg_cut"),
    "p": (None, "P"),
    "precision": (None, "P"),
    "r": (None, "recall"),
    "recall": (None, "recall"),
    "rr": ("recip_rank", "recip_rank_cut"),
    "mrr": ("recip_rank", "recip_rank_cut"),
    "recip_rank": ("recip_rank", "recip_rank_cut"),
    "success": (None, "success"),
    "hit": (None, "success"),
    "hits": (None, "success"),
    "rprec": ("Rprec", None),
}

DEFAULT_MEASURES = ("ndcg_cut_10", "recip_rank_cut_10", "recall_100")
EXAMPLES = ("map", "ndcg_cut_10", "P_10", "recall_100", "success_10", "recip_rank", "recip_rank_cut_10", "bpref")


def canonical(name: str) -> str:
    """trec_eval's name of a measure.

    Accepts trec_eval's own spellings (`ndcg_cut_10`, `ndcg_cut.10`, `map`), `recip_rank_cut_10`, and the usual ones
    with `@` or `_` (`nDCG@10`, `RR@10`, `MRR_10`, `R@100`, `AP`).

    Raises:
        UsageError: no such measure; the nearest names are suggested.
    """
    text = name.strip()
    if text in _PLAIN:
        return text
    match = re.fullmatch(r"(.+?)[._@](\d+)", text)
    if match and match[1] in _CUT and int(match[2]) > 0:
        return f"{match[1]}_{int(match[2])}"
    level = re.fullmatch(r"(.+?)[._@](\d+\.\d+)", text)
    if level and level[1] in _LEVEL:
        return f"{level[1]}_{float(level[2]):.2f}"
    base, cut = (match[1].lower(), int(match[2])) if match else (text.lower(), None)
    plain, with_cut = _ALIASES.get(base, (None, None))
    if cut is None and plain:
        return plain
    if cut and with_cut:
        return f"{with_cut}_{cut}"
    if text in _CUT or (cut is None and with_cut):
        raise UsageError(f"measure {name!r} needs a cut-off, as in {with_cut or text}_10")
    if cut == 0:
        raise UsageError(f"measure {name!r}: the cut-off must be at least 1")
    cut_text = match[2] if match else "10"
    raise UsageError(unknown("measure", name, {*_PLAIN, *(f"{base}_{cut_text}" for base in _CUT), *EXAMPLES}))


def canonical_all(names: Iterable[str]) -> list[str]:
    """`canonical` of every name, without repetitions, in the given order."""
    return list(dict.fromkeys(canonical(name) for name in names))


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
    """

    judged: int = 0
    retrieved: int = 0
    missing: int = 0
    unjudged_topics: int = 0
    documents: int = 0
    depth: int = 0


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
        relevance_level: lowest grade that is relevant, for measures that know only relevant or not (`trec_eval -l`).
    """

    def __init__(
        self, qrels: Mapping[str, Mapping[str, int]], measures: Iterable[str], relevance_level: int = 1
    ) -> None:
        import pytrec_eval

        self.qrels, self.measures = qrels, canonical_all(measures)
        self._cuts = {m: int(m.rsplit("_", 1)[1]) for m in self.measures if m.startswith("recip_rank_cut_")}
        self._full = [m for m in self.measures if m not in self._cuts]
        plain = {qid: dict(judged) for qid, judged in qrels.items()}
        build = pytrec_eval.RelevanceEvaluator
        self._evaluator = build(plain, set(self._full), relevance_level) if self._full else None
        self._first = build(plain, {"recip_rank"}, relevance_level) if self._cuts else None

    def zeros(self) -> dict[str, float]:
        """The values of a topic without results."""
        return dict.fromkeys(self.measures, 0.0)

    def topic(self, qid: str, ranking: Iterable[tuple[str, float]]) -> dict[str, float]:
        """Values of one judged topic: canonical measure → value."""
        ranking = list(ranking)
        if not ranking or not self.qrels[qid]:
            return self.zeros()
        ordered = rank([docid for docid, _ in ranking], [score for _, score in ranking])
        # float32 values as doubles: trec_eval compares C floats, and ties must fall the same way here.
        values = dict(self._evaluator.evaluate({qid: dict(ordered)})[qid]) if self._evaluator else {}
        for measure, cut in self._cuts.items():
            values[measure] = self._first.evaluate({qid: dict(ordered[:cut])})[qid]["recip_rank"]
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
        found[qid] = evaluator.topic(qid, ranking)
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
