"""What has to be downloaded is said before anything runs, and what cannot be had is one line."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from pyserini_sdr.core.errors import SdrError
from pyserini_sdr.reproduce import downloads
from pyserini_sdr.reproduce.downloads import say_and_check, size_text


def cell(*names: str, here: Path):
    return SimpleNamespace(downloads=names, topics_text=str(here / "t.tsv"), qrels=str(here / "q.txt"))


@pytest.fixture
def machine(monkeypatch, tmp_path: Path):
    """Nothing is cached, and the network answers by host; returns the hosts that were asked."""
    asked = []

    def index(name: str):
        size = 2 * 10**9
        return SimpleNamespace(bytes=size, url=f"https://indexes.test/{name}.tar.gz", folder=tmp_path / name)

    def answer(request, timeout):
        asked.append(request.host)
        if request.host == "indexes.test":
            raise urllib.error.URLError("no route")
        raise urllib.error.HTTPError(request.full_url, 401, "who are you", {}, None)  # it is there

    monkeypatch.setattr(downloads.jvm, "start", lambda: None)
    monkeypatch.setattr(downloads.compat, "prebuilt_index", index)
    monkeypatch.setattr(downloads.urllib.request, "urlopen", answer)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "https://hub.test")
    return asked


def test_what_cannot_be_had_is_said_in_one_line(machine, tmp_path: Path, capfd) -> None:
    cells = [cell("index:a", "model:x/y", here=tmp_path), cell("index:a", "index:b", here=tmp_path)]
    with pytest.raises(SdrError) as caught:
        say_and_check(cells, {"model:x/y": 4 * 10**8})
    assert str(caught.value) == "cannot be downloaded here (indexes.test: no route): index a, index b"
    assert "to be downloaded, 4.4 GB: index a (2.0 GB), model x/y (400 MB), index b (2.0 GB)" in capfd.readouterr().err
    assert machine == ["indexes.test", "hub.test"]  # each host once


def test_a_hub_that_is_switched_off_is_not_asked(machine, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SdrError, match=r"^cannot be downloaded here \(HF_HUB_OFFLINE is set\): model x/y$"):
        say_and_check([cell("model:x/y", here=tmp_path)], {})
    assert not machine


def test_what_is_there_is_not_asked_for(machine, tmp_path: Path, monkeypatch, capfd) -> None:
    (tmp_path / "a").mkdir()
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda name, file: "config.json")
    say_and_check([cell("index:a", "model:x/y", "dataset:a/folder", here=tmp_path)], {})
    assert not machine and not capfd.readouterr().err


def test_a_data_set_takes_its_package(machine, tmp_path: Path, monkeypatch, capfd) -> None:
    one = cell("dataset:ir_datasets:beir/scifact/test", here=tmp_path)
    monkeypatch.setattr(downloads, "find_spec", lambda name: object())
    say_and_check([one], {"dataset:ir_datasets:beir/scifact/test": 2_816_079})
    assert "dataset ir_datasets:beir/scifact/test (unless it is there) (3 MB)" in capfd.readouterr().err
    monkeypatch.setattr(downloads, "find_spec", lambda name: None)
    with pytest.raises(SdrError, match=r"pip install 'pyserini_sdr\[ir-datasets\]'"):
        say_and_check([one], {})


def test_topics_of_stock_names_are_fetched_first(machine, tmp_path: Path, monkeypatch) -> None:
    fetched = []
    monkeypatch.setattr(downloads, "load_topics", fetched.append)
    monkeypatch.setattr(downloads, "qrels_path", fetched.append)
    say_and_check([SimpleNamespace(downloads=(), topics_text="dl19-passage", qrels="dl19-passage")], {})
    assert fetched == ["dl19-passage", "dl19-passage"]


@pytest.mark.parametrize(("size", "text"), [(25_102_344_926, "25.1 GB"), (8_849_995, "9 MB"), (12, "1 MB")])
def test_sizes_are_said_as_people_say_them(size: int, text: str) -> None:
    assert size_text(size) == text
