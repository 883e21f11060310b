"""Checks of the places that commands write to; each finding forced."""

from __future__ import annotations

import errno
import io
import os
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.doctor import disk
from pyserini_sdr.doctor.finding import GIB, Teller

TELLER = Teller(io.StringIO())
Usage = namedtuple("Usage", "free")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with room, which all three are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("PYSERINI_SDR_CACHE", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(100 * GIB))
    return tmp_path


CHECKS = (disk.check_folder, disk.check_temporary, disk.check_cache)


@pytest.mark.parametrize("check", CHECKS)
def test_room_and_nothing_left_behind(check, place: Path):
    found = check(TELLER)
    assert (found.status, found.details["free_bytes"]) == ("ok", 100 * GIB)
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(("kind", "words"), [("ext4", "free some space, or "), ("tmpfs", "free memory, or ")])
def test_little_room(check, kind: str, words: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda path: Usage(GIB))
    monkeypatch.setattr(disk, "file_system", lambda path: kind)
    found = check(TELLER)
    assert found.status == "warning"
    assert found.remedy.startswith(words)
    assert "1.0 GiB free" in found.summary


@pytest.mark.parametrize(
    ("module", "name", "summary"),
    [
        (tempfile, "mkstemp", "cannot be written to"),
        (os, "fsync", "cannot sync a file"),
        (disk.fcntl, "flock", "has no locks"),
        (Path, "replace", "cannot rename one file over another"),
    ],
)
@pytest.mark.parametrize("check", CHECKS)
def test_a_file_system_that_cannot(module, name: str, summary: str, check, place: Path, monkeypatch):
    def refuses(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOLCK, "not here")

    monkeypatch.setattr(module, name, refuses)
    found = check(TELLER)
    assert found.status == "warning"
    assert summary in found.summary
    assert "not here" in found.summary
    assert found.remedy
    assert list(place.iterdir()) == []


def test_a_temporary_directory_that_is_not_there(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TMPDIR", "/nowhere")
    found = disk.check_temporary(TELLER)
    assert (found.status, found.remedy) == ("warning", "correct TMPDIR, or unset it")
    monkeypatch.setenv("TMPDIR", str(place))
    assert disk.check_temporary(TELLER).status == "ok"


def test_no_temporary_directory_at_all(monkeypatch: pytest.MonkeyPatch):
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    found = disk.check_temporary(TELLER)
    assert (found.status, "TMPDIR" in found.remedy) == ("failure", True)


def test_no_place_for_a_cache(monkeypatch: pytest.MonkeyPatch):
    def none() -> Path:
        raise DataError("cache", "no home")

    monkeypatch.setattr(disk, "cache_folder", none)
    found = disk.check_cache(TELLER)
    assert (found.status, "PYSERINI_SDR_CACHE" in found.remedy) == ("warning", True)


def test_the_type_of_a_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    kind = disk.file_system(tmp_path)
    assert kind is None or kind.islower()
    lines = f"server:/x {tmp_path} nfs4 rw 0 0\n/dev/a / ext4 rw 0 0\ntmpfs {tmp_path}x tmpfs rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda self, *arguments, **options: lines)
    assert disk.file_system(tmp_path) == "nfs4"
    assert disk.file_system(tmp_path / "below") == "nfs4"
    assert disk.file_system(Path("/")) == "ext4"
