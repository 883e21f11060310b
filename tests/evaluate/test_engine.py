from __future__ import annotations

import statistics

import pytest
from scipy import stats

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.evaluate.engine import evaluate_runs, run_names
from pyserini_sdr.trec.measures import evaluate_run
from pyserini_sdr.trec.qrels import read_qrels
from pyserini_sdr.trec.significance import bonferroni, holm


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


def seeds_in(files):
    return {"bm25": files / "bm25.txt", "ours": [files / "base.txt", files / "tuned.txt"]}


def test_seeds_are_averaged_topic_by_topic(files):
    result = evaluate_runs(files / "qrels.txt", seeds_in(files), metrics=["nDCG@10", "AP"])
    single = evaluate_runs(files / "qrels.txt", runs_in(files), metrics=["nDCG@10", "AP"])
    ours, base, tuned = result.run("ours"), single.run("base"), single.run("tuned")
    assert ours.paths == [str(files / "base.txt"), str(files / "tuned.txt")]
    assert result.run("bm25").seeds == []
    assert result.run("bm25").spread == {}
    for measure in result.measures:
        for qid, value in ours.values[measure].items():
            assert value == pytest.approx((base.values[measure][qid] + tuned.values[measure][qid]) / 2)
        means = base.means[measure], tuned.means[measure]
        assert ours.means[measure] == pytest.approx(statistics.fmean(means))
        spread = ours.spread[measure]
        assert (spread.sd, spread.min, spread.max) == pytest.approx((statistics.stdev(means), min(means), max(means)))
        assert [seed.means[measure] for seed in ours.seeds] == list(means)
        low, high = ours.intervals[measure]
        assert low < ours.means[measure] < high
    averaged, bm25 = (list(run.values["map"].values()) for run in (ours, result.run("bm25")))
    assert result.comparison("ours", "bm25", "map").p == pytest.approx(stats.ttest_rel(averaged, bm25).pvalue)
    curve = [(k, (a + b) / 2) for (k, a), (_, b) in zip(base.recall_curve, tuned.recall_curve, strict=True)]
    assert dict(ours.recall_curve) == pytest.approx(dict(curve))
    assert (ours.counts.missing, ours.counts.documents) == (2, base.counts.documents + tuned.counts.documents)
    assert [h.documents for h in ours.counts.holes] == [
        a.documents + b.documents for a, b in zip(base.counts.holes, tuned.counts.holes, strict=True)
    ]
    notes = " ".join(result.notes())
    assert "ours: mean of 2 seeds, topic by topic" in notes
    assert f"ours ({files / 'base.txt'}) has no results for 2 judged topics" in notes


def test_one_seed_is_a_plain_run(files):
    one = evaluate_runs(files / "qrels.txt", {"a": [files / "tuned.txt"]}).to_dict(per_query=True)
    assert one == evaluate_runs(files / "qrels.txt", {"a": files / "tuned.txt"}).to_dict(per_query=True)
    assert one["runs"][0]["seeds"] == []


def test_faults_of_seeds(files):
    path = files / "tuned.txt"
    with pytest.raises(UsageError, match="twice among the seeds of 'a'"):
        evaluate_runs(files / "qrels.txt", {"a": [path, path]})
    with pytest.raises(UsageError, match="no runs for 'a'"):
        evaluate_runs(files / "qrels.txt", {"a": []})


@pytest.mark.parametrize("correction", ["holm", "bonferroni", "none"])
def test_equivalence_is_corrected_over_the_family(files, correction):
    result = evaluate_runs(
        files / "qrels.txt",
        runs_in(files) | {"again": files / "tuned.txt"},
        ["tuned", "bm25"],
        ["nDCG@10"],
        equivalence_margin=0.05,
        correction=correction,
    )
    raw = []
    for c in result.comparisons:
        d = [
            a - b for a, b in zip(*(result.run(n).values[c.measure].values() for n in (c.run, c.baseline)), strict=True)
        ]
        if c.run == "again" and c.baseline == "tuned":
            raw.append(0.0)
        else:
            low, high = (
                stats.ttest_1samp(d, side * 0.05, alternative=way).pvalue
                for side, way in ((-1, "greater"), (1, "less"))
            )
            assert (c.equivalence.p_lower, c.equivalence.p_upper) == pytest.approx((low, high), rel=1e-6, abs=1e-12)
            raw.append(max(low, high))
    assert [c.equivalence_p for c in result.comparisons] == pytest.approx(raw, rel=1e-6)
    corrected = {"holm": holm, "bonferroni": bonferroni, "none": list}[correction](raw)
    assert [c.equivalence_p_corrected for c in result.comparisons] == pytest.approx(corrected, rel=1e-6)
    same = result.comparison("again", "tuned", "ndcg_cut_10")
    assert (same.equivalent, same.verdict) == (True, "equivalent within ±0.05")
    other = result.comparison("bm25", "tuned", "ndcg_cut_10")
    assert (other.equivalent, other.verdict) == (False, "not shown")


