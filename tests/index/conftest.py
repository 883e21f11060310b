"""A checkpoint of ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from ..encode.make import make_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved checkpoint with prefixes and short lengths; do not write into it."""
    return make_checkpoint(tmp_path_factory.mktemp("encode") / "checkpoint", tiny_encoder)
