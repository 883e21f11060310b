from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from dataclasses import asdict

import pandas as pd
import pytest

from pyserini_sdr.core.command import main
from pyserini_sdr.evaluate.command import COMMAND
from pyserini_sdr.evaluate.engine import evaluate_runs
from pyserini_sdr.trec.measures import evaluate_run
from pyserini_sdr.trec.qrels import read_qrels


def evaluate(*argv) -> int:
    with pytest.raises(SystemExit) as exit:
        main(COMMAND, "pyserini_sdr.evaluate", [str(a) for a in argv])
    return exit.value.code


@pytest.fixture
def common(files):
    return ["--qrels", files / "qrels.txt", "--runs", *(files / f"{n}.txt" for n in ("bm25", "base", "tuned"))]


def test_markdown_on_standard_output(common, capsys):
    assert (
        evaluate(*common, "--baseline", "bm25", "base", "--metrics", "nDCG@10", "R@5", "--names", "a|b", "base", "t")
        == 2
    )
    assert "unknown baseline 'bm25'" in capsys.readouterr().err
    assert evaluate(*common, "--baseline", "bm25", "base", "--metrics", "nDCG@10", "R@5") == 0
    out = capsys.readouterr().out
    header, rule, *rows = out.splitlines()
    assert header.replace(" ", "") == "|run|ndcg_cut_10|recall_5|topics|missing|"
    assert set(rule) == {"|", "-"}
    assert [row.split("|")[1].strip() for row in rows[:3]] == ["bm25", "base", "tuned"]
    assert "+a +b" in rows[2]
    assert "Holm's correction over the 3 comparisons of each metric" in out
    assert "Baselines: a = bm25, b = base" in out


def test_names_with_bars_do_not_break_the_table(files, capsys):
    assert evaluate("--qrels", files / "qrels.txt", "--runs", files / "bm25.txt", "--names", "a|b") == 0
    assert "| a\\|b |" in capsys.readouterr().out


def test_names_are_no_html_in_markdown(files, capsys):
    names = ["a", "<script>x</script>"]
    runs = [files / "bm25.txt", files / "tuned.txt"]
    assert evaluate("--qrels", files / "qrels.txt", "--runs", *runs, "--names", *names) == 0
    out = capsys.readouterr().out
    assert "\\<script>x\\</script>" in out
    assert not re.search(r"(?<!\\)<script", out)


def test_csv_has_all_rows_then_topics(common, files, capsys):
    assert evaluate(*common, "--metrics", "map", "--format", "csv", "--per-query", "--correction", "none") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    overall = {row["run"]: row for row in rows if row["topic"] == "all"}
    assert list(overall) == ["bm25", "base", "tuned"]
    assert overall["bm25"]["baseline"] == ""
    assert overall["base"]["baseline"] == "bm25"
    assert overall["base"]["p"] == overall["base"]["p_corrected"]
    values = evaluate_run(read_qrels(files / "qrels.txt"), files / "tuned.txt", ["map"])["map"]
    assert {r["topic"]: float(r["value"]) for r in rows if r["run"] == "tuned" and r["topic"] != "all"} == values
    assert float(overall["tuned"]["value"]) == pytest.approx(sum(values.values()) / 60)


def test_json(common, capsys):
    assert evaluate(*common, "--metrics", "map", "--format", "json") == 0
    value = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in value["runs"]] == ["bm25", "base", "tuned"]
    assert "values" not in value["runs"][0]
    assert value["comparisons"][0]["baseline"] == "bm25"


def test_output_directory(common, files, tmp_path, capsys):
    output = tmp_path / "evaluation"
    argv = [*common, "--metrics", "map", "--topics", files / "topics.tsv", "--output", output, "--per-query"]
    assert evaluate(*argv) == 0
    assert sorted(p.name for p in output.iterdir()) == [
        *("per_query.csv", "report.html", "results.json", "table.csv", "table.md", "table.tex")
    ]
    assert (output / "table.md").read_text() == capsys.readouterr().out
    results = json.loads((output / "results.json").read_text())
    assert results["kind"] == "evaluation"
    assert len(results["inputs"]) == 5
    assert len(results["results"]["runs"][0]["values"]["map"]) == 60
    assert evaluate(*argv) == 1
    assert "already exists and is not empty" in capsys.readouterr().err
    assert evaluate(*argv, "--overwrite") == 0


def test_per_query_file(common, files, tmp_path, capsys):
    output = tmp_path / "out"
    seeds = f"two={files / 'base.txt'},{files / 'tuned.txt'}"
    assert evaluate(*common, "--seeds", seeds, "--metrics", "AP", "RR@5", "--output", output) == 0
    table = pd.read_csv(output / "per_query.csv", dtype={"run": str, "topic": str})
    assert list(table.columns) == ["run", "seed", "metric", "topic", "value"]
    assert len(table) == (4 + 2) * 2 * 60
    qrels = read_qrels(files / "qrels.txt")
    averages = table[table.seed.isna() & (table.metric == "map")].pivot(index="topic", columns="run", values="value")
    for name in ("bm25", "base", "tuned"):
        assert averages[name].to_dict() == evaluate_run(qrels, files / f"{name}.txt", ["map"])["map"]
    assert averages["two"].to_list() == pytest.approx(((averages["base"] + averages["tuned"]) / 2).to_list())
    second = table[(table.run == "two") & (table.seed == 2) & (table.metric == "map")]
    assert dict(zip(second.topic, second.value, strict=True)) == averages["tuned"].to_dict()
    capsys.readouterr()


