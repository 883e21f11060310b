"""Two processes under `torchrun`: one is killed, or refuses; a few moments by default, all with `-m faults`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT
from .processes import result, strike, torchrun, words_of


@pytest.mark.parametrize(("command", "rank", "moment"), [("train", 1, "gradients"), ("encode", 0, "chunk")])
def test_a_process_is_killed(material: Path, tmp_path: Path, command: str, rank: int, moment: str) -> None:
    """The result to compare with is that of one process, which two give too."""
    alone = [sys.executable, "-m", f"pyserini_sdr.{command}", *words_of(command, tmp_path / "whole")]
    subprocess.run(alone, cwd=material, check=True, capture_output=True)
    whole = result(command, tmp_path / "whole")
    assert strike(command, rank, moment, material, tmp_path / "out", whole) == []


def test_an_error_is_said_once(material: Path, tmp_path: Path) -> None:
    """One that all processes find, and that of the first alone, for which the others wait."""
    words = words_of("train", tmp_path / "out")
    ended = torchrun("pyserini_sdr.train", *words, "--loss-option", "infonce.depth=2", folder=material)
    assert ended.status != 0 and len(ended.errors) == 1 and "unknown option of infonce 'depth'" in ended.errors[0]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious.txt").write_text("mine")
    ended = torchrun("pyserini_sdr.train", *words_of("train", tmp_path / "full"), folder=material)
    assert ended.status != 0 and len(ended.errors) == 1 and "not empty" in ended.errors[0]
    assert ended.tracebacks == 1  # the launcher's own


@pytest.mark.faults
def test_all_moments(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.faults.processes", "--output", str(tmp_path / "table.md")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    print((tmp_path / "table.md").read_text())
