"""Running, skipping, going on, comparing and showing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.reproduce import engine
from pyserini_sdr.reproduce.__main__ import COMMAND
from pyserini_sdr.trec.measures import score_run
from pyserini_sdr.trec.qrels import read_qrels

from .conftest import MATRIX, Runner


def scores(tmp_path: Path, cell: str) -> dict[str, float]:
    return json.loads((tmp_path / f"out/scores/{cell}.json").read_text("utf-8"))["scores"]


def test_a_matrix_is_run_once_and_measured_as_trec_eval_does(
    go, runner: Runner, tmp_path: Path, tiny_collection: Path, capsys
) -> None:
    assert go() == 0
    assert len(runner.ran) == 10
    for split in ("test", "dev"):
        qrels = read_qrels(tiny_collection / f"qrels.{split}.txt")
        for row in ("start", "trained", "fused"):
            run = tmp_path / f"out/run.{row}.{split}/run.trec"
            assert run.with_name("run.trec.json").exists()
            found = score_run(qrels, run, ["ndcg_cut_10", "map"])
            assert scores(tmp_path, f"{row}.{split}") == {
                "nDCG@10": found.mean("ndcg_cut_10"),
                "MAP": found.mean("map"),
            }
    told = capsys.readouterr().out
    assert "| condition | test nDCG@10 | test MAP | dev nDCG@10 | dev MAP |" in told and "12 of 12 scores" in told
    assert go() == 0 and len(runner.ran) == 10


def test_a_part_is_run_and_the_rest_stays_blank(go, runner: Runner, capsys) -> None:
    assert go(condition=["start"], topics=["dev"]) == 0
    assert len(runner.ran) == 2
    capsys.readouterr()
    assert go(display=True) == 0
    assert len(runner.ran) == 2
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()[2:5]]
    assert [row[:3] for row in rows] == [["start", "", ""], ["trained", "", ""], ["fused", "", ""]]
    assert re.fullmatch(r"0\.\d{4}", rows[0][3]) and rows[1][3] == ""
    assert go(condition=["fused"], topics=["dev"]) == 0
    assert len(runner.ran) == 2 + 5  # what was done of it is not done again, whatever else was wanted then


def test_a_failure_stops_and_the_same_command_goes_on(go, runner: Runner) -> None:
    assert go(condition=["start"], topics=["dev"]) == 0
    runner.status = 1
    with pytest.raises(SdrError, match=r"matrix own: stage .* \(3 of 7\) ended with status 1.*same command again"):
        go(condition=["fused"], topics=["dev"])
    runner.status = None
    done = len(runner.ran)
    assert go(condition=["fused"], topics=["dev"]) == 0
    assert len(runner.ran) == done + 5


def test_another_setting_is_refused_and_overwrite_makes_what_depends_on_it(go, runner: Runner) -> None:
    go(condition=["start"], topics=["test", "dev"])
    assert len(runner.ran) == 3
    with pytest.raises(DataError, match=r"run.start.test: its command was another \(--hits 10 before, --hits 5 now\)"):
        go("hits=5", condition=["start"])
    go("hits=5", condition=["start"], overwrite=True)
    assert len(runner.ran) == 5


def test_scores_of_a_run_that_was_made_otherwise_are_told_to_be_so(go, tmp_path: Path, capsys) -> None:
    chosen, page = {"condition": ["start"], "topics": ["dev"]}, tmp_path / "page.html"
    go(**chosen)
    go(display=True, html=page, **chosen)
    assert "made otherwise" not in capsys.readouterr().out + page.read_text("utf-8")
    go("hits=5", display=True, html=page, **chosen)
    why = "its command was another (--hits 10 before, --hits 5 now)"
    told = f"as it comes on dev: measured on a run that was made otherwise: {why}"
    assert f"- {told}" in capsys.readouterr().out and f"<li>{told}</li>" in page.read_text("utf-8")


def test_a_score_out_of_tolerance_is_status_1_and_another_corpus_is_no_verdict(
    go, matrix_file: Path, tmp_path: Path, capsys
) -> None:
    chosen = {"condition": ["start"], "topics": ["dev"]}
    assert go(**chosen) == 0
    measured = round(scores(tmp_path, "start.dev")["MAP"], 4)
    capsys.readouterr()
    for expected, status, shown in [
        (measured, 0, f"{measured:.4f} ✓"),
        (measured - 0.001, 0, f"{measured:.4f} ✓"),
        (measured - 0.0012, 1, f"{measured:.4f} +0.0012"),
    ]:
        matrix_file.write_text(MATRIX.replace("0.001\n", f"0.001\n    expected: {{dev: {{MAP: {expected:.4f}}}}}\n"))
        assert go(display=True, **chosen) == status
        told = capsys.readouterr().out
        assert shown in told and f"{status} out of tolerance" in told
    text = matrix_file.read_text("utf-8")
    matrix_file.write_text(text.replace('{path: "{data}"}', '{path: "{data}", corpus: "0000…"}'), "utf-8")
    assert go(display=True, **chosen) == 0
    told = capsys.readouterr().out
    assert f"{measured:.4f} ~ +0.0012" in told and "~: dev: the corpus is another" in told


def test_a_run_that_was_made_again_is_measured_again(go, tmp_path: Path) -> None:
    chosen = {"condition": ["start"], "topics": ["dev"], "display": True}
    go(**{**chosen, "display": False})
    before = scores(tmp_path, "start.dev")
    run = tmp_path / "out/run.start.dev/run.trec"
    run.write_text(run.read_text().replace(" 1 ", " 1 ", 1).rpartition("\n")[0].rpartition("\n")[0] + "\n")
    first = run.read_text().split()[0]
    run.write_text("".join(line + "\n" for line in run.read_text().splitlines() if line.split()[0] == first))
    go(**chosen)
    assert scores(tmp_path, "start.dev") != before


def test_the_page_has_scores_and_commands_and_nothing_of_it_is_markup(go, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    go(condition=["start", "trained"], topics=["dev"], html=page)
    text = page.read_text("utf-8")
    assert "&lt;b&gt;tiny&lt;/b&gt;" in text and "&lt;i&gt;two&lt;/i&gt;" in text and "measured &amp; kept" in text
    assert "<b>" not in text and "<i>" not in text and "http" not in text.replace("http-equiv", "")
    assert f"{scores(tmp_path, 'start.dev')['MAP']:.4f}" in text
    assert text.count("<details>") == 2
    assert re.search(
        r"python -m pyserini_sdr.anserini pyserini.eval.trec_eval -c -m ndcg_cut.10 -m map \S+qrels.dev", text
    )


def test_a_dry_run_prints_what_can_be_pasted(go, runner: Runner, tmp_path: Path, capsys) -> None:
    assert go(condition=["fused"], topics=["dev"], dry_run=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not runner.ran and not (tmp_path / "out").exists()
    assert lines[-2] == "# 7 of 7: fused on dev"
    out = tmp_path / "out"
    assert lines[-1] == (
        f"python -m pyserini_sdr.run fuse --runs {out}/run.start.dev/run.trec {out}/run.trained.dev/run.trec "
        f"--method rrf --output {out}/run.fused.dev/run.trec"
    )


def test_a_command_that_its_module_refuses_is_refused_before_anything_runs(go, runner, matrix_file: Path) -> None:
    matrix_file.write_text(MATRIX.replace("--method rrf", "--method rff"), "utf-8")
    with pytest.raises(UsageError, match=r"matrix own, stage fused on test: argument --method: invalid choice: 'rff'"):
        go()
    assert not runner.ran


STOCK = """
topics: {test: {topics: "x/t.tsv", qrels: "%s", measures: {R@10: recall_10}}}
conditions:
  stock: {search: "anserini pyserini.search.%s --index i --topics t.tsv --output {made}"}
