"""The matrices of the package: their numbers are the published ones, and every command can be given."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.core.options import Parser, parse
from pyserini_sdr.recipe.definition import load_recipe
from pyserini_sdr.recipe.options import RecipeOptions
from pyserini_sdr.recipe.resolve import resolve as resolve_recipe
from pyserini_sdr.recipe.running import check_steps
from pyserini_sdr.reproduce.definition import Matrix, catalogued, load_matrix
from pyserini_sdr.reproduce.resolve import STOCK, resolve

from ..conftest import ROOT

MSMARCO = """
bm25-default            .1840 .8526 .5058 .3013 .7501 .4796 .2856 .7863
bm25-tuned              .1875 .8573 .4973 .2903 .7450 .4876 .2876 .8031
ance                    .3301 .9587 .6452 .3710 .7554 .6458 .4076 .7764
distilbert-kd           .3251 .9553 .6994 .4053 .7653 .6447 .4159 .7953
tas-b                   .3444 .9771 .7210 .4590 .8406 .6854 .4698 .8727
sbert                   .3314 .9558 .6930 .4060 .7872 .6344 .4124 .7937
tct-colbert-v2-hnp      .3584 .9695 .7204 .4469 .8261 .6882 .4754 .8429
tct-colbert-v2-hnp-bm25 .3683 .9707 .7320 .4697 .8802 .7016 .4859 .8898
cosdpr-distil           .3896 .9796 .7250 .4656 .8201 .7025 .4876 .8533
bge-base-en-v1.5        .3583 .9811 .7016 .4485 .8427 .6768 .4628 .8547
"""
"""MRR@10 and R@1K on dev, then nDCG@10, MAP and R@1K on DL 2019 and 2020 (castorini/pyserini, 2cr)."""

BEIR = """
bm25-flat          .6789 .9253 .3218 .2457 .2361 .5395 .3970 .9324 .5947 .1091
bm25-multifield    .6647 .9076 .3254 .2500 .2361 .5395 .4142 .9431 .6559 .1141
contriever-msmarco .6768 .9470 .3281 .3008 .3293 .6558 .4461 .9765 .5964 .0907
bge-base-en-v1.5   .7408 .9667 .3735 .3368 .4065 .7415 .6362 .9915 .7815 .1406
"""
"""nDCG@10 and R@100 on scifact, nfcorpus, fiqa, arguana and trec-covid (castorini/pyserini, 2cr)."""


def expected(matrix: Matrix) -> dict[str, list[float]]:
    """Condition → its expected scores, in the order of topics and their measures."""
    return {
        name: [row.expected[topics][label] for topics, one in matrix.topics.items() for label in one.measures]
        for name, row in matrix.conditions.items()
        if row.expected
    }


@pytest.mark.parametrize(("name", "table"), [("msmarco-v1-passage", MSMARCO), ("beir", BEIR)])
def test_expected_scores_are_the_published_ones(name: str, table: str) -> None:
    rows = (line.split() for line in table.strip().splitlines())
    assert expected(load_matrix(name)) == {first: [float(value) for value in rest] for first, *rest in rows}


def test_expected_scores_of_pydocs_are_those_measured() -> None:
    """By the quickstart; what that does not train, by the matrix itself."""
    labels = {"nDCG@10": "ndcg_cut_10", "MRR@10": "recip_rank_cut_10", "R@100": "recall_100"}
    measured: dict[tuple[str, str], str] = {}
    for path in ("runs/reproduce/pydocs.csv", "runs/pydocs/table.csv"):
        with (ROOT / path).open(encoding="utf-8", newline="") as handle:
            measured |= {(row["run"], row["metric"]): f"{float(row['value']):.4f}" for row in csv.DictReader(handle)}
    matrix = load_matrix("pydocs")
    rows = {name: row.expected["test"] for name, row in matrix.conditions.items() if row.expected}
    assert set(rows) == {run for run, _ in measured}
    for name, scores in rows.items():
        assert {key: f"{value:.4f}" for key, value in scores.items()} == {
            label: measured[name, metric] for label, metric in labels.items()
        }
    corpus = matrix.collections["pydocs"]["corpus"]
    assert f"SHA-256 `{corpus}`" in (ROOT / "runs/README.md").read_text("utf-8")


def test_expected_scores_of_local_collections_are_those_measured_elsewhere() -> None:
    rows = load_matrix("local").conditions
    assert rows["bm25"].expected["scifact"] == load_matrix("beir").conditions["bm25-flat"].expected["scifact"]
    with (ROOT / "runs/wiki-union-nq/table.csv").open(encoding="utf-8", newline="") as handle:
        measured = {(row["run"], row["metric"]): round(float(row["value"]), 4) for row in csv.DictReader(handle)}
    for name, run in (("bm25", "bm25"), ("minilm", "untrained")):
        scores = {"nDCG@10": measured[run, "ndcg_cut_10"], "R@100": measured[run, "recall_100"]}
        assert rows[name].expected["wiki-union.nq"] == scores


def test_measures_are_trec_evals_with_the_grades_of_the_tracks() -> None:
    topics = load_matrix("msmarco-v1-passage").topics
    found = {name: {key: (one.name, one.level) for key, one in of.measures.items()} for name, of in topics.items()}
    track = {"nDCG@10": ("ndcg_cut_10", 1), "MAP": ("map", 2), "R@1K": ("recall_1000", 2)}
    dev = {"MRR@10": ("recip_rank_cut_10", 1), "R@1K": ("recall_1000", 1)}
    assert found == {"dev": dev, "dl19": track, "dl20": track}


def resolved(name: str):
    """All steps and cells of a matrix, with some value for the settings that have none."""
    matrix = load_matrix(name)
    given = [f"{key}=collections/{key}" for key, value in matrix.settings.items() if value is None]
    return matrix, *resolve(matrix, Path("O"), settings=given)


@pytest.mark.parametrize("name", catalogued())
def test_every_command_is_one_that_its_module_takes(name: str) -> None:
    matrix, plan, cells = resolved(name)
    assert len(cells) == len(matrix.conditions) * len(matrix.topics)
    assert not [word for step in plan.steps for word in step.argv if re.search(r"[{}]", word)]
    check_steps(name, [step for step in plan.steps if step.command != STOCK])


@pytest.mark.parametrize("name", catalogued())
def test_folders_are_those_of_one_step_each(name: str) -> None:
    _, plan, _ = resolved(name)
    folders = [step.folder for step in plan.steps]
    assert len(set(folders)) == len(folders) and all(folder.parent == Path("O") for folder in folders)
    assert all(number < step.number for step in plan.steps for number in step.uses)


def test_the_papers_grid_is_there() -> None:
    matrix, plan, _ = resolved("msmarco-v1-passage")
    trained = [step for step in plan.steps if step.command == "recipe"]
    assert len(trained) == 9 and {step.argv[1] for step in trained} == {"arm-paper"}
    static = next(step for step in trained if "static-margin" in step.folder.name)
    assert "student.loss-option=[static-margin.layout=column, static-margin.margin=0.2]" in static.argv
    assert matrix.conditions["roberta-static-margin"].values["model"] == "FacebookAI/roberta-base"
    for step in trained:  # what the recipe makes of these words, too
        options, _ = parse(Parser(), RecipeOptions, step.argv[1:])
        chosen = load_recipe(options.name)
        given = {"collection": options.collection, "encoder": options.encoder, "settings": options.set}
        inner = resolve_recipe(chosen, output=options.output, processes=options.processes, **given)
        check_steps(step.name, inner.steps)
        assert step.made == options.output / "checkpoint"


PARSE = """
import json, runpy, sys
from pyserini_sdr.anserini import compat, jvm
jvm.start()
import pyserini.query_iterator as queries
given = json.load(sys.stdin)
class Parsed(Exception): pass
def parsed(topics, *rest):
    raise Parsed(topics)
