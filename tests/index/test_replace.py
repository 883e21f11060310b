"""A change of an index is whole or has not happened, whenever the process dies."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.encode.layout import PENDING, held
from pyserini_sdr.index import replace, store
from pyserini_sdr.index.replace import WRITING, replacing
from pyserini_sdr.index.store import open_index, state_of

from .make import build, clustered, index, manifest, names, write_index


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return build(write_index(tmp_path / "source", clustered(20)), tmp_path / "index")


def fill(folder: Path, count: int) -> None:
    made = build(write_index(folder / "spool", clustered(count)), folder.parent.parent / f"made{count}")
    for name in ("index", "docid", "sdr_index.json"):
        shutil.copy(made / name, folder / name)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_error_leaves_the_old_index(old: Path) -> None:
    (old / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="stop"), replacing(old) as folder:
        fill(folder, 30)
        raise ValueError("stop")
    assert files(old) == ["docid", "index", "notes.txt", "sdr_index.json"] and len(open_index(old)) == 20


def test_an_error_leaves_no_new_directory(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="stop"), replacing(tmp_path / "a" / "b") as folder:
        (folder / "index").write_bytes(b"x")
        raise ValueError("stop")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("moved", [0, 1, 2, 3])
def test_killed_while_files_are_moved(old: Path, moved: int, tmp_path: Path) -> None:
    """`kill -9` after so many files: the next one that opens the index moves the rest."""
    new = build(write_index(tmp_path / "source30", clustered(30)), tmp_path / "new")
    code = (
        "import os, shutil, signal, sys\n"
        "from pathlib import Path\n"
        "from pyserini_sdr.index.replace import replacing\n"
        "real, left = Path.replace, [int(sys.argv[3])]\n"
        "def die(*args): os.kill(os.getpid(), signal.SIGKILL)\n"
        "def move(self, target):\n"
        "    real(self, target)\n"
        "    left[0] -= 1\n"
        "    arm()\n"
        "def arm():\n"
        "    if not left[0]: Path.replace = shutil.rmtree = die\n"
        "with replacing(Path(sys.argv[1])) as folder:\n"
        "    for name in ('index', 'docid', 'sdr_index.json'):\n"
        "        shutil.copy(Path(sys.argv[2]) / name, folder / name)\n"
        "    Path.replace = move\n"
        "    arm()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(old), str(new), str(moved)], check=False)
    assert done.returncode == -9 and PENDING in files(old)
    opened = open_index(old)
    assert len(opened) == 30 and opened.docids == names(30) and manifest(old)["count"] == 30
    assert files(old) == ["docid", "index", "sdr_index.json"]


def test_killed_while_writing(old: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """`kill -9`: what is there stays; where nothing is there, `info` and `verify` say so; the next build cleans up."""
    new = tmp_path / "new"
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from pyserini_sdr.index.replace import replacing\n"
        "with replacing(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'index').write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for folder in (old, new):
        assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == -9
        assert WRITING in files(folder)
    assert len(open_index(old)) == 20
    with pytest.raises(DataError, match="new: holds an unfinished index; give the command that makes it again"):
        open_index(new)
    capsys.readouterr()
    index("info", "--index", new)
    assert "unfinished index" in capsys.readouterr().out
    for folder in (old, new):
        build(tmp_path / "source", folder, "--overwrite")
        assert files(folder) == ["docid", "index", "sdr_index.json"]


def test_two_at_once(old: Path) -> None:
    with (
        held(old),
        pytest.raises(DataError, match="index: is being written by another process; wait for it"),
        replacing(old),
    ):
        pass


def test_reader_waits_for_the_mover(old: Path) -> None:
    with replacing(old) as folder:
        fill(folder, 30)
        shutil.copytree(folder, old / "copy", ignore=shutil.ignore_patterns("spool"))
    (old / "copy").rename(old / PENDING)
    moved = threading.Event()
    with held(old):
        reader = threading.Thread(target=lambda: (replace.complete(old), moved.set()))
        reader.start()
        assert not moved.wait(0.3)
    reader.join(10)
    assert moved.is_set() and len(open_index(old)) == 30


def test_unfinished_encoding_is_not_built_over(tmp_path: Path) -> None:
    source = write_index(tmp_path / "source", clustered(20))
    (tmp_path / "out" / ".encode").mkdir(parents=True)
    with pytest.raises(DataError, match="out: holds an unfinished encoding; finish it, or give another directory"):
        build(source, tmp_path / "out")


def test_reader_meets_the_mover_between_two_files(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads again, and gets the new index, not ids of the one with vectors of the other."""
    new = build(write_index(tmp_path / "source20", clustered(20, seed=1), names(20, 50)), tmp_path / "new")
    real = store.read_docids

    def late(path: Path) -> Sequence[str]:
        monkeypatch.setattr(store, "read_docids", real)
        for name in ("index", "docid", "sdr_index.json"):
            (new / name).replace(old / name)
        return real(path)

    monkeypatch.setattr(store, "read_docids", late)
    opened = open_index(old)
    assert opened.docids == names(20, 50) and opened.state == state_of(old)
    np.testing.assert_array_equal(opened.vectors(0, 20), clustered(20, seed=1))


def test_reader_gives_up_on_what_never_rests(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = store.read_docids

    def touched(path: Path) -> Sequence[str]:
        path.write_bytes(path.read_bytes() + b"more\n")
        return real(path)

    monkeypatch.setattr(store, "read_docids", touched)
    monkeypatch.setattr(store, "_PAUSE", 0)
    with pytest.raises(DataError, match="index: keeps changing while it is opened; try again"):
        open_index(old)
