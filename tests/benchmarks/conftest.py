"""The scripts in `benchmarks/` import each other by name, as they do when they are run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(FOLDER))


@pytest.fixture(scope="session")
def scripts() -> Path:
    """The folder of the scripts."""
    return FOLDER
