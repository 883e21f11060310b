"""Faults at random points: a few by default, two hundred with `-m faults` (see docs/trust.md)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT


def inject(tmp_path: Path, *words: str) -> str:
    """The table that `tests.faults.inject` makes; fails with what it found."""
    command = [sys.executable, "-m", "tests.faults.inject", *words, "--output", str(tmp_path / "table.md")]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return (tmp_path / "table.md").read_text()


def test_a_sample_of_faults_in_two_runs(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    assert "2 points struck" in inject(tmp_path, "--points", "2", "--seed", "1653", "--results", str(results))
    begun = results.read_text()
    words = ("--points", "4", "--seed", "1653", "--results", str(results), "--jobs", "2", "--continue")
    assert "4 points struck" in inject(tmp_path, *words)
    assert results.read_text().startswith(begun), "what is done is not done again"
    struck = [line["point"] for line in map(json.loads, results.read_text().splitlines()[1:]) if line["struck"]]
    assert sorted(struck) == [0, 1, 2, 3]


@pytest.mark.faults
def test_many_faults(tmp_path: Path) -> None:
    print(inject(tmp_path, "--points", "200", "--seed", "1", "--jobs", "2"))
