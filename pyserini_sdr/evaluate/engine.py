"""Evaluation of several runs on one set of judgements: means, intervals, comparisons with baselines."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..core.errors import UsageError, unknown
from ..core.files import require_file
from ..core.progress import bar
from ..trec import significance
from ..trec.measures import DEFAULT_MEASURES, RunCounts, canonical_all, score_run
from ..trec.qrels import read_qrels

SIGNIFICANT = 0.05
_CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

Test = Literal["t-test", "randomization"]
Correction = Literal["holm", "bonferroni", "none"]


@dataclass
class RunResult:
    """One run's numbers.

    Attributes:
        values: measure → query id → value, for every judged topic.
        means: measure → mean over all judged topics.
        intervals: measure → 95 % interval of that mean (percentile bootstrap over topics).
        recall_curve: pairs (k, mean recall at k), for k up to the depth of the run.
    """

    name: str
    path: str
    counts: RunCounts
    values: dict[str, dict[str, float]]
    means: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    recall_curve: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Comparison:
    """A run against a baseline on one measure; differences are run minus baseline.

    Attributes:
        interval: 95 % bootstrap interval of the mean difference.
        p: two-sided p of the paired test.
        p_corrected: `p` adjusted over the family, all comparisons of this measure.
        effect_size: Cohen's d_z.
    """

    run: str
    baseline: str
    measure: str
    difference: float
    interval: tuple[float, float]
    p: float
    p_corrected: float
    effect_size: float
    wins: int
    ties: int
    losses: int

    @property
    def significant(self) -> bool:
        """Whether the corrected p lies below 0.05."""
        return self.p_corrected < SIGNIFICANT


@dataclass
class Evaluation:
    """Everything `evaluate` found; tables and reports are made from it."""

    qrels: str
    measures: list[str]
    runs: list[RunResult]
    baselines: list[str]
    comparisons: list[Comparison]
    test: Test
    correction: Correction
    seed: int
    relevance_level: int

    def run(self, name: str) -> RunResult:
        """The run of that name."""
        return next(run for run in self.runs if run.name == name)

    def comparison(self, run: str, baseline: str, measure: str) -> Comparison | None:
        """The comparison, or None where there is none (a run with itself)."""
        wanted = (run, baseline, measure)
        return next((c for c in self.comparisons if (c.run, c.baseline, c.measure) == wanted), None)

    @property
    def family_size(self) -> int:
        """Number of comparisons that are corrected together."""
        return len(self.comparisons) // len(self.measures)

    def notes(self) -> list[str]:
        """How the numbers came about, one statement each."""
        judged = self.runs[0].counts.judged
        notes = [f"Means over all {judged} judged topics (trec_eval -c); [95 % interval: percentile bootstrap]."]
        if self.relevance_level != 1:
            notes.append(f"Documents are relevant from grade {self.relevance_level} (trec_eval -l).")
        if self.comparisons:
            test = "t-test" if self.test == "t-test" else "randomisation test (10,000 rounds)"
            names = {"holm": "Holm's correction", "bonferroni": "Bonferroni's correction", "none": "no correction"}
            size = self.family_size
            family = f" over the {size} comparison{'s' * (size > 1)} of each metric" * (self.correction != "none")
            notes.append(f"p: two-sided paired {test}, {names[self.correction]}{family}; d: Cohen's d_z.")
        for run in self.runs:
            if run.counts.missing:
                notes.append(f"{run.name} has no results for {run.counts.missing} judged topics; they count 0.")
            if run.counts.unjudged_topics:
                notes.append(f"{run.name} answers {run.counts.unjudged_topics} topics without judgements; not counted.")
        return notes

    def to_dict(self, *, per_query: bool = False) -> dict[str, Any]:
        """JSON-ready; without the per-topic values unless asked for."""
        value = asdict(self)
        if not per_query:
            for run in value["runs"]:
                del run["values"]
        return value


def run_names(paths: Sequence[str | os.PathLike[str]], names: Sequence[str] | None = None) -> list[str]:
    """A different name per run: those given, or file names without extension, or with their folder if they clash."""
    if names:
        if len(names) != len(paths):
            raise UsageError(f"--names: {len(names)} names for {len(paths)} runs")
        chosen = list(names)
    else:
        stems = [Path(path).name.removesuffix(".gz") for path in paths]
        chosen = [Path(stem).stem for stem in stems]
        if len(set(chosen)) < len(chosen):
            chosen = [f"{Path(path).resolve().parent.name}/{name}" for path, name in zip(paths, chosen, strict=True)]
    for name in chosen:
        if chosen.count(name) > 1:
            raise UsageError(f"two runs are called {name!r}; give --names")
    return chosen


def evaluate_runs(
    qrels: str | os.PathLike[str],
    runs: Mapping[str, str | os.PathLike[str]],
    baselines: Sequence[str] | None = None,
    metrics: Sequence[str] = DEFAULT_MEASURES,
    *,
    test: Test = "t-test",
    correction: Correction = "holm",
    seed: int = 0,
    relevance_level: int = 1,
) -> Evaluation:
    """Evaluates run files against a qrels file.

    Args:
        qrels: the qrels file.
        runs: name → run file, in the order of the table.
        baselines: names (or paths) of runs that the others are compared with; the first run if None, none if empty.
            Of two baselines the later one is compared with the earlier.
        metrics: names as `trec.measures.canonical` takes them.
        test: paired significance test.
        correction: adjustment of p over all comparisons of a metric.
        seed: of bootstrap and randomisation test.
        relevance_level: lowest relevant grade (`trec_eval -l`).

    Raises:
        UsageError: no runs, an unknown measure or baseline.
        DataError: qrels or a run that cannot be used.
    """
    if not runs:
        raise UsageError("no runs to evaluate")
    measures = canonical_all(metrics)
    against = _resolve_baselines(runs, baselines)
    for path in runs.values():
        require_file(path, "run file")
    judgements = read_qrels(qrels)
    curve = [f"recall_{k}" for k in _CURVE]
    results = []
    for name, path in bar(list(runs.items()), unit=" runs", desc="evaluating"):
        scored = score_run(judgements, path, [*measures, *curve], relevance_level)
        results.append(
            RunResult(
                name=name,
                path=os.fspath(path),
                counts=scored.counts,
                values={measure: scored.values[measure] for measure in measures},
                means={measure: scored.mean(measure) for measure in measures},
                intervals={},
                recall_curve=[(k, scored.mean(f"recall_{k}")) for k in _CURVE if k <= scored.counts.depth],
            )
        )
    evaluation = Evaluation(os.fspath(qrels), measures, results, against, [], test, correction, seed, relevance_level)
    _add_statistics(evaluation)
    return evaluation


def _resolve_baselines(runs: Mapping[str, str | os.PathLike[str]], given: Sequence[str] | None) -> list[str]:
    if given is None:
        return list(runs)[:1] if len(runs) > 1 else []
    by_path = {os.path.normpath(path): name for name, path in runs.items()}
    resolved = []
    for baseline in given:
        name = baseline if baseline in runs else by_path.get(os.path.normpath(baseline))
        if name is None:
            raise UsageError(unknown("baseline", baseline, runs))
        resolved.append(name)
    return list(dict.fromkeys(resolved))


def _add_statistics(evaluation: Evaluation) -> None:
    """Intervals of all means and differences from the same resamples, then tests and corrections."""
    columns: list[np.ndarray] = []
    pairs = [
        (run, base)
        for base in evaluation.baselines
        for run in (r.name for r in evaluation.runs)
        if run not in evaluation.baselines[: evaluation.baselines.index(base) + 1]
    ]
    vectors = {
        (run.name, measure): np.fromiter(run.values[measure].values(), dtype=np.float64)
        for run in evaluation.runs
        for measure in evaluation.measures
    }
    columns.extend(vectors.values())
    columns.extend(vectors[run, m] - vectors[base, m] for m in evaluation.measures for run, base in pairs)
    intervals = iter(significance.bootstrap_intervals(np.stack(columns, axis=1), seed=evaluation.seed))
    for run, measure in vectors:
        evaluation.run(run).intervals[measure] = next(intervals)
    for measure in evaluation.measures:
        family = []
        for run, base in pairs:
            a, b = vectors[run, measure], vectors[base, measure]
            if evaluation.test == "t-test":
                p = significance.paired_t_test(a, b)
            else:
                p = significance.randomization_test(a, b, seed=evaluation.seed)
            outcome = significance.win_tie_loss(a, b)
            difference = math.fsum(a - b) / len(a)
            effect = significance.effect_size(a, b)
            family.append(Comparison(run, base, measure, difference, next(intervals), p, p, effect, **asdict(outcome)))
        corrected = significance.correct([c.p for c in family], evaluation.correction)
        for comparison, p in zip(family, corrected, strict=True):
            comparison.p_corrected = p
        evaluation.comparisons.extend(family)
