"""Evaluation of several runs on one set of judgements: means, intervals, comparisons with baselines."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import get_args

import numpy as np

from ..core.errors import UsageError, unknown
from ..core.files import require_file
from ..core.progress import bar
from ..trec import significance
from ..trec.measures import Holes, RunCounts, RunScores, score_run
from ..trec.names import DEFAULT_MEASURES, canonical_all
from ..trec.qrels import read_qrels
from .presets import PRESETS
from .results import Comparison, Correction, Evaluation, RunResult, SeedResult, Spread, Test

_CURVE = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

RunFiles = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""A run file, or the run files of several seeds of one system."""


def run_names(paths: Sequence[str | os.PathLike[str]], names: Sequence[str] | None = None) -> list[str]:
    """A different name per run: those given, or the file names without extension; if these clash, with it
    (`run.bm25`, `run.dense`), or with their folder."""
    if names:
        if len(names) != len(paths):
            raise UsageError(f"--names: {len(names)} names for {len(paths)} runs")
        chosen = list(names)
    else:
        whole = [Path(path).name.removesuffix(".gz") for path in paths]
        stems = [Path(name).stem for name in whole]
        folders = [Path(path).resolve().parent.name for path in paths]
        placed = [f"{folder}/{stem}" for folder, stem in zip(folders, stems, strict=True)]
        chosen = next((names for names in (stems, whole, placed) if len(set(names)) == len(names)), placed)
    for name in chosen:
        if chosen.count(name) > 1:
            raise UsageError(f"two runs are called {name!r}; give --names, or --seeds if they are seeds of one system")
    return chosen


def evaluate_runs(
    qrels: str | os.PathLike[str],
    runs: Mapping[str, RunFiles],
    baselines: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    *,
    preset: str | None = None,
    test: Test = "t-test",
    correction: Correction = "holm",
    equivalence_margin: float | None = None,
    seed: int = 0,
    relevance_level: int = 1,
) -> Evaluation:
    """Evaluates run files against a qrels file.

    Args:
        qrels: the qrels file.
        runs: name → run file, in the order of the table; name → run files of several seeds, which are averaged topic by
            topic.
        baselines: names (or paths) of runs that the others are compared with; the first run if None, none if empty.
            Of two baselines the later one is compared with the earlier.
        metrics: names as `trec.names.parse` takes them (`DEFAULT_MEASURES` if None); beside a preset, more measures.
        preset: a key of `PRESETS`; its measures come first.
        test: paired significance test.
        correction: adjustment of p over all comparisons of a metric.
        equivalence_margin: also test whether mean differences lie within ± this.
        seed: of bootstrap and randomisation test.
        relevance_level: lowest relevant grade (`trec_eval -l`) for measures that name none.

    Raises:
        UsageError: no runs or measures, an unknown measure, preset, baseline, test or correction, a margin that is not
            positive, a relevance level beside a preset.
        DataError: qrels or a run that cannot be used.
    """
    if not runs:
        raise UsageError("no runs to evaluate")
    if equivalence_margin is not None and not 0 < equivalence_margin < math.inf:
        raise UsageError(f"equivalence margin {equivalence_margin}: must be above 0")
    for what, given, known in (("test", test, get_args(Test)), ("correction", correction, get_args(Correction))):
        if given not in known:
            raise UsageError(unknown(what, str(given), known))
    measures = _measures(preset, metrics, relevance_level)
    files = {name: _files(name, given) for name, given in runs.items()}
    against = _resolve_baselines(files, baselines)
    for path in (path for paths in files.values() for path in paths):
        require_file(path, "run file")
    judgements = read_qrels(qrels)
    evaluation = Evaluation(
        os.fspath(qrels), measures, [], against, [], test, correction, seed, relevance_level, equivalence_margin, preset
    )
    curve = [f"recall_{k}(rel={evaluation.recall_level})" for k in _CURVE]
    every = [(name, path) for name, paths in files.items() for path in paths]
    seeds: dict[str, list[tuple[str, RunScores]]] = {}
    for name, path in bar(every, unit=" runs", desc="evaluating"):
        scores = score_run(judgements, path, [*measures, *curve], relevance_level)
        seeds.setdefault(name, []).append((path, scores))
    evaluation.runs.extend(_result(name, scored, measures, curve) for name, scored in seeds.items())
    _add_statistics(evaluation)
    return evaluation


