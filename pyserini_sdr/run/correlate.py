"""`run correlate`: how alike rankings of systems, or of documents, are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError
from ..core.files import require_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import bar, note
from ..core.tables import markdown_table
from ..trec.correlation import correlate_systems, rank_biased_overlap, tau_of_common
from ..trec.lists import AlignedRuns
from ..trec.measures import canonical_all, score_run
from ..trec.pool import run_names
from ..trec.qrels import read_qrels
from ..trec.run import ordered
from .command import CorrelateOptions


@dataclass(frozen=True)
class Likeness:
    """Of two rankings of one topic: rank-biased overlap, Kendall's tau of common documents (NaN for fewer than two),
    and how many documents are common, of how many in all."""

    rbo: float
    tau: float
    common: int
    all: int


def run_correlate(options: CorrelateOptions) -> None:
    """Prints the tables, writes `--output`."""
    for path in options.runs:
        require_file(path, "run file")
    if len(set(run_names(options.runs))) < len(options.runs):
        raise UsageError("--runs: the same file twice")
    facts = _systems(options) if options.qrels else _rankings(options)
    if options.output is not None:
        inputs = [*options.runs, *(options.qrels or [])]
        write_manifest(options.output, "correlation", config=as_dict(options), inputs=inputs, **facts)
        note(f"{options.output}: written")


def _systems(options: CorrelateOptions) -> dict[str, Any]:
    names = run_names(options.runs)
    metrics = canonical_all(options.metrics or ["ndcg_cut_10", "map"])
    judgements = dict(zip(run_names(options.qrels), options.qrels, strict=True))
    if len(judgements) < len(options.qrels):
        raise UsageError("--qrels: the same file twice")
    if len(metrics) * len(judgements) < 2:
        raise UsageError(f"--metrics {metrics[0]}: one ranking only; give a second measure or second --qrels")
    means: dict[str, list[float]] = {}
    for name, path in bar(judgements.items(), unit=" judgements", desc="ranking systems"):
        qrels = read_qrels(path)
        scores = [score_run(qrels, run, metrics, options.relevance_level) for run in options.runs]
        for metric in metrics:
            means[metric if len(judgements) == 1 else f"{metric}, {name}"] = [score.mean(metric) for score in scores]
    rows = [[name, *(f"{values[n]:.4f}" for values in means.values())] for n, name in enumerate(names)]
    print(markdown_table(["system", *means], rows))
    pairs = []
    for (first, a), (second, b) in combinations(means.items(), 2):
        pairs.append({"first": first, "second": second, **asdict(correlate_systems(names, a, b))})
    header = ["rankings of systems", "Kendall's tau", "p", "tau-AP", "Spearman's rho"]
    keys = ("tau", "p", "tau_ap", "spearman")
    rows = [[f"{pair['first']} : {pair['second']}", *(_text(pair[key]) for key in keys)] for pair in pairs]
    print(f"\n{markdown_table(header, rows)}\n\n{len(names)} systems")
    means_by_run = {view: dict(zip(names, values, strict=True)) for view, values in means.items()}
    return {"means": means_by_run, "pairs": [_plain(pair) for pair in pairs]}


def _rankings(options: CorrelateOptions) -> dict[str, Any]:
    names = run_names(options.runs)
    p = 0.9 if options.p is None else options.p
    pairs = list(combinations(range(len(names)), 2))
    found: dict[tuple[int, int], dict[str, Likeness]] = {pair: {} for pair in pairs}
    answered = [0] * len(names)
    for qid, rankings in bar(_orders(options.runs, options.depth), unit=" topics", desc="comparing"):
        for n, ranking in enumerate(rankings):
            answered[n] += bool(ranking)
        for a, b in pairs:
            if rankings[a] and rankings[b]:
                found[a, b][qid] = compare(rankings[a], rankings[b], p)
    rows, facts = [], []
    for (a, b), topics in found.items():
        if not topics:
            raise DataError(options.runs[b], f"shares no topic with {options.runs[a]}")
        alone = answered[a] + answered[b] - 2 * len(topics)
        means = {
            "rbo": _mean(likeness.rbo for likeness in topics.values()),
            "tau": _mean(likeness.tau for likeness in topics.values()),
            "common": _mean(likeness.common / likeness.all for likeness in topics.values()),
        }
        rows.append([f"{names[a]} : {names[b]}", *map(_text, means.values()), f"{len(topics)}", f"{alone}"])
        details = {qid: _plain(asdict(likeness)) for qid, likeness in topics.items()}
        facts.append({"first": names[a], "second": names[b], **_plain(means), "topics": details, "in_one_only": alone})
    header = ["runs", f"RBO (p = {p:g})", "Kendall's tau", "documents in both", "topics", "in one only"]
    print(markdown_table(header, rows))
    if options.per_topic:
        for (a, b), topics in found.items():
            values = topics.items()
            lines = [[qid, _text(v.rbo), _text(v.tau), f"{v.common} of {v.all}"] for qid, v in values]
            title = f"{names[a]} : {names[b]}"
            print(f"\n{markdown_table([title, 'RBO', 'tau', 'documents in both'], lines)}")
    return {"p": p, "pairs": facts}


def _orders(paths: Sequence[Path], depth: int | None) -> Iterator[tuple[str, list[Sequence[str]]]]:
    """Yields `(query id, per run: document ids in trec_eval's order)`."""
    for qid, runs in AlignedRuns(paths, depth):
        yield qid, [ordered(list(run), list(run.values()))[0] for run in runs]


def compare(first: Sequence[str], second: Sequence[str], p: float) -> Likeness:
    """How alike two rankings of one topic are."""
    common = len(set(first) & set(second))
    everything = len(first) + len(second) - common
    return Likeness(rank_biased_overlap(first, second, p), tau_of_common(first, second), common, everything)


def _mean(values: Iterator[float]) -> float:
    """Mean of the values that are numbers; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """NaN, which is no JSON, as null."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
