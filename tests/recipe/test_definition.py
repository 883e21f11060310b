"""Recipes as data: what a file may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.recipe.definition import Repeat, Stage, catalogued, load_recipe
from pyserini_sdr.recipe.listing import listing
from pyserini_sdr.recipe.resolve import resolve

from ..conftest import ROOT

GOOD = """
summary: two stages
paper: none
settings: {rate: 0.5}
stages:
  - use: bm25
  - name: student
    do: train
    with: {groups: "{bm25}", learning-rate: "{rate}"}
result: student
"""


def write(path: Path, text: str) -> str:
    file = path / "mine.yaml"
    file.write_text(text, "utf-8")
    return str(file)


def test_a_users_file_is_a_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.name == "mine"
    first, second = recipe.stages
    assert isinstance(first, Stage) and isinstance(second, Stage)
    assert (first.name, first.command, first.flags) == ("bm25", "index bm25", {"input": "{collection}"})
    assert (second.name, second.command, second.line) == ("student", "train", 7)
    assert recipe.settings["rate"] == 0.5 and recipe.settings["seed"] == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("do: train", "do: trian", "mine.yaml:7: unknown command 'trian'; did you mean 'train'"),
        ("use: bm25", "use: bm52", "mine.yaml:6: use: unknown stage of base.yaml 'bm52'; did you mean 'bm25'"),
        ("result: student", "result: pupil", "mine.yaml: result: unknown stage that always makes a checkpoint 'pupil'"),
        ("name: student", "name: seed", "mine.yaml:7: stage: 'seed' cannot be the name of a stage"),
        ("name: student", "nam: student", "mine.yaml:7: stage: unknown key 'nam'; did you mean 'name'"),
        ("settings: {rate: 0.5}", "settings: [rate]", "mine.yaml: settings: expected a mapping"),
        ("settings: {rate: 0.5}", "settings: {here: 0.5}", "mine.yaml: settings: 'here' cannot be the name"),
        ("summary: two stages", "sumary: two stages", "mine.yaml: unknown key 'sumary'; did you mean 'summary'"),
        ("  - use: bm25\n", "  - bm25\n", "mine.yaml: stages: expected name, do and with, found 'bm25'"),
        ('with: {groups: "{bm25}", learning-rate: "{rate}"}', "with: [groups]", "mine.yaml:7: with: expected flags"),
        ("do: train", "do: [train]", "mine.yaml:7: unknown command \"['train']\""),
        ("use: bm25", "use: [bm25]", "mine.yaml:6: use: unknown stage of base.yaml"),
        ("do: train", "do: train\n    arguments: col", "mine.yaml:7: arguments: expected a list of texts, found 'col'"),
        ("paper: none", "needs: Java", "mine.yaml: needs: expected a list of texts, found 'Java'"),
        ("result: student", "result: bm25", "result: unknown stage that always makes a checkpoint 'bm25'"),
        ("settings: {rate: 0.5}", "settings: {do: 1}", "settings: 'do' cannot be the name"),
        ("paper: none", "defaults: {train: 5}", "mine.yaml: defaults: train: expected flags and values, found 5"),
        ("paper: none", "paper: [", "mine.yaml:5: invalid YAML"),
        ("do: train", "do: train\n    unless: teecher", "mine.yaml:7: unless: unknown setting 'teecher'"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(DataError) as caught:
        load_recipe(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)


def test_a_file_cannot_run_what_is_no_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown command 'os; rm'"):
        load_recipe(write(tmp_path, GOOD.replace("do: train", "do: os; rm")))
    with pytest.raises(DataError, match="could not determine a constructor"):
        load_recipe(write(tmp_path, "summary: !!python/object/apply:os.system [ls]\n"))


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown recipe 'hard-negative'; did you mean 'hard-negatives'"):
        load_recipe("hard-negative")


@pytest.mark.parametrize("name", catalogued())
def test_every_recipe_of_the_package_is_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.summary and recipe.paper
    plan = resolve(recipe, collection="C", encoder="E", output=Path("O"))
    assert plan.steps[-1].made.parent.parent == Path("O")
    used = " ".join(plan.steps[-1].argv)
    assert "{" not in used and "None" not in used


def test_the_list_tells_stages_needs_and_paper() -> None:
    text = listing(["ar2"])
    assert "iterations × (retrieved (mine), rival (teach --train), retriever (train))" in " ".join(text.split())
    assert "arXiv 2110.03611" in text and "Java" in text and "iterations=2" in text
    assert all(f"\n{name}: " in f"\n{listing()}" for name in catalogued())


def test_a_repeat_holds_stages_only(tmp_path: Path) -> None:
    recipe = load_recipe("hard-negatives")
    repeat = recipe.stages[-1]
    assert isinstance(repeat, Repeat) and [stage.name for stage in repeat.stages] == ["own-negatives", "student"]
    nested = GOOD.replace(
        "  - use: bm25\n", "  - repeat: 2\n    stages:\n      - repeat: 2\n        stages: [{use: bm25}]\n"
    )
    with pytest.raises(DataError, match=r"mine.yaml:6: a repeat holds stages"):
        load_recipe(write(tmp_path, nested))


@pytest.mark.parametrize("name", catalogued())
def test_every_recipe_has_a_measured_row_and_a_place_among_the_systems(name: str) -> None:
    assert f"| `{name}` |" in (ROOT / "docs/recipes.md").read_text("utf-8")
    assert f"recipe `{name}`" in (ROOT / "docs/systems.md").read_text("utf-8")
