"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: threads cost a tiny encoder time, and sums their last bits
os.environ["PYSERINI_SDR_CACHE"] = tempfile.mkdtemp()  # nothing of an earlier session, and nothing for the user's

import pytest

from pyserini_sdr.anserini import compat
from pyserini_sdr.anserini.java import Java, NoJavaError, find_java

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


@pytest.fixture(scope="session")
def found_java() -> Java:
    """The Java that commands would use; the test is skipped where there is none."""
    try:
        return find_java()
    except NoJavaError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def stock_tables(found_java: Java) -> None:
    """The test is skipped where Pyserini fetches its tables of topics, qrels and indexes at every use."""
    if not compat.brings_tables():
        pytest.skip("Pyserini 2.4 and newer bring no table of stock names")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In continuous integration (`CI` set), a skip that `allowed_skips.txt` does not list fails the run."""
    shutil.rmtree(os.environ["PYSERINI_SDR_CACHE"], ignore_errors=True)
    if not os.environ.get("CI") or exitstatus != 0:
        return
    lines = (ROOT / "tests" / "allowed_skips.txt").read_text("utf-8").splitlines()
    allowed = [line for line in lines if line and not line.startswith("#")]
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    for report in reporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(part in reason for part in allowed):
            reporter.write_line(f"not an allowed skip: {report.nodeid}: {reason}", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
