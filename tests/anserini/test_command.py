"""The command `anserini MODULE ARGS ...`."""

from __future__ import annotations

import pytest

from pyserini_sdr.anserini import compat, jvm, runner
from pyserini_sdr.anserini.command import COMMAND
from pyserini_sdr.core.errors import UsageError


def test_help_is_ours_only_without_a_module(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    assert COMMAND.execute("python -m pyserini_sdr.anserini", ["--help"]) == 0
    assert "PYSERINI_SDR_JAVA_HOME" in capsys.readouterr().out
    seen = []
    monkeypatch.setattr(runner, "run_module", lambda module, args: seen.append((module, args)))
    COMMAND.execute("python -m pyserini_sdr.anserini", ["pyserini.search.faiss", "--help"])
    assert seen == [("pyserini.search.faiss", ["--help"])]
    assert capsys.readouterr().out == ""


def test_module_is_required():
    with pytest.raises(UsageError, match="MODULE is required"):
        COMMAND.execute("prog", [])


@pytest.mark.parametrize("module", ["pyserini.search.fais", "os", "pyserini", "pyserini.search.faiss.nothing"])
def test_unknown_module_is_refused_before_java_is_needed(module: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jvm, "start", lambda: pytest.fail("the JVM was started"))
    with pytest.raises(UsageError, match="unknown Pyserini module"):
        runner.run_module(module, [])


def test_nearest_module_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(jvm, "start", lambda: pytest.fail("the JVM was started"))
    with pytest.raises(UsageError, match=r"did you mean 'pyserini\.search\.faiss'"):
        runner.run_module("pyserini.search.fais", [])


def test_runnable_modules_have_a_file():
    modules = list(compat.runnable_modules())
    assert {"pyserini.search.faiss", "pyserini.encode", "pyserini.eval.trec_eval", "pyserini.fusion"} <= set(modules)
    assert all(compat.module_file(module) for module in modules if module != "pyserini.index")