@pytest.mark.parametrize("format", ["markdown", "csv", "json", "latex"])
def test_seeds_and_equivalence_in_every_format(files, capsys, format):
    words = [
        f"ours={files / 'base.txt'}",
        f"ours={files / 'tuned.txt'}",
    ]  # as a shell expands ours=DIR/{base,tuned}.txt
    argv = ["--qrels", files / "qrels.txt", "--runs", files / "bm25.txt", "--seeds", *words, "--metrics", "AP"]
    assert evaluate(*argv, "--equivalence-margin", "0.9", "--format", format) == 0
    out = capsys.readouterr().out
    expected = evaluate_runs(
        files / "qrels.txt",
        {"bm25": files / "bm25.txt", "ours": [files / "base.txt", files / "tuned.txt"]},
        metrics=["map"],
        equivalence_margin=0.9,
    )
    spread = expected.run("ours").spread["map"]
    if format == "json":
        value = json.loads(out)
        assert value["runs"][1]["spread"]["map"] == asdict(spread)
        assert value["runs"][1]["seeds"][0].keys() == {"path", "counts", "means"}
        assert value["comparisons"][0]["verdict"] == "equivalent within ±0.9"
        assert value["family"] == [["ours", "bm25"]]
        assert value["trec_eval"] == expected.trec_eval()
    elif format == "csv":
        bm25, ours = csv.DictReader(io.StringIO(out))
        assert (bm25["seeds"], bm25["seeds_sd"], bm25["equivalence"]) == ("1", "", "")
        assert ours["seeds"] == "2"
        found = tuple(float(ours[f"seeds_{name}"]) for name in ("sd", "min", "max"))
        assert found == (spread.sd, spread.min, spread.max)
        assert ours["equivalence"] == "equivalent within ±0.9"
        assert float(ours["equivalence_p_corrected"]) == expected.comparisons[0].equivalence_p_corrected
    else:
        for number in (spread.sd, spread.min, spread.max):
            assert f"{number:.4f}" in out
        assert ("equivalent within $\\pm$0.9" if format == "latex" else "| equivalent within ±0.9 |") in out
        assert "ours against bm25" in out


@pytest.mark.parametrize("format", ["markdown", "csv", "json", "latex"])
def test_presets_print_their_commands(common, files, capsys, format):
    assert evaluate(*common, "--preset", "dl20", "--metrics", "Judged@10", "--format", format) == 0
    said = capsys.readouterr()
    told = said.err if format == "csv" else said.out
    assert f"python -m pyserini.eval.trec_eval -c -m ndcg_cut.10 {files / 'qrels.txt'} RUN" in told
    assert "-c -l 2 -m map -m recall.1000 -m recip_rank" in told
    assert "TREC 2020 Deep Learning track" in told
    assert ("Judged@10" if format == "latex" else "judged_10") in said.out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--runs or --seeds is required"),
        (["--seeds", "a"], "--seeds a: expected NAME=RUN,RUN,..."),
        (["--seeds", "a=x,"], "--seeds a=x,: expected NAME=RUN,RUN,..."),
        (["--seeds", "=x"], "expected NAME=RUN,RUN,..."),
        (["--runs", "a.txt", "--seeds", "a=x,y"], "'a' is the name of a run too"),
        (["--runs", "x/a.txt", "x/a.txt"], "or --seeds if they are seeds of one system"),
        (["--runs", "a.txt", "--equivalence-margin", "0"], "--equivalence-margin 0.0: must be above 0"),
        (["--runs", "a.txt", "--preset", "dl19", "--relevance-level", "2"], "preset dl19 fixes its relevance levels"),
    ],
)
def test_misuse_of_seeds_margin_and_preset(files, capsys, argv, message):
    assert evaluate("--qrels", files / "qrels.txt", *argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["--metrics", "ndgc_cut_10"], 2, "unknown measure 'ndgc_cut_10'; did you mean 'ndcg_cut_10'"),
        (["--metrics", "nDCG(rel=2)@10"], 2, "nDCG@10 has no relevance level"),
        (["--seeds", "a=none.txt,other.txt"], 1, "none.txt: no such run file"),
        (["--metrics", "P_0"], 2, "cut-off must be at least 1"),
        (["--names", "a"], 2, "1 names for 3 runs"),
        (["--correction", "fdr"], 2, "invalid choice"),
        (["--topics", "none.tsv"], 1, "none.tsv: no such topics file"),
    ],
)
def test_misuse(common, tmp_path, capsys, argv, status, message):
    assert evaluate(*common, *argv, "--output", tmp_path / "out") == status
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_bad_runs_are_named(files, tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text("000 Q0 d01 1 nan t\n")
    assert evaluate("--qrels", files / "qrels.txt", "--runs", path) == 1
    assert f"{path}:1: score 'nan'" in capsys.readouterr().err
    path.write_text("0 Q0 d01 1 2 t\n")
    assert evaluate("--qrels", files / "qrels.txt", "--runs", path) == 1
    assert f"{path}: no topic in common with the qrels (run: '0', qrels: '000')" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["evaluate", "run"])
def test_help_is_light(module):
    program = (
        "import sys, runpy; sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module('pyserini_sdr.{module}', run_name='__main__')\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'scipy', 'faiss', 'jnius', 'pytrec_eval', 'jinja2'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout
    assert time.perf_counter() - start < 10