def _measures(preset: str | None, metrics: Sequence[str] | None, relevance_level: int) -> list[str]:
    if preset is None:
        if metrics is not None and not metrics:
            raise UsageError("no measures to evaluate with")
        return canonical_all(DEFAULT_MEASURES if metrics is None else metrics)
    if preset not in PRESETS:
        raise UsageError(unknown("preset", preset, PRESETS))
    if relevance_level != 1:
        raise UsageError(
            f"preset {preset} fixes its relevance levels; leave out --relevance-level, or give a measure of your own "
            "its level, as in AP(rel=2)"
        )
    return canonical_all([*PRESETS[preset].measures, *(metrics or ())])


def _files(name: str, given: RunFiles) -> list[str]:
    if isinstance(given, str | os.PathLike):
        return [os.fspath(given)]
    paths = [os.fspath(path) for path in given]
    if not paths:
        raise UsageError(f"no runs for {name!r}")
    for path in paths:
        if paths.count(path) > 1:
            raise UsageError(f"{path} is twice among the seeds of {name!r}")
    return paths


def _result(
    name: str, scored: Sequence[tuple[str, RunScores]], measures: Sequence[str], curve: Sequence[str]
) -> RunResult:
    """One run as it is; several averaged topic by topic."""
    every = [scores for _, scores in scored]
    values = {m: every[0].values[m] for m in measures}
    if len(every) > 1:
        values = {m: {qid: statistics.fmean(s.values[m][qid] for s in every) for qid in values[m]} for m in measures}
    counts = _together([scores.counts for scores in every])
    result = RunResult(
        name=name,
        paths=[path for path, _ in scored],
        counts=counts,
        values=values,
        means={m: math.fsum(values[m].values()) / counts.judged for m in measures},
        intervals={},
        recall_curve=[
            (k, statistics.fmean(scores.mean(recall) for scores in every))
            for k, recall in zip(_CURVE, curve, strict=True)
            if k <= counts.depth
        ],
    )
    if len(every) > 1:
        for path, scores in scored:
            own = {m: scores.values[m] for m in measures}
            result.seeds.append(SeedResult(path, scores.counts, own, {m: scores.mean(m) for m in measures}))
        for m in measures:
            means = [seed.means[m] for seed in result.seeds]
            result.spread[m] = Spread(statistics.stdev(means), min(means), max(means))
    return result


def _together(counts: Sequence[RunCounts]) -> RunCounts:
    if len(counts) == 1:
        return counts[0]
    return RunCounts(
        judged=counts[0].judged,
        retrieved=min(c.retrieved for c in counts),
        missing=max(c.missing for c in counts),
        unjudged_topics=max(c.unjudged_topics for c in counts),
        documents=sum(c.documents for c in counts),
        depth=min(c.depth for c in counts),
        holes=[
            Holes(at[0].k, sum(h.documents for h in at), sum(h.unjudged for h in at))
            for at in zip(*(c.holes for c in counts), strict=True)
        ],
    )


def _resolve_baselines(runs: Mapping[str, Sequence[str]], given: Sequence[str] | None) -> list[str]:
    if given is None:
        return list(runs)[:1] if len(runs) > 1 else []
    by_path = {os.path.normpath(paths[0]): name for name, paths in runs.items() if len(paths) == 1}
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
            comparison = Comparison(run, base, measure, difference, next(intervals), p, p, effect, **asdict(outcome))
            if evaluation.equivalence_margin is not None:
                comparison.equivalence = significance.equivalence_test(a, b, evaluation.equivalence_margin)
                comparison.equivalence_p = comparison.equivalence.p
            family.append(comparison)
        corrected = significance.correct([c.p for c in family], evaluation.correction)
        for comparison, p in zip(family, corrected, strict=True):
            comparison.p_corrected = p
        if evaluation.equivalence_margin is not None:
            corrected = significance.correct([c.equivalence_p for c in family], evaluation.correction)
            for comparison, p in zip(family, corrected, strict=True):
                comparison.equivalence_p_corrected = p
        evaluation.comparisons.extend(family)
