from __future__ import annotations

import statistics

import pytest
from scipy import stats

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.evaluate.engine import evaluate_runs, run_names
from pyserini_sdr.trec.measures import evaluate_run
from pyserini_sdr.trec.qrels import read_qrels
from pyserini_sdr.trec.significance import holm


def runs_in(files):
    return {name: files / f"{name}.txt" for name in ("bm25", "base", "tuned")}


def test_means_tests_and_correction(files):
    result = evaluate_runs(files / "qrels.txt", runs_in(files), ["bm25", "base"], ["nDCG@10", "RR@10"])
    assert result.measures == ["ndcg_cut_10", "recip_rank_cut_10"]
    values = {
        name: evaluate_run(read_qrels(files / "qrels.txt"), path, result.measures)
        for name, path in runs_in(files).items()
    }
    pairs = [("base", "bm25"), ("tuned", "bm25"), ("tuned", "base")]
    for measure in result.measures:
        for run in result.runs:
            assert run.values[measure] == values[run.name][measure]
            assert run.means[measure] == pytest.approx(statistics.fmean(values[run.name][measure].values()))
            low, high = run.intervals[measure]
            assert low <= run.means[measure] <= high
        expected = [
            stats.ttest_rel(list(values[a][measure].values()), list(values[b][measure].values())).pvalue
            for a, b in pairs
        ]
        found = [c for c in result.comparisons if c.measure == measure]
        assert [(c.run, c.baseline) for c in found] == pairs
        assert [c.p for c in found] == pytest.approx(expected)
        assert [c.p_corrected for c in found] == pytest.approx(holm(expected))
    comparison = result.comparison("tuned", "bm25", "ndcg_cut_10")
    tuned, bm25 = result.run("tuned"), result.run("bm25")
    assert comparison.difference == pytest.approx(tuned.means["ndcg_cut_10"] - bm25.means["ndcg_cut_10"])
    assert comparison.interval[0] < comparison.difference < comparison.interval[1]
    assert comparison.significant
    assert comparison.wins + comparison.ties + comparison.losses == 60
    assert result.family == pairs
    assert result.comparison("bm25", "bm25", "ndcg_cut_10") is None


def test_missing_topics_count_zero_and_are_told(files):
    result = evaluate_runs(files / "qrels.txt", runs_in(files))
    base = result.run("base")
    assert (base.counts.judged, base.counts.missing) == (60, 2)
    assert base.values["ndcg_cut_10"]["000"] == 0.0
    assert "base has no results for 2 judged topics; they count 0." in result.notes()
    assert result.baselines == ["bm25"]


def test_recall_curve_stops_at_the_depth_of_the_run(files):
    curve = evaluate_runs(files / "qrels.txt", {"t": files / "tuned.txt"}).runs[0].recall_curve
    assert [k for k, _ in curve] == [1, 2, 5, 10, 20]
    assert [r for _, r in curve] == sorted(r for _, r in curve)


def test_deterministic_and_seeded(files):
    def numbers(seed):
        result = evaluate_runs(files / "qrels.txt", runs_in(files), test="randomization", seed=seed)
        return result.to_dict(per_query=True)

    first = numbers(1)
    assert first == numbers(1)
    second = numbers(2)
    assert first["runs"][0]["means"] == second["runs"][0]["means"]
    assert first["runs"][0]["intervals"] != second["runs"][0]["intervals"]


def test_run_against_itself_is_a_draw(files):
    runs = {"a": files / "tuned.txt", "b": files / "tuned.txt"}
    for test in ("t-test", "randomization"):
        (comparison,) = evaluate_runs(files / "qrels.txt", runs, metrics=["map"], test=test).comparisons
        assert (comparison.difference, comparison.p, comparison.effect_size) == (0.0, 1.0, 0.0)
        assert (comparison.wins, comparison.ties, comparison.losses) == (0, 60, 0)
        assert comparison.interval == (0.0, 0.0)


def test_baseline_by_path_and_none(files):
    runs = runs_in(files)
    assert evaluate_runs(files / "qrels.txt", runs, [str(runs["base"])]).baselines == ["base"]
    assert evaluate_runs(files / "qrels.txt", runs, []).comparisons == []
    with pytest.raises(UsageError, match="unknown baseline 'bm52'; did you mean 'bm25'"):
        evaluate_runs(files / "qrels.txt", runs, ["bm52"])


def test_faults(files, tmp_path):
    with pytest.raises(UsageError, match="unknown measure"):
        evaluate_runs(files / "qrels.txt", runs_in(files), metrics=["bleu"])
    with pytest.raises(UsageError, match="no runs"):
        evaluate_runs(files / "qrels.txt", {})
    with pytest.raises(DataError, match="no such run file"):
        evaluate_runs(files / "qrels.txt", {"x": tmp_path / "x.txt"})


def test_run_names():
    assert run_names(["a/bm25.txt", "b/dense.run.txt.gz"]) == ["bm25", "dense.run"]
    assert run_names(["/x/a/run.txt", "/x/b/run.txt"]) == ["a/run", "b/run"]
    assert run_names(["a", "b"], ["one", "two"]) == ["one", "two"]
    with pytest.raises(UsageError, match="1 names for 2 runs"):
        run_names(["a", "b"], ["one"])
    with pytest.raises(UsageError, match="two runs are called 'one'"):
        run_names(["a", "b"], ["one", "one"])