def test_no_margin_no_test_of_equivalence(files):
    result = evaluate_runs(files / "qrels.txt", runs_in(files))
    assert {(c.equivalence, c.equivalence_p_corrected, c.verdict) for c in result.comparisons} == {(None, None, "")}
    for margin in (0, -0.01, float("inf"), float("nan")):
        with pytest.raises(UsageError, match="must be above 0"):
            evaluate_runs(files / "qrels.txt", runs_in(files), equivalence_margin=margin)


def test_presets(files):
    result = evaluate_runs(files / "qrels.txt", runs_in(files), preset="dl19")
    assert result.measures == ["ndcg_cut_10", "map(rel=2)", "recall_1000(rel=2)", "recip_rank(rel=2)"]
    assert "it has 43 judged topics, these qrels 60: not the official ones" in result.notes()[0]
    plain = evaluate_runs(files / "qrels.txt", runs_in(files), metrics=["map"], relevance_level=2).runs[2]
    assert result.runs[2].values["map(rel=2)"] == plain.values["map"]
    assert result.runs[2].recall_curve == plain.recall_curve  # the level of the preset's recall
    more = evaluate_runs(files / "qrels.txt", runs_in(files), metrics=["P@5", "nDCG@10"], preset="beir")
    assert more.measures == ["ndcg_cut_10", "recall_100", "P_5"]
    assert more.notes()[0] == "Preset beir: BEIR."
    with pytest.raises(UsageError, match="preset dl20 fixes its relevance levels"):
        evaluate_runs(files / "qrels.txt", runs_in(files), preset="dl20", relevance_level=2)
    with pytest.raises(UsageError, match="unknown preset 'dl91'; did you mean 'dl19'"):
        evaluate_runs(files / "qrels.txt", runs_in(files), preset="dl91")


@pytest.mark.parametrize(
    ("preset", "commands"),
    [
        ("msmarco-dev", ["-c -M 10 -m recip_rank", "-c -m recall.1000"]),
        ("dl19", ["-c -m ndcg_cut.10", "-c -l 2 -m map -m recall.1000 -m recip_rank"]),
        ("dl20", ["-c -m ndcg_cut.10", "-c -l 2 -m map -m recall.1000 -m recip_rank"]),
        ("beir", ["-c -m ndcg_cut.10 -m recall.100"]),
    ],
)
def test_commands_of_presets(files, preset, commands):
    result = evaluate_runs(files / "qrels.txt", {"a": files / "tuned.txt"}, preset=preset)
    prefix, suffix = "python -m pyserini.eval.trec_eval ", f" {files / 'qrels.txt'} RUN"
    assert result.trec_eval() == [f"{prefix}{command}{suffix}" for command in commands]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"test": "wilcoxon"}, "unknown test 'wilcoxon'; known: randomization, t-test"),
        ({"test": "ttest"}, "unknown test 'ttest'; did you mean 't-test'"),
        ({"correction": "bh"}, "unknown correction 'bh'; known: bonferroni, holm, none"),
        ({"metrics": []}, "no measures to evaluate with"),
    ],
)
def test_what_is_not_had_is_refused_and_nothing_else_taken(files, given, message):
    with pytest.raises(UsageError, match=message):
        evaluate_runs(files / "qrels.txt", runs_in(files), **given)


def test_run_names():
    assert run_names(["a/bm25.txt", "b/dense.run.txt.gz"]) == ["bm25", "dense.run"]
    assert run_names(["/x/a/run.txt", "/x/b/run.txt"]) == ["a/run", "b/run"]
    assert run_names(["a/run.bm25", "a/run.dense.gz"]) == ["run.bm25", "run.dense"]
    with pytest.raises(UsageError, match="two runs are called 'a/run'"):
        run_names(["a/run.txt", "a/run.txt"])
    assert run_names(["a", "b"], ["one", "two"]) == ["one", "two"]
    with pytest.raises(UsageError, match="1 names for 2 runs"):
        run_names(["a", "b"], ["one"])
    with pytest.raises(UsageError, match="two runs are called 'one'"):
        run_names(["a", "b"], ["one", "one"])