queries.get_query_iterator = parsed  # what every search asks for once its arguments are read
for words in given["commands"]:
    sys.argv = [words[0], *words[1:]]
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except Parsed as topics:
        assert str(topics) in words, topics
    else:
        raise AssertionError(words)
assert set(given["topics"]) <= set(compat.topic_names()), given["topics"]
assert set(given["topics"]) <= set(compat.qrels_names()), given["topics"]
print(json.dumps({name: compat.prebuilt_index(name).bytes for name in given["indexes"]}))
"""


def test_stock_commands_names_and_sizes_are_those_of_the_installed_pyserini(stock_tables) -> None:
    given = {"commands": [], "topics": [], "indexes": []}
    sizes = {}
    for name in ("msmarco-v1-passage", "beir", "pydocs"):
        matrix, plan, cells = resolved(name)
        given["commands"] += [list(step.argv[1:]) for step in plan.steps if step.command == STOCK]
        given["topics"] += [text for cell in cells for text in (cell.topics_text, cell.qrels) if "/" not in text]
        named = {download for cell in cells for download in cell.downloads if download.startswith("index:")}
        given["indexes"] += sorted(download.partition(":")[2] for download in named)
        sizes |= {name.partition(":")[2]: size for name, size in matrix.sizes.items() if name.startswith("index:")}
    assert len(given["commands"]) == 30 + 20 + 1
    done = subprocess.run([sys.executable, "-c", PARSE], input=json.dumps(given), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == sizes


def test_the_files_are_installed_with_the_package() -> None:
    text = (ROOT / "setup.cfg").read_text("utf-8")
    package = re.search(r"pyserini_sdr\.reproduce =((?:\n    .+)+)", text)
    assert package and package[1].split() == ["catalog/*.yaml", "*.html"]
