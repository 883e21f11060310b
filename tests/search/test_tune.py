"""`search tune`: its values are those of the files that fusing with each setting would write."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pyserini_sdr.core.command import main
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.run.command import COMMAND as RUN
from pyserini_sdr.search.__main__ import COMMAND
from pyserini_sdr.search.tune import _warn_of_the_edge, score_settings, summarise
from pyserini_sdr.search.tune_options import TuneOptions, of_test_split, parse_grid
from pyserini_sdr.trec.fuse import fuse_files
from pyserini_sdr.trec.measures import evaluate_run
from pyserini_sdr.trec.qrels import read_qrels, write_qrels
from pyserini_sdr.trec.run import RunWriter, read_run


def tune(*argv: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main(COMMAND, "pyserini_sdr.search", ["tune", *map(str, argv)])
    return stop.value.code


@pytest.fixture
def material(tmp_path: Path) -> tuple[list[Path], Path]:
    """Three runs with many ties over topics in different orders, and qrels that have a topic none of them has."""
    rng = random.Random(3)
    documents = [f"{n:03d}" for n in range(40)]
    topics = [f"{n:03d}" for n in range(12)]
    for name, spread in (("a", 8), ("b", 300), ("c", 3)):
        with RunWriter(tmp_path / f"{name}.dev.trec", name) as writer:
            for qid in rng.sample(topics[:-1], 11):
                found = rng.sample(documents, rng.randint(5, 30))
                writer.write(qid, found, [rng.randint(0, spread) / 7 for _ in found])
    qrels = {qid: {docid: rng.choice((0, 1, 1, 2)) for docid in rng.sample(documents, 8)} for qid in topics}
    write_qrels(tmp_path / "qrels.dev.txt", qrels)
    return [tmp_path / f"{name}.dev.trec" for name in "abc"], tmp_path / "qrels.dev.txt"


@pytest.mark.parametrize("metric", ["ndcg_cut_10", "recip_rank_cut_10", "recall_5", "map", "recip_rank", "bpref"])
@pytest.mark.parametrize(
    ("rule", "count", "settings"),
    [
        ("linear", 3, [{"weights": [0.2, 0.3, 0.5], "normalization": name} for name in ("min-max", "z-score", "none")]),
        ("stock-hybrid", 2, [{"alpha": 0.1, "normalization": True}, {"alpha": 0.02, "weight_on_dense": True}]),
        ("interpolation", 2, [{"alpha": 0.25}, {"alpha": 1.0}]),
        ("rrf", 3, [{"k": 0}, {"k": 60}]),
    ],
)
def test_values_are_those_of_the_fused_files(material, tmp_path, metric, rule, count, settings):
    paths, qrels_path = material
    paths, qrels = paths[:count], read_qrels(qrels_path)
    for depth, hits in ((None, 1000), (7, 9)):
        values = score_settings(paths, qrels, rule, settings, metric, depth=depth, hits=hits)
        assert values.shape == (12, len(settings) + count)
        for column, options in enumerate(settings):
            fuse_files(paths, tmp_path / "f.txt", rule, depth=depth, hits=hits, **options)
            expected = evaluate_run(qrels, tmp_path / "f.txt", [metric])[metric]
            assert values[:, column].tolist() == pytest.approx(list(expected.values()), abs=1e-12)
        assert values[:, 0].any() and not values[11].any()  # the topic without results counts 0
    whole = score_settings(paths, qrels, rule, settings, metric)
    for column, path in enumerate(paths, start=len(settings)):
        alone = evaluate_run(qrels, path, [metric])[metric]
        assert whole[:, column].tolist() == pytest.approx(list(alone.values()), abs=1e-12)


def test_the_file_the_plot_and_the_commands(material, tmp_path, capsys):
    (a, b, _), qrels = material
    output = tmp_path / "tuned.json"
    flags = ["--normalization", "min-max", "z-score", "--grid", "0:1:0.25", "--metric", "nDCG@5", "--depth", 20]
    assert tune("--runs", a, b, "--qrels", qrels, "--output", output, *flags) == 0
    out = capsys.readouterr().out
    tuned = json.loads(output.read_text())
    assert tuned["kind"] == "tuned-fusion" and tuned["metric"] == "ndcg_cut_5" and tuned["topics"] == 12
    tried = [(point["options"]["weights"], point["options"]["normalization"]) for point in tuned["curve"]]
    assert tried == [([w, 1 - w], n) for n in ("min-max", "z-score") for w in (0, 0.25, 0.5, 0.75, 1)]
    best = max(tuned["curve"], key=lambda point: point["mean"])
    assert tuned["best"]["mean"] == best["mean"]
    assert all(point["low"] <= point["mean"] <= point["high"] for point in [*tuned["curve"], *tuned["runs"]])
    assert (tmp_path / "tuned.png").read_bytes().startswith(b"\x89PNG")
    assert f"| **weights {' '.join(f'{w:g}' for w in tuned['options']['weights'])}, normalization" in out
    line = next(line for line in out.splitlines() if "--method linear" in line)
    written = {}
    for name, words in (("flags", line.split()), ("tuned", ["--runs", a, b, "--tuned", output, "--output", ""])):
        words = [str(word) for word in words[words.index("--runs") :]]
        words[-1] = str(tmp_path / f"{name}.trec")
        with pytest.raises(SystemExit) as stop:
            main(RUN, "pyserini_sdr.run", ["fuse", *words])
        assert stop.value.code == 0
        written[name] = (tmp_path / f"{name}.trec").read_bytes()
    assert written["flags"] == written["tuned"]
    value = evaluate_run(read_qrels(qrels), tmp_path / "tuned.trec", ["ndcg_cut_5"])["ndcg_cut_5"]
    assert sum(value.values()) / 12 == pytest.approx(tuned["best"]["mean"])


@pytest.mark.parametrize(
    ("flags", "stock"),
    [
        (("--rule", "rrf", "--grid", 60), "pyserini.fusion --runs A B --method rrf --rrf.k 60 --depth 1000"),
        (("--rule", "interpolation", "--grid", 0.25), "pyserini.fusion --runs A B --method interpolation --alpha 0.25"),
        (("--rule", "stock-hybrid", "--weight-on-dense", "--normalization", "min-max", "--grid", 2), None),
        (("--rule", "linear", "--grid", 0.5), None),
    ],
)
def test_rules_and_their_stock_commands(material, tmp_path, capsys, flags, stock):
    (a, b, _), qrels = material
    assert tune("--runs", a, b, "--qrels", qrels, "--output", tmp_path / "t.json", *flags) == 0
    out = capsys.readouterr().out.replace(str(a), "A").replace(str(b), "B")
    assert (stock in out) if stock else ("with stock" not in out)
    rule = flags[1]
    assert f"--method {rule} " in out and f"--rule {rule} " in out
    if rule == "stock-hybrid":
        assert "--alpha 2 --normalization min-max --weight-on-dense" in out


def test_three_runs_on_the_simplex(material, tmp_path, capsys):
    paths, qrels = material
    assert tune("--runs", *paths, "--qrels", qrels, "--output", tmp_path / "t.json") == 0
    curve = json.loads((tmp_path / "t.json").read_text())["curve"]
    weights = [tuple(point["options"]["weights"]) for point in curve]
    assert len(weights) == len(set(weights)) == 66
    assert all(sum(point) == pytest.approx(1, abs=1e-12) and min(point) >= 0 for point in weights)
    out = capsys.readouterr().out
    assert "the 45 best of 66 settings" in out and "search hybrid" not in out


def test_ties_go_to_the_setting_nearest_to_the_default(tmp_path):
    import numpy as np

    def best(rule, settings, means):
        values = np.array([[*means, 0.0, 0.0]] * 3)
        curve = summarise(values, [Path("a"), Path("b")], rule, settings, "map")
        return curve.best, curve.tied

    weights = [{"weights": [w, round(1 - w, 1)]} for w in (0.2, 0.4, 0.6, 0.9)]
    assert best("linear", weights, [0.5, 0.5, 0.5 + 1e-12, 0.4]) == (1, [0, 1, 2])  # .4 and .6 alike: the first
    assert best("linear", weights, [0.5, 0.4, 0.4, 0.5]) == (0, [0, 3])
    assert best("rrf", [{"k": k} for k in (0, 20, 100)], [0.5] * 3) == (2, [0, 1, 2])
    assert best("stock-hybrid", [{"alpha": a} for a in (0.0, 0.05, 1.0)], [0.5] * 3) == (1, [0, 1, 2])
    assert best("interpolation", [{"alpha": a} for a in (0.1, 0.7)], [0.5] * 2) == (1, [0, 1])


def test_files_of_a_test_split_are_refused(material, tmp_path, capsys):
    (a, b, _), qrels = material
    test = qrels.rename(tmp_path / "qrels.test.txt")
    argv = ["--runs", a, b, "--qrels", test, "--output", tmp_path / "t.json"]
    assert tune(*argv) == 2
    assert "qrels.test.txt: is of a test split" in capsys.readouterr().err
    assert not (tmp_path / "t.json").exists()
    assert tune(*argv, "--allow-test") == 0
    assert "warning" in capsys.readouterr().err
    run = a.rename(tmp_path / "a.nq-test.trec")
    assert tune("--runs", run, b, "--qrels", test.rename(qrels), "--output", tmp_path / "u.json") == 2


@pytest.mark.parametrize(
    ("name", "test"),
    [
        ("topics.test.tsv", True),
        ("qrels.dpr-nq-test.txt.gz", True),
        ("Test2.qrels", True),
        ("qrels.dev.txt", False),
        ("latest.trec", False),
        ("contest.txt", False),
    ],
)
def test_what_a_test_split_is_called(name, test):
    assert of_test_split(Path("a-test-folder", name)) is test


def test_dev_judgements_of_a_collection(tiny_collection, tmp_path, capsys):
    qrels = read_qrels(tiny_collection / "qrels.dev.txt")
    for name in "ab":
        with RunWriter(tmp_path / f"{name}.trec") as writer:
            for qid, judged in qrels.items():
                writer.write(qid, [*judged, "other"], [1.0] * len(judged) + [2.0 if name == "a" else 0.5])
    argv = ["--runs", tmp_path / "a.trec", tmp_path / "b.trec", "--collection", tiny_collection]
    assert tune(*argv, "--output", tmp_path / "t.json") == 0
    assert json.loads((tmp_path / "t.json").read_text())["topics"] == len(qrels)
    assert tune(*argv, "--output", tmp_path / "t.json", "--dev-split", "test") == 2
    assert tune(*argv, "--output", tmp_path / "t.json", "--dev-split", "devv") == 2
    assert "unknown split with qrels 'devv'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["0:1:0.1"], [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]),
        (["0.5", "0.1:0.35:0.1", "0.2"], [0.1, 0.2, 0.3, 0.5]),
        (["3:3:1"], [3]),
    ],
)
def test_grids(words, values):
    assert parse_grid(words) == values


@pytest.mark.parametrize("word", ["x", "1:2", "-1", "nan", "1:0:1", "0:1:0", "0:1:1e-9", "inf", "0:1:0.1:2", ""])
def test_grids_that_are_refused(word):
    with pytest.raises(UsageError, match=r"--grid"):
        parse_grid([word])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"runs": ["a"]}, "at least two"),
        ({"qrels": None}, "one of --qrels and --collection"),
        ({"collection": "c"}, "one of --qrels and --collection"),
        ({"dev_split": "dev"}, "needs --collection"),
        ({"rule": "interpolation", "runs": ["a", "b", "c"]}, "takes two runs, got 3"),
        ({"rule": "rrf", "normalization": ["min-max"]}, "not used by --rule rrf"),
        ({"weight_on_dense": True}, "not used by --rule linear"),
        ({"output": "t.png"}, "--output t.png: is where the plot goes"),
        ({"plot": "t.json"}, "--output t.json: is where the plot goes"),
        ({"grid": ["2"]}, "weights of linear sum to 1"),
        ({"rule": "stock-hybrid", "normalization": ["z-score"]}, "stock-hybrid knows none and min-max"),
        ({"runs": list("abcde"), "grid": ["0:1:0.01"]}, "take fewer"),
    ],
)
def test_misuse(flags, message):
    with pytest.raises(UsageError) as caught:
        TuneOptions(**{"runs": ["a", "b"], "output": "t.json", "qrels": "q", **flags}).settings()
    assert message in str(caught.value)


def test_runs_and_judgements_that_do_not_belong_together(material, tmp_path, capsys):
    (a, b, _), qrels = material
    with RunWriter(tmp_path / "other.trec") as writer:
        writer.write("x", ["001"], [1.0])
    argv = ["--qrels", qrels, "--output", tmp_path / "t.json"]
    assert tune("--runs", a, tmp_path / "other.trec", *argv) == 1
    assert "other.trec: no topic in common with the judgements" in capsys.readouterr().err
    judged = {qid: {"nowhere": 1} for qid in read_run(a)}
    write_qrels(tmp_path / "wrong.txt", judged)
    assert tune("--runs", a, b, "--qrels", tmp_path / "wrong.txt", "--output", tmp_path / "t.json") == 1
    assert "no document of these runs is judged" in capsys.readouterr().err
    assert tune("--runs", a, b, *argv, "--metric", "nDCG@0") == 2
    assert tune("--runs", a, b, "--qrels", qrels, "--output", tmp_path / "t.png") == 2
    assert not (tmp_path / "t.json").exists() and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(("best", "warned"), [(0, False), (1, True)])
def test_a_best_value_at_the_end_of_the_grid_is_told(capsys, best, warned):
    import numpy as np

    values = np.zeros((2, 4))
    values[:, best] = 0.5
    curve = summarise(values, [Path("a"), Path("b")], "rrf", [{"k": 5}, {"k": 10}], "map")
    _warn_of_the_edge(curve)
    assert ("the best k is the largest of the grid" in capsys.readouterr().err) is warned