"""


@pytest.fixture
def stock(matrix_file: Path, tiny_collection: Path, go, monkeypatch, runner: Runner):
    """A run of stock Pyserini that leaves `text`."""
    monkeypatch.setattr(engine, "find_java", lambda: None)

    def run(text: str | None, module: str = "faiss") -> int:
        matrix_file.write_text(STOCK % (tiny_collection / "qrels.dev.txt", module), "utf-8")

        def execute(words) -> int:
            runner.ran.append(list(words))
            if text is not None:
                Path(words[-1]).write_text(text, "utf-8")
            return 0

        monkeypatch.setattr(Runner, "__call__", lambda self, words: execute(words))
        return go(set=None, display=False)

    return run


def test_runs_of_stock_pyserini_get_a_manifest(stock, runner, tmp_path: Path, tiny_collection: Path) -> None:
    qid, _, docid, _ = (tiny_collection / "qrels.dev.txt").read_text("utf-8").split()[:4]
    for _ in range(2):
        assert stock(f"{qid} Q0 {docid} 1 1.0 x\n") == 0
    assert len(runner.ran) == 1
    assert json.loads((tmp_path / "out/run.stock.test/run.trec.json").read_text("utf-8"))["kind"] == "run"
    assert scores(tmp_path, "stock.test")["R@10"] == pytest.approx(1 / 12)


@pytest.mark.parametrize("text", [None, ""])
def test_stock_pyserini_that_ends_well_without_a_run_is_a_failure(stock, text, tmp_path: Path) -> None:
    with pytest.raises(SdrError, match=r"stock on test: stock Pyserini made no run, see above; repeat with: python -m"):
        stock(text)
    assert not (tmp_path / "out/run.stock.test/run.trec.json").exists()


def test_an_unknown_stock_module_is_refused_first(stock, runner: Runner) -> None:
    with pytest.raises(UsageError, match=r"unknown Pyserini module 'pyserini.search.fais'; did you mean"):
        stock(None, module="fais")
    assert not runner.ran


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "NAME is required, one of --list, or --file"),
        (["pydocs", "--file", "x.yaml"], "--file x.yaml: is given in place of pydocs, not beside it"),
        (["pydocs", "--dry-run", "--html", "x.html"], "--dry-run prints commands and stops, so that --html"),
        (["pydocs", "--dry-run", "--display"], "--dry-run prints commands and stops, so that --display"),
        (["pydcs"], "unknown matrix 'pydcs'; did you mean 'pydocs'"),
    ],
)
def test_what_cannot_be_meant_is_refused(argv, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        COMMAND.execute("reproduce", argv)
    assert message in str(caught.value)


def test_the_list_is_a_flag(capsys) -> None:
    assert COMMAND.execute("reproduce", ["--list"]) == 0
    assert "pydocs: the quickstart's comparison" in capsys.readouterr().out
    assert COMMAND.execute("reproduce", ["--list", "pydocs"]) == 0
    assert "hybrid      BM25 and distributed-margin, fused" in capsys.readouterr().out
