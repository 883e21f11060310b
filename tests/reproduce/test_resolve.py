"""From a matrix to exact commands: what is made once, and what is made for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.reproduce.definition import load_matrix, read_matrix
from pyserini_sdr.reproduce.resolve import resolve

from .conftest import MATRIX

GIVEN = ("data=C", "encoder=E")


def steps(matrix, *settings: str, **chosen):
    plan, _ = resolve(matrix, Path("O"), settings=settings, **chosen)
    return {step.folder.name: step for step in plan.steps}


def test_steps_are_shared_by_all_that_give_them_the_same_values(matrix_file: Path) -> None:
    found = steps(read_matrix(matrix_file), *GIVEN)
    assert list(found) == [
        *("start.tiny", "run.start.test", "run.start.dev", "groups.tiny", "checkpoint.tiny.distributed-margin"),
        *("index.tiny.distributed-margin", "run.trained.test", "run.trained.dev", "run.fused.test", "run.fused.dev"),
    ]
    numbers = {name: step.number for name, step in found.items()}
    assert found["groups.tiny"].uses == [numbers["start.tiny"]]
    assert found["run.fused.dev"].uses == [numbers["run.start.dev"], numbers["run.trained.dev"]]
    assert (
        " --collection C --encoder E --groups O/groups.tiny/groups.jsonl "
        in found["checkpoint.tiny.distributed-margin"].text
    )


def test_only_what_is_wanted_and_what_it_takes_is_there(matrix_file: Path) -> None:
    matrix = read_matrix(matrix_file)
    assert list(steps(matrix, *GIVEN, conditions=["start"], topics=["dev"])) == ["start.tiny", "run.start.dev"]
    plan, cells = resolve(matrix, Path("O"), settings=GIVEN, conditions=["fused"], topics=["test"])
    assert [cell.name for cell in cells] == ["fused.test"]
    assert cells[0].steps == [step.number for step in plan.steps]  # the runs that it fuses, too


def test_a_value_with_spaces_is_one_word(matrix_file: Path) -> None:
    words = steps(read_matrix(matrix_file), "data=a b", "encoder=E")["start.tiny"].argv
    assert words[words.index("--corpus") + 1] == "a b"


def test_topics_without_their_settings_are_left_out_unless_they_are_named() -> None:
    matrix = load_matrix("local")
    _, cells = resolve(matrix, Path("O"), settings=["cacm=C", "wiki_union=W"], conditions=["bm25"])
    assert [cell.topics.name for cell in cells] == ["cacm", "wiki-union.nq", "wiki-union.squad"]
    assert cells[1].topics_text == "W/topics.test.nq.tsv" and cells[1].corpus[0] == "W"
    with pytest.raises(UsageError, match=r"topics vaswani: give --set vaswani=…"):
        resolve(matrix, Path("O"), settings=["cacm=C"], topics=["cacm", "vaswani"])
    with pytest.raises(UsageError, match=r"matrix local: give --set scifact=… .*, or some of them"):
        resolve(matrix, Path("O"))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"conditions": ["strat"]}, "unknown condition 'strat'; did you mean 'start'"),
        ({"topics": ["tst"]}, "unknown topics 'tst'; did you mean 'test'?"),
        ({"settings": ["step=3"]}, "--set step=3: unknown setting of own 'step'; did you mean 'steps'?"),
        ({"settings": ["steps"]}, "--set steps: expected NAME=VALUE"),
    ],
)
def test_unknown_names_are_refused(chosen, message: str, matrix_file: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(read_matrix(matrix_file), Path("O"), **{"settings": GIVEN, **chosen})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("--index {index}", "--index {indx}", "condition trained on test: {indx}: unknown name 'indx'; did you mean"),
        ("{runs/start}", "{runs/strt}", "unknown name 'runs/strt'; did you mean 'runs/start'"),
        ("{runs/start}", "{runs/fused}", "run.fused.test needs itself: run.fused.test → run.fused.test"),
        ("groups: mine --collection {path}", "groups: mine --collection {checkpoint}", "needs itself"),
        ("search: run fuse", "search: run fues", "run.fused.test: unknown command 'run fues'; did you mean 'run fuse'"),
    ],
)
def test_what_a_matrix_names_wrongly_is_said(old: str, new: str, message: str, matrix_file: Path) -> None:
    assert old in MATRIX
    matrix_file.write_text(MATRIX.replace(old, new, 1), "utf-8")
    with pytest.raises(DataError) as caught:
        resolve(read_matrix(matrix_file), Path("O"), settings=GIVEN)
    assert message in str(caught.value)
