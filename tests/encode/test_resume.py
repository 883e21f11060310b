"""Resuming: a killed run goes on where it stopped and ends with the same bytes; nothing else is gone on with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.encode import assembly
from pyserini_sdr.encode.chunks import FOLDER, ChunkStore
from pyserini_sdr.encode.engine import encode_corpus
from pyserini_sdr.index.store import open_index

from .fake import FakeEncoder, make_options
from .make import argv, run_encode

SETTINGS = ("--precision", "fp32")


@pytest.fixture(scope="module")
def whole(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of an uninterrupted run."""
    return run_encode(tiny_collection, tmp_path_factory.mktemp("whole") / "index", checkpoint)


def same_bytes(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("index", "docid"))


def interrupt_after(chunks: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets `chunks` chunks be written, then interrupts; returns the list of those written."""
    written: list[int] = []
    write = ChunkStore.write

    def limited(self: ChunkStore, number: int, *args: object) -> None:
        if len(written) == chunks:
            raise KeyboardInterrupt
        write(self, number, *args)
        written.append(number)

    monkeypatch.setattr(ChunkStore, "write", limited)
    return written


@pytest.fixture
def interrupted(tiny_collection: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with two of four chunks."""
    with monkeypatch.context() as patch:
        assert interrupt_after(2, patch) == []
        with pytest.raises(KeyboardInterrupt):
            run_encode(tiny_collection, tmp_path / "index", checkpoint)
    return tmp_path / "index"


def assert_unfinished_then_resumed(target: Path, collection: Path, checkpoint: Path, whole: Path) -> None:
    assert not (target / "sdr_index.json").exists()
    with pytest.raises(DataError, match=r"holds an unfinished encoding.*; give the encode command again to finish it"):
        open_index(target)
    run_encode(collection, target, checkpoint)
    assert same_bytes(target, whole)
    assert sorted(path.name for path in target.iterdir()) == ["docid", "index", "sdr_index.json"]
    assert len(open_index(target)) == 60


def test_killed_process_leaves_no_index_and_is_resumed(
    tiny_collection: Path, checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    """kill -9 when the second chunk is about to be written."""
    code = (
        "import os, signal, sys\n"
        "from pyserini_sdr.encode.__main__ import COMMAND\n"
        "from pyserini_sdr.encode.chunks import ChunkStore\n"
        "write = ChunkStore.write\n"
        "def die(self, number, *args):\n"
        "    if number == 1:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(self, number, *args)\n"
        "ChunkStore.write = die\n"
        "COMMAND.execute('encode', sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, *argv(tiny_collection, tmp_path / "index", checkpoint)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(list((tmp_path / "index" / FOLDER).glob("*.f32"))) == 1
    assert_unfinished_then_resumed(tmp_path / "index", tiny_collection, checkpoint, whole)


def test_interrupted_before_the_manifest(
    tiny_collection: Path, checkpoint: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`index` and `docid` are there, and yet it is not finished."""

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(assembly, "write_manifest", interrupt)
        run_encode(tiny_collection, tmp_path / "index", checkpoint)
    assert same_bytes(tmp_path / "index", whole)
    assert_unfinished_then_resumed(tmp_path / "index", tiny_collection, checkpoint, whole)


def test_finished_chunks_are_not_encoded_again(
    interrupted: Path, tiny_collection: Path, checkpoint: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = interrupt_after(99, monkeypatch)
    run_encode(tiny_collection, interrupted, checkpoint)
    assert written == [2, 3]
    assert same_bytes(interrupted, whole)


def test_leftovers_of_a_killed_process_are_removed(interrupted: Path, tiny_collection: Path, checkpoint: Path) -> None:
    (interrupted / ".index.partial-01234567").write_bytes(b"half")
    (interrupted / ".somebody.partial-else").write_bytes(b"not ours")
    run_encode(tiny_collection, interrupted, checkpoint)
    hidden = [path.name for path in interrupted.iterdir() if path.name.startswith(".")]
    assert hidden == [".somebody.partial-else"]


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[5] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: flip(folder / "00001.f32"),
        lambda folder: flip(folder / "00001.ids"),
        lambda folder: (folder / "00001.f32").unlink(),
        lambda folder: (folder / "00001.json").unlink(),
        lambda folder: (folder / "00001.json").write_text('{"count": '),
        lambda folder: (folder / "00001.json").write_text("[]"),
        lambda folder: (folder / "00001.json").write_text("{}"),
    ],
)
def test_damaged_chunk_is_encoded_again(
    interrupted: Path,
    tiny_collection: Path,
    checkpoint: Path,
    whole: Path,
    damage: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damage(interrupted / FOLDER)
    written = interrupt_after(99, monkeypatch)
    run_encode(tiny_collection, interrupted, checkpoint)
    assert written == [1, 2, 3]
    assert same_bytes(interrupted, whole)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"model": (*SETTINGS, "--max-length", 20)}, "spec"),
        ({"model": ("--precision", "bf16")}, "precision"),
        ({"model": (*SETTINGS, "--token-budget", 50)}, "token_budget"),
        ({"out": ("--to-faiss", "--chunk-size", 8)}, "chunk_size"),
        ({"input": ("--shard-num", 2)}, "shard"),
        ({"input": ("--fields", "text")}, "fields, encoded_fields"),
    ],
)
def test_other_settings_are_refused(
    interrupted: Path, tiny_collection: Path, checkpoint: Path, change: dict[str, tuple[object, ...]], name: str
) -> None:
    with pytest.raises(DataError) as caught:
        run_encode(tiny_collection, interrupted, checkpoint, **change)
    message = str(caught.value)
    assert message.startswith(f"{interrupted}: holds an unfinished encoding with another {name}")
    assert "give the same settings to resume, --overwrite to start anew" in message
    assert len(list((interrupted / FOLDER).glob("*.f32"))) == 2


def test_changed_corpus_is_refused(interrupted: Path, tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    other = tmp_path / "collection"
    shutil.copytree(tiny_collection, other)
    run = lambda: run_encode(other, interrupted, checkpoint)  # noqa: E731
    (other / "corpus" / "part-1.jsonl").write_text('{"id": "new", "contents": "more"}\n')
    with pytest.raises(DataError, match="unfinished encoding with another corpus"):
        run()
    (other / "corpus" / "part-1.jsonl").unlink()
    run()  # the same texts at another place are the same corpus


def test_another_form_of_the_same_vectors_may_be_asked_for(
    interrupted: Path, tiny_collection: Path, checkpoint: Path
) -> None:
    run_encode(tiny_collection, interrupted, checkpoint, out=("--chunk-size", 16))
    assert len((interrupted / "embeddings.jsonl").read_text().splitlines()) == 60


def test_what_is_finished_is_not_overwritten_unasked(tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    target = run_encode(tiny_collection, tmp_path / "index", checkpoint)
    before = (target / "index").read_bytes()
    with pytest.raises(DataError, match=r"already holds sdr_index\.json, index, docid; give another"):
        run_encode(tiny_collection, target, checkpoint)
    assert (target / "index").read_bytes() == before
    out = ("--to-faiss", "--chunk-size", 16, "--overwrite")
    run_encode(tiny_collection, target, checkpoint, out=out, model=(*SETTINGS, "--pooling", "cls"))
    assert (target / "index").read_bytes() != before
    assert json.loads((target / "sdr_index.json").read_text())["spec"]["pooling"] == "cls"
    run_encode(tiny_collection, target, checkpoint, out=("--overwrite",))
    assert sorted(path.name for path in target.iterdir()) == ["embeddings.jsonl", "sdr_index.json"]


def test_overwrite_starts_anew(interrupted: Path, tiny_collection: Path, checkpoint: Path) -> None:
    run_encode(tiny_collection, interrupted, checkpoint, out=("--to-faiss", "--overwrite", "--chunk-size", 30))
    assert len(open_index(interrupted)) == 60


def test_output_that_is_a_file(tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(DataError, match="file: is a file, cannot make a directory there"):
        run_encode(tiny_collection, tmp_path / "file", checkpoint)
    assert (tmp_path / "file").read_text() == "precious"


def test_two_processes_write_the_same_bytes(
    tiny_collection: Path, checkpoint: Path, whole: Path, tmp_path: Path
) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = argv(tiny_collection, tmp_path / "index", checkpoint, model=(*SETTINGS, "--device", "cpu"))
    done = subprocess.run(
        [*launcher, "-m", "pyserini_sdr.encode", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert same_bytes(tmp_path / "index", whole)
    assert done.stderr.count("encoded 60 documents") == 1
    assert done.stderr.count("search it with stock Pyserini") == 1


def test_vectors_of_an_edited_corpus_are_never_kept(tmp_path: Path) -> None:
    """Edited while it is encoded, and restored as the message says: the index is that of the restored corpus."""
    corpus = tmp_path / "corpus.jsonl"
    text = "".join(json.dumps({"id": f"d{i}", "contents": f"text {i}"}) + "\n" for i in range(24))
    corpus.write_text(text)
    encode_corpus(FakeEncoder(), make_options(corpus, tmp_path / "right"))

    class Editor(FakeEncoder):
        def encode_documents(self, documents: Sequence[str], **options: Any) -> np.ndarray:
            if not self.encoded:
                corpus.write_text(text.replace("text", "TEXT"))
            return super().encode_documents(documents, **options)

    with pytest.raises(DataError, match="has been changed while it was being encoded; restore it"):
        encode_corpus(Editor(), make_options(corpus, tmp_path / "index"))
    corpus.write_text(text)
    encode_corpus(FakeEncoder(), make_options(corpus, tmp_path / "index"))
    assert same_bytes(tmp_path / "index", tmp_path / "right")


def test_another_tokenizer_is_another_encoder(
    tiny_collection: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, own)
    with monkeypatch.context() as patch:
        interrupt_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            run_encode(tiny_collection, tmp_path / "index", own)
    settings = json.loads((own / "tokenizer.json").read_text())
    settings["normalizer"] = None
    (own / "tokenizer.json").write_text(json.dumps(settings))
    with pytest.raises(DataError, match="an unfinished encoding with another tokenizer"):
        run_encode(tiny_collection, tmp_path / "index", own)
