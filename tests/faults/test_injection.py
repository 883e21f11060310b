"""Faults at random points: a few by default, two hundred with `-m faults` (see docs/trust.md)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT


def inject(tmp_path: Path, *words: str) -> str:
    """The table that `tests.faults.inject` makes; fails with what it found."""
    command = [sys.executable, "-m", "tests.faults.inject", *words, "--output", str(tmp_path / "table.md")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYSERINI_SDR_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return (tmp_path / "table.md").read_text()


def test_a_sample_of_faults(tmp_path: Path) -> None:
    assert "6 points" in inject(tmp_path, "--points", "6", "--seed", "3")


@pytest.mark.faults
def test_many_faults(tmp_path: Path) -> None:
    print(inject(tmp_path, "--points", "200", "--seed", "1"))
