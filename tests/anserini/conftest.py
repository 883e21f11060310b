"""Fixtures for tests that need a Java."""

from __future__ import annotations

import pytest

from pyserini_sdr.anserini.java import Java, NoJavaError, find_java


@pytest.fixture(scope="session")
def found_java() -> Java:
    """The Java that commands would use; the test is skipped where there is none."""
    try:
        return find_java()
    except NoJavaError as error:
        pytest.skip(str(error))
