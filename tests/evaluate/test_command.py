from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import time

import pytest

from pyserini_sdr.core.command import main
from pyserini_sdr.evaluate.command import COMMAND
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
    assert evaluate(*argv) == 2
    assert "already exists and is not empty" in capsys.readouterr().err
    assert evaluate(*argv, "--overwrite") == 0


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["--metrics", "ndgc_cut_10"], 2, "unknown measure 'ndgc_cut_10'; did you mean 'ndcg_cut_10'"),
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
