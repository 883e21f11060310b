"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tiny import make_tiny_collection, make_tiny_encoder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def tiny_collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection directory of 60 documents; do not write into it."""
    return make_tiny_collection(tmp_path_factory.mktemp("tiny") / "collection")


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT of 32 dimensions; do not write into it."""
    return make_tiny_encoder(tmp_path_factory.mktemp("tiny") / "encoder")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real collections beside the checkout; the test is skipped where it is absent."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("real collections (../shared/data) are not here")
    return path
