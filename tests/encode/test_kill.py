"""kill -9 at every moment at which something changes on the disk: never a wrong index, and always the same one at last.

Processes are forked, as starting them anew for each of a hundred moments would take minutes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path

import pytest

from pyserini_sdr.core import manifest
from pyserini_sdr.core.errors import DataError
from pyserini_sdr.core.manifest import versions
from pyserini_sdr.encode import settings
from pyserini_sdr.encode.engine import encode_corpus
from pyserini_sdr.encode.layout import FOLDER, INDEX, MANIFEST
from pyserini_sdr.encode.options import EncodeOptions
from pyserini_sdr.index.store import open_index

from .fake import FakeEncoder, make_options

DOCUMENTS, CHUNK = 6, 4


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kill") / "corpus.jsonl"
    path.write_text("".join(f'{{"id": "d{n}", "contents": "text {n}"}}\n' for n in range(DOCUMENTS)))
    return path


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed process, unlike a power cut, loses nothing that it has handed to the system."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def content(folder: Path) -> dict[str, bytes]:
    """Every file but the manifest."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != MANIFEST}


def killed_at(moment: int, options: EncodeOptions, weights: str = "w") -> bool:
    """Encodes in a fork that dies before its `moment`-th change of the disk; False if it ended before that."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _die_at(moment)
            encode_corpus(FakeEncoder(weights), options)
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _die_at(moment: int) -> None:
    """Kills this process when it opens a file to write, or removes, renames or makes something, for that many times."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.remove", "os.rename", "os.mkdir", "os.rmdir"):
            seen += 1
            if seen == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


@pytest.fixture(autouse=True)
def one_reading_of_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    found = versions()
    for module in (manifest, settings):
        monkeypatch.setattr(module, "versions", lambda *_: found)


@pytest.mark.parametrize("faiss", [True, False], ids=["index", "embeddings"])
def test_first_encoding(corpus: Path, tmp_path: Path, faiss: bool) -> None:
    options = make_options(corpus, tmp_path / "whole", faiss=faiss)
    encode_corpus(FakeEncoder(), options)
    whole = content(tmp_path / "whole")
    for moment in count(1):
        folder = tmp_path / f"at{moment}"
        options = make_options(corpus, folder, faiss=faiss)
        died = killed_at(moment, options)
        if not died:
            break
        finished = (folder / MANIFEST).exists()
        if faiss and folder.exists():
            if finished:
                assert len(open_index(folder)) == DOCUMENTS and content(folder).keys() == whole.keys()
            else:
                with pytest.raises(DataError, match=r"unfinished encoding|is not an index directory"):
                    open_index(folder)
        chunks = len(list((folder / FOLDER).glob("[0-9]*.json")))
        encoder = FakeEncoder()
        if finished and not (folder / FOLDER).exists():  # died while it was tidying up
            with pytest.raises(DataError, match="already holds"):
                encode_corpus(encoder, options)
        else:
            encode_corpus(encoder, options)
            assert encoder.encoded <= DOCUMENTS - min(DOCUMENTS, chunks * CHUNK)
        assert content(folder) == whole
        left = sorted(path.name for path in folder.iterdir() if path.name not in (*whole, MANIFEST))
        assert left == []
        shutil.rmtree(folder)
    assert moment > 25, "hardly a moment was tried"


def test_overwriting(corpus: Path, tmp_path: Path) -> None:
    """The old index is whole until the new one is; between them is one that is known as unfinished."""
    for name, weights in (("old", "old"), ("new", "new")):
        encode_corpus(FakeEncoder(weights), make_options(corpus, tmp_path / name))
    old, new = content(tmp_path / "old"), content(tmp_path / "new")
    assert old[INDEX] != new[INDEX]
    seen = set()
    for moment in count(1):
        folder = tmp_path / f"at{moment}"
        shutil.copytree(tmp_path / "old", folder)
        options = make_options(corpus, folder, overwrite=True)
        if not killed_at(moment, options, "new"):
            break
        if (folder / MANIFEST).exists():
            weights = json.loads((folder / MANIFEST).read_text())["weights"]
            found = {name: data for name, data in content(folder).items() if not name.startswith(".")}
            assert found == {"old": old, "new": new}[weights]
            assert len(open_index(folder)) == DOCUMENTS
            seen.add(weights)
        else:
            with pytest.raises(DataError, match="unfinished encoding"):
                open_index(folder)
            seen.add("unfinished")
        encode_corpus(FakeEncoder("new"), options)
        assert content(folder) == new
        assert sorted(path.name for path in folder.iterdir()) == ["docid", "index", MANIFEST]
        shutil.rmtree(folder)
    assert seen == {"old", "unfinished", "new"}
