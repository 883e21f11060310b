"""Checks of Python, packages, and text; each finding forced."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from pyserini_sdr.doctor import software
from pyserini_sdr.doctor.finding import Teller

TELLER = Teller(io.StringIO())


class Metadata(dict):
    """What `importlib.metadata.metadata` returns."""

    def get_all(self, name: str) -> list[str]:
        return self.get(name, [])


def installed(monkeypatch: pytest.MonkeyPatch, needs: list[str], python: str = ">=3.11", extras: tuple[str, ...] = ()):
    monkeypatch.setattr(software.metadata, "requires", lambda name: needs)
    facts = Metadata({"Requires-Python": python, "Provides-Extra": list(extras)})
    monkeypatch.setattr(software.metadata, "metadata", lambda name: facts)


def missing(*names: str):
    raise software.metadata.PackageNotFoundError


def test_python_within_what_is_declared(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, [])
    assert software.check_python(TELLER).status == "ok"
    installed(monkeypatch, [], python=">=3.99")
    check = software.check_python(TELLER)
    assert (check.status, check.remedy) == ("failure", "make an environment with Python >=3.99")


def test_a_distribution_that_is_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(software.metadata, "metadata", missing)
    monkeypatch.setattr(software.metadata, "requires", missing)
    for check in (software.check_python(TELLER), software.check_packages(TELLER)):
        assert (check.status, "pip install ." in check.remedy) == ("warning", True)


def test_missing_and_outdated_packages(monkeypatch: pytest.MonkeyPatch):
    installed(monkeypatch, ["numpy>=999", "no-such-package>=2", "tqdm"])
    check = software.check_packages(TELLER)
    assert check.status == "failure"
    assert "is not >=999; no-such-package is not installed" in check.summary
    assert check.remedy == "run `pip install 'numpy>=999' 'no-such-package>=2'`"
    assert set(check.details["versions"]) == {"numpy", "tqdm"}


def test_extras_are_told_and_outdated_ones_warned_of(monkeypatch: pytest.MonkeyPatch):
    needs = ["tqdm", "no-such-package; extra == 'lora'", "pytest>=999; extra == 'test'", "numpy>=1; extra == 'onnx'"]
    installed(monkeypatch, needs, extras=("lora", "onnx", "test"))
    check = software.check_packages(TELLER)
    assert (check.status, check.summary.partition("; ")[2]) == ("ok", "extras: onnx")
    assert check.details["extras"]["lora"] == {"no-such-package": None}
    installed(monkeypatch, ["tqdm", "numpy>=999; extra == 'onnx'"], extras=("onnx",))
    check = software.check_packages(TELLER)
    assert (check.status, check.remedy) == ("warning", "run `pip install 'numpy>=999'`")
    assert check.summary.endswith("is not >=999 (extra onnx)")


def test_the_declared_packages_are_those_of_the_distribution():
    check = software.check_packages(TELLER)
    assert {"pyserini", "torch", "transformers", "faiss-cpu", "pandas"} <= check.details["versions"].keys()


@pytest.mark.parametrize(("settings", "status"), [({"PYTHONUTF8": "1"}, "ok"), ({"PYTHONUTF8": "0"}, "warning")])
def test_a_locale_without_letters(settings: dict[str, str], status: str):
    code = (
        "import io; from pyserini_sdr.doctor import finding, software; "
        "print(software.check_text(finding.Teller(io.StringIO())))"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", **settings}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert f"status='{status}'" in done.stdout
    assert ("PYTHONUTF8=1" in done.stdout) == (status == "warning")
