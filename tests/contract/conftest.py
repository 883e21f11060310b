"""Contract tests run stock Pyserini, which needs a Java."""

from __future__ import annotations

import pytest

from pyserini_sdr.anserini.java import Java


@pytest.fixture(scope="session", autouse=True)
def java(found_java: Java) -> Java:
    """Skips all of them where there is none."""
    return found_java
