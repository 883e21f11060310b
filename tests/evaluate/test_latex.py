from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from pyserini_sdr.evaluate.engine import evaluate_runs
from pyserini_sdr.evaluate.latex import escape, latex

NASTY = r"50%_of $x$ & {#1}~a^b\c <script>|\"q\""


@pytest.fixture(scope="module")
def evaluation(files):
    runs = {"bm25": files / "bm25.txt", NASTY: files / "tuned.txt", "two": [files / "base.txt", files / "tuned.txt"]}
    return evaluate_runs(files / "qrels.txt", runs, metrics=["nDCG@10", "AP(rel=2)"], equivalence_margin=0.02)


def rows(text: str, label: str) -> list[list[str]]:
    """Cells of a table's body."""
    body = text.partition(f"\\label{{tab:{label}}}")[2].partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    return [re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in body.splitlines()]


def test_means_with_best_marks_and_spread(evaluation):
    text = latex(evaluation)
    bm25, nasty, two = rows(text, "means")
    means = {run.name: run.means["ndcg_cut_10"] for run in evaluation.runs}
    assert bm25[:2] == ["bm25", f"{means['bm25']:.4f}"]
    assert nasty[0] == escape(NASTY)
    assert nasty[1] == rf"\textbf{{{means[NASTY]:.4f}}}\textsuperscript{{a}}"
    sd = evaluation.run("two").spread["ndcg_cut_10"].sd
    assert two[1] == rf"{means['two']:.4f}\textsuperscript{{a}} $\pm$ {sd:.4f}"
    assert "Run & nDCG@10 & AP(rel=2) \\\\" in text
    assert len(rows(text, "seeds")) == 2
    assert len(rows(text, "comparisons")) == len(rows(text, "equivalence")) == 4
    found = evaluation.comparisons[0].equivalence
    low, high = found.interval
    assert f"[${low:+.4f}$, ${high:+.4f}$]" in rows(text, "equivalence")[0][3]
    assert r"p (\textgreater{} $-0.02$) & p (\textless{} $+0.02$)" in text
    for label in ("means", "seeds", "comparisons", "equivalence"):
        (columns,) = re.findall(rf"label{{tab:{label}}}\n\\begin{{tabular}}{{(\w+)}}", text)
        assert {len(row) for row in rows(text, label)} == {len(columns)}


def test_losses_have_an_arrow_and_a_single_run_no_marks(files):
    worse = evaluate_runs(
        files / "qrels.txt", {"tuned": files / "tuned.txt", "bm25": files / "bm25.txt"}, metrics=["AP"]
    )
    assert r"\textsuperscript{$\downarrow$\,a}" in latex(worse)
    alone = latex(evaluate_runs(files / "qrels.txt", {"a": files / "tuned.txt"}, metrics=["AP"]))
    assert not re.search(r"textbf|textsuperscript|tab:comparisons|tab:seeds|tab:equivalence", alone)


def test_names_are_escaped_and_comments_stay_comments(files):
    text = latex(evaluate_runs(files / "qrels.txt", {"a\n\\input{x}": files / "tuned.txt"}, metrics=["AP"]))
    body = "".join(line for line in text.splitlines() if not line.startswith("%"))
    assert r"\input" not in body
    assert r"a \textbackslash{}input\{x\}" in body


def test_it_compiles(evaluation, tmp_path):
    if not shutil.which("pdflatex"):
        pytest.skip("no LaTeX here")
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}%s\end{document}"
    (tmp_path / "page.tex").write_text(page % f"\n{latex(evaluation)}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
