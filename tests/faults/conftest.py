"""Commands run in this process as `python -m` runs them, on damaged copies of healthy material."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

from pyserini_sdr.core.command import main

from .material import Damage, make_material


@dataclass(frozen=True)
class Case:
    """A command on damaged material, and what it has to say.

    Args:
        name: of the case.
        line: what is typed after `python -m pyserini_sdr.`.
        says: what the message must match: the place and the problem.
        damage: done to the material before.
        status: exit status, 2 for usage and 1 for data.
        leaves: files that it may leave: what it found out for the next attempt.
    """

    name: str
    line: str
    says: str
    damage: Damage | None = None
    status: int = 1
    leaves: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit status, messages that begin with `error:`, all of standard error."""

    status: int
    errors: list[str]
    stderr: str


Run = Callable[[str], Outcome]


@pytest.fixture(scope="session")
def material(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `make_material`; do not write into it."""
    folder, before = tmp_path_factory.mktemp("material"), Path.cwd()
    os.chdir(folder)
    try:
        return make_material(folder, tiny_encoder)
    finally:
        os.chdir(before)


@pytest.fixture
def place(material: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: a copy of the material of one's own."""
    shutil.copytree(material, tmp_path / "m")
    monkeypatch.chdir(tmp_path / "m")
    return tmp_path / "m"


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs `python -m pyserini_sdr.LINE` here; an error that is not put into words is raised."""

    def runs(line: str) -> Outcome:
        name, *words = shlex.split(line)
        command = import_module(f"pyserini_sdr.{name}.__main__").COMMAND
        handler = signal.getsignal(signal.SIGTERM)
        capfd.readouterr()
        try:
            with pytest.raises(SystemExit) as stopped:
                main(command, f"pyserini_sdr.{name}", words)
        finally:
            signal.signal(signal.SIGTERM, handler)
        text = capfd.readouterr().err
        errors = [part for part in re.split(r"[\n\r]", text) if part.startswith("error: ")]
        return Outcome(int(stopped.value.code or 0), errors, text)

    return runs


def files_in(folder: Path) -> dict[str, tuple[int, int]]:
    """Name → size and time of change of everything below a folder."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            facts = path.stat()
            found[str(path.relative_to(folder))] = (facts.st_size if path.is_file() else -1, facts.st_mtime_ns)
    return found


def refuses(case: Case, place: Path, run: Run) -> None:
    """The command says in one line what is wrong, and neither leaves nor changes a file."""
    if case.damage is not None:
        case.damage()
    before = {name: facts for name, facts in files_in(place).items() if facts[0] >= 0}
    outcome = run(case.line)
    assert outcome.status == case.status, outcome.stderr
    assert len(outcome.errors) == 1, outcome.stderr
    assert outcome.stderr.rstrip("\n").splitlines()[-1] == outcome.errors[0], "the message takes more than a line"
    assert re.search(case.says, outcome.errors[0]), outcome.errors[0]
    assert len(outcome.errors[0]) < 600
    after = files_in(place)
    assert {name: facts for name, facts in after.items() if facts[0] >= 0 and name not in case.leaves} == before
