"""Differences between versions of Pyserini, on stand-ins for those that are not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

from pyserini_sdr.anserini import compat
from pyserini_sdr.core.errors import SdrError

LISTS = """\
import json
from urllib.request import urlopen

class Fetched:
    def __init__(self, url):
        self.url, self._info = url, None
    def load(self):
        if self._info is None:
            with urlopen(self.url, timeout=10) as response:
                self._info = {record["name"]: record for record in json.load(response)}
        return self._info
    def __getitem__(self, name):
        return self.load()[name]
    def keys(self):
        return self.load().keys()

class Catalog:
    def __init__(self, *sources, aliases=None):
        self._sources, self._aliases = sources, aliases or {}
    def __getitem__(self, name):
        name = self._aliases.get(name, name)
        return next(source[name] for source in self._sources if name in source.keys())

IMPACT_INDEX_INFO_MSMARCO = Fetched("https://lists.invalid/impact.json")
IMPACT_INDEX_INFO_MSMARCO_ALIASES = {
    "msmarco-passage-unicoil-d2q": IMPACT_INDEX_INFO_MSMARCO["msmarco-v1-passage.unicoil"],
    "msmarco-v2-passage-unicoil-0shot": IMPACT_INDEX_INFO_MSMARCO["msmarco-v2-passage.unicoil-0shot"],
}
IMPACT_INDEX_INFO = Catalog(IMPACT_INDEX_INFO_MSMARCO, IMPACT_INDEX_INFO_MSMARCO_ALIASES)
TF_INDEX_INFO, FAISS_INDEX_INFO = {}, Fetched("https://lists.invalid/faiss.json")
"""
"""As Pyserini 2.4 has it: the second assignment asks the network."""

LATER = """\
import io, json, urllib.error, urllib.request
asked = []
def network(url, **_):
    asked.append(url)
    if len(asked) == 1:
        raise urllib.error.URLError("no network")
    return io.BytesIO(json.dumps([{"name": "msmarco-v1-passage.unicoil", "md5": "123"}]).encode())
urllib.request.urlopen = network
from pyserini_sdr.anserini import compat
compat.defer_downloads()
compat.defer_downloads()
from pyserini.prebuilt_index_info import IMPACT_INDEX_INFO
assert not asked and urllib.request.urlopen is network
try:
    compat.prebuilt_index("a")
except Exception as error:
    print(type(error).__name__, error)
print(IMPACT_INDEX_INFO["msmarco-passage-unicoil-d2q"]["md5"], len(asked))
"""


@pytest.fixture
def pyserini_2_4(tmp_path: Path) -> dict[str, str]:
    """An environment whose pyserini is one file of 2.4."""
    for name in ("pyserini", "pyserini-2.4.0.dist-info"):
        (tmp_path / name).mkdir()
    (tmp_path / "pyserini" / "__init__.py").touch()
    (tmp_path / "pyserini" / "prebuilt_index_info.py").write_text(LISTS)
    (tmp_path / "pyserini-2.4.0.dist-info" / "METADATA").write_text("Name: pyserini\nVersion: 2.4.0\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


def test_the_lists_of_2_4_are_fetched_when_they_are_needed(pyserini_2_4: dict[str, str]) -> None:
    """Not at import; and where they cannot be had, one line says so."""
    done = subprocess.run([sys.executable, "-c", LATER], env=pyserini_2_4, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "SdrError index a: pyserini 2.4.0 fetches the list of its indexes, which fails (<urlopen error no network>); "
        "run it where there is a network, or install 'pyserini<2.4', which brings the list",
        "123 2",
    ]


@pytest.mark.usefixtures("found_java")
def test_the_installed_pyserini_is_imported_without_a_network() -> None:
    code = (
        "import urllib.request\n"
        "def network(*_, **__): raise AssertionError('the network was asked')\n"
        "urllib.request.urlopen = network\n"
        "from pyserini_sdr.anserini import jvm\n"
        "jvm.start()\n"
        "import pyserini.util\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_pyserini(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(compat.metadata, "version", missing)
    monkeypatch.setattr(compat, "find_spec", lambda name: None)
    assert compat.pyserini_version() is None and compat.starts_without_network()
    compat.defer_downloads()
    with pytest.raises(SdrError, match="pyserini is not installed; run `pip install"):
        compat.fatjar()


def test_heads_are_not_read_again_while_we_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for 2.4's module of ANCE, which holds a name of its own for the loader."""
    module, calls = ModuleType("pyserini.encode._of_2_4"), []
    module.load_head_weights = lambda *arguments: calls.append(arguments)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    with compat.heads_stay_as_loaded():
        module.load_head_weights("model", "path", {})
    assert calls == []
    module.load_head_weights("model", "path", {})
    assert calls == [("model", "path", {})]
