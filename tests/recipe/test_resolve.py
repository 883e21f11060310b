"""From settings to exact commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.recipe.definition import load_recipe
from pyserini_sdr.recipe.resolve import Plan, resolve


def plan(name: str, *settings: str, **options) -> Plan:
    return resolve(load_recipe(name), collection="C", encoder="E", output=Path("O"), settings=settings, **options)


def value(words, flag: str) -> str:
    return words[words.index(flag) + 1]


def test_rounds_start_from_what_the_round_before_made() -> None:
    steps = plan("hard-negatives", "rounds=2").steps
    assert [step.folder.name for step in steps] == [
        *("01-bm25", "02-bm25-negatives", "03-student", "04-own-negatives", "05-student", "06-own-negatives"),
        "07-student",
    ]
    assert value(steps[3].argv, "--encoder") == "O/03-student/checkpoint"
    assert value(steps[5].argv, "--encoder") == "O/05-student/checkpoint"
    assert value(steps[5].argv, "--index") == "O/06-own-negatives/index"
    assert value(steps[6].argv, "--groups") == "O/06-own-negatives/groups.jsonl"
    assert steps[6].uses == [5, 6]
    assert value(steps[0].argv, "--index") == "O/01-bm25/index"


def test_a_setting_that_is_given_stands_for_its_stage() -> None:
    trained, given = plan("annealing"), plan("annealing", "ranker=published/ranker")
    assert [step.name for step in trained.steps if step.command == "teach --train"] == ["cross-encoder"]
    assert not [step for step in given.steps if step.command == "teach --train"]
    scored = next(step for step in given.steps if step.name == "scored")
    assert value(scored.argv, "--teacher") == "published/ranker"


def test_settings_and_flags_win_over_the_recipe() -> None:
    steps = plan(
        "annealing", "steps=7", "learning_rate=1e-4", "train.dropout=0", "student.negatives=3", "student.max-steps=5"
    ).steps
    annealed, student = [step for step in steps if step.command == "train"]
    assert value(annealed.argv, "--max-steps") == "7" and value(student.argv, "--max-steps") == "5"
    assert value(annealed.argv, "--learning-rate") == "1e-4"
    assert value(annealed.argv, "--dropout") == value(student.argv, "--dropout") == "0"
    assert value(student.argv, "--negatives") == "3" and value(annealed.argv, "--negatives") == "7"


def test_null_leaves_a_flag_out_and_true_is_a_flag_alone() -> None:
    assert "--max-steps" not in plan("annealing", "steps=null").steps[4].argv
    assert "--max-steps" not in plan("annealing", "steps=").steps[4].argv
    assert "--keep-scores" in plan("annealing", "bm25-negatives.keep-scores=true").steps[1].argv
    assert "--no-keep-scores" in plan("annealing", "mine.keep-scores=false").steps[1].argv


def test_groups_of_flags_stand_under_their_word() -> None:
    step = next(step for step in plan("r2anker").steps if step.command == "encode")
    words = list(step.argv)
    assert words[:4] == ["pyserini_sdr.encode", "input", "--corpus", "C/corpus"]
    output = words[words.index("output") : words.index("encoder")]
    assert output == ["output", "--embeddings", f"{step.folder}/index", "--to-faiss"]


def test_processes_go_to_what_can_be_distributed() -> None:
    steps = plan("annealing", processes=2).steps
    for step in steps:
        started = step.argv[:4] == ["torch.distributed.run", "--nproc-per-node", "2", "-m"]
        assert started == (step.command == "train")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stepps=3", "--set stepps=3: unknown setting of recipe hard-negatives 'stepps'; did you mean 'steps'"),
        ("ranker=x", "--set ranker=x: unknown setting of recipe hard-negatives 'ranker'"),
        ("student.output=x", "recipe hard-negatives, stage student: --output: is not for stages of a recipe"),
        ("train.config=x.yaml", "--config: is not for stages of a recipe"),
        ("train.overwrite=true", "--overwrite: is not for stages of a recipe"),
        ("train.outpu=x", "unknown flag of train 'outpu'"),
        ("loss=[infonce,--output=x]", "stage student: --output=x is a flag, not a value"),
        ("steps", "--set steps: expected NAME=VALUE"),
        ("trian.dropout=0", "--set trian.dropout=0: unknown command or stage 'trian'; did you mean 'train'"),
        ("rounds=0", "recipe hard-negatives: rounds must be a whole number from 1, not 0"),
        ("rounds=many", "rounds must be a whole number from 1, not 'many'"),
    ],
)
def test_wrong_settings_are_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan("hard-negatives", setting)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["010", "# doc", "on", "1:30"])
def test_texts_stay_as_they_are_written(text: str) -> None:
    assert value(plan("e5", f"query_prefix={text}").steps[2].argv, "--query-prefix") == text


def test_a_stage_that_is_left_out_takes_no_flags() -> None:
    with pytest.raises(UsageError, match=r"cross-encoder.…: the stage is left out, because ranker is given"):
        plan("annealing", "ranker=x", "cross-encoder.dropout=0")


def test_names_in_braces_are_filled_once() -> None:
    steps = resolve(load_recipe("annealing"), collection="c {seed} {x}", encoder="E", output=Path("O")).steps
    assert value(steps[0].argv, "--input") == "c {seed} {x}"


def test_a_ranker_in_a_folder_called_as_its_scores_is_a_path(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ranker").mkdir()
    words = plan("tas-b", "ranker=ranker").steps[-1].argv
    place = words.index("--teacher")
    assert words[place + 1 : place + 3] == ["ranker", "./ranker"]


def test_a_name_that_nothing_bears_is_refused_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "summary: s\npaper: p\nstages:\n  - name: student\n    do: train\n    with: {groups: '{negatives-2}'}\n"
        "result: student\n"
    )
    with pytest.raises(DataError, match=r"wrong.yaml:4: stage student: unknown name 'negatives-2'"):
        plan(str(file))
