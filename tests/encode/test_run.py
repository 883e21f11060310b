"""How a run goes: its settings, its check of the corpus, its room on the disk, its lock, its stages."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.data.corpus import scan_corpus
from pyserini_sdr.encode import scan, settings
from pyserini_sdr.encode.chunks import ChunkStore
from pyserini_sdr.encode.engine import encode_corpus
from pyserini_sdr.encode.layout import FOLDER, INDEX, MANIFEST, PENDING, held
from pyserini_sdr.encode.options import EncodeOptions
from pyserini_sdr.encode.pipeline import run_stages
from pyserini_sdr.encode.ranks import Rank, one_of_a_job
from pyserini_sdr.encode.settings import default_chunk_size

from .fake import FakeEncoder, TwoPartEncoder, make_options
from .make import read_index


def write_corpus(path: Path, count: int = 20, text: str = "text") -> Path:
    path.write_text("".join(f'{{"id": "d{n}", "contents": "{text} {n}"}}\n' for n in range(count)))
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Twenty documents."""
    return write_corpus(tmp_path / "corpus.jsonl")


class Stops(FakeEncoder):
    """An encoder that is interrupted after some documents."""

    def __init__(self, after: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.after = after

    def encode_documents(self, documents: Any, **kwargs: Any) -> np.ndarray:
        if self.encoded >= self.after:
            raise KeyboardInterrupt
        return super().encode_documents(documents, **kwargs)


def interrupt(options: EncodeOptions, after: int = 8) -> None:
    with pytest.raises(KeyboardInterrupt):
        encode_corpus(Stops(after), options)


def manifest(folder: Path) -> dict[str, Any]:
    return json.loads((folder / MANIFEST).read_text())


# settings


@pytest.mark.parametrize(
    ("count", "dimension", "device", "memory", "size"),
    [
        (10**7, 384, "cpu", 64 << 30, 4096),
        (10, 384, "cuda", 64 << 30, 4096),
        (64 * 9000, 768, "cuda", 64 << 30, 16384),
        (10**7, 768, "cuda", 64 << 30, 32768),
        (10**7, 768, "cuda", 8 << 30, 8192),
        (10**7, 384, "cpu", 1 << 28, 256),
    ],
)
def test_default_chunk_size(
    count: int, dimension: int, device: str, memory: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "machine_memory", lambda: memory)
    assert default_chunk_size(count, dimension, device) == size


def test_settings_are_kept_for_a_resumption_on_another_machine(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "default_chunk_size", lambda *_: 6)
    encode_corpus(FakeEncoder(), make_options(corpus, tmp_path / "whole", chunk=None))
    options = make_options(corpus, tmp_path / "index", chunk=None)
    interrupt(options, 6)
    monkeypatch.setattr(settings, "default_chunk_size", lambda *_: 5)
    encoder = FakeEncoder()
    encoder.token_budget = 7
    encode_corpus(encoder, options)
    assert (encoder.encoded, encoder.token_budget) == (14, 100)
    assert manifest(tmp_path / "index")["encoding"] == {
        "chunk_size": 6,
        "token_budget": 100,
        "batch_size": None,
        "chunk_dtype": "float32",
        "tokens": None,
    }
    assert (tmp_path / "index" / INDEX).read_bytes() == (tmp_path / "whole" / INDEX).read_bytes()


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"weights": "other"}, "weights"),
        ({"dimension": 4}, "spec"),
        ({"dtype": "float16"}, "chunk_dtype"),
        ({"software": {"torch": "9"}}, "software"),
    ],
)
def test_what_may_not_change(
    corpus: Path, tmp_path: Path, change: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = make_options(corpus, tmp_path / "index")
    interrupt(options)
    if "software" in change:
        monkeypatch.setattr(settings, "versions", lambda _: change["software"])
    encoder = FakeEncoder(change.get("weights", "w"), change.get("dimension", 8))
    options = make_options(corpus, tmp_path / "index", dtype=change.get("dtype", "float32"))
    with pytest.raises(DataError, match=f"unfinished encoding with another {name} "):
        encode_corpus(encoder, options)
    overwriting = make_options(corpus, tmp_path / "index", dtype=options.output.chunk_dtype, overwrite=True)
    encode_corpus(encoder, overwriting)
    assert encoder.encoded == 20


def test_overwriting_is_resumed_by_the_same_command(corpus: Path, tmp_path: Path) -> None:
    encode_corpus(FakeEncoder("old"), make_options(corpus, tmp_path / "index"))
    options = make_options(corpus, tmp_path / "index", overwrite=True)
    interrupt(options)
    assert manifest(tmp_path / "index")["weights"] == "old"
    encoder = FakeEncoder()
    encode_corpus(encoder, options)
    assert (encoder.encoded, manifest(tmp_path / "index")["weights"]) == (12, "w")


def test_overwriting_drops_a_change_that_waits(corpus: Path, tmp_path: Path) -> None:
    encode_corpus(FakeEncoder("old"), make_options(corpus, tmp_path / "index"))
    (tmp_path / "index" / PENDING).mkdir()
    (tmp_path / "index" / PENDING / INDEX).write_bytes(b"of the old index")
    encode_corpus(FakeEncoder(), make_options(corpus, tmp_path / "index", overwrite=True))
    assert not (tmp_path / "index" / PENDING).exists()


# chunks in half precision


def test_float16_chunks_round_and_take_half_the_space(corpus: Path, tmp_path: Path) -> None:
    class Fractions(FakeEncoder):
        def encode_documents(self, *args: Any, **kwargs: Any) -> np.ndarray:
            return super().encode_documents(*args, **kwargs) / 3

    encode_corpus(Fractions(), make_options(corpus, tmp_path / "one"))
    interrupt(make_options(corpus, tmp_path / "two", dtype="float16"))
    assert (tmp_path / "two" / FOLDER / "00000.f16").stat().st_size == 4 * 8 * 2
    shutil.rmtree(tmp_path / "two")
    encode_corpus(Fractions(), make_options(corpus, tmp_path / "two", dtype="float16"))
    (ids, exact), (other, rounded) = (read_index(tmp_path / name) for name in ("one", "two"))
    assert ids == other
    assert (exact.astype(np.float16).astype(np.float32) == rounded).all() and (exact != rounded).any()


def test_float16_refuses_what_it_cannot_hold(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path, 2, "float16")
    with pytest.raises(SdrError, match="values beyond 65504; use float32"):
        store.write(0, ["a"], np.array([[1.0, 1e5]], dtype=np.float32))


# the check of the corpus


def test_corpus_that_has_not_changed_is_not_read_again(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_RECENT", -1e9)  # files just written are believed
    options = make_options(corpus, tmp_path / "index")
    interrupt(options)
    monkeypatch.setattr(scan, "scan_corpus", lambda *_, **__: pytest.fail("read again"))
    encode_corpus(FakeEncoder(), options)
    assert len(read_index(tmp_path / "index")[0]) == 20


def test_changed_corpus_is_noticed_whatever_its_times_say(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_RECENT", -1e9)
    options = make_options(corpus, tmp_path / "index")
    interrupt(options)
    times = corpus.stat()
    time.sleep(0.02)
    write_corpus(corpus, text="tXxt")
    os.utime(corpus, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert corpus.stat().st_size == times.st_size
    with pytest.raises(DataError, match="unfinished encoding with another corpus"):
        encode_corpus(FakeEncoder(), options)


def test_files_just_written_are_not_believed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "_RECENT", 1e9)
    options = make_options(corpus, tmp_path / "index")
    interrupt(options)
    read = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        read.append(args)
        return scan_corpus(*args, **kwargs)

    monkeypatch.setattr(scan, "scan_corpus", counted)
    encode_corpus(FakeEncoder(), options)
    assert len(read) == 1


def test_corpus_changed_during_the_run(corpus: Path, tmp_path: Path) -> None:
    class Meddler(FakeEncoder):
        def encode_documents(self, documents: Any, **kwargs: Any) -> np.ndarray:
            with corpus.open("a") as handle:
                handle.write('{"id": "late", "contents": "one"}\n')
            return super().encode_documents(documents, **kwargs)

    with pytest.raises(DataError, match="has been changed while it was being encoded"):
        encode_corpus(Meddler(), make_options(corpus, tmp_path / "index"))
    assert not (tmp_path / "index" / MANIFEST).exists()


def test_bad_corpus_leaves_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "a", "contents": "x"}\n{"id": "a", "contents": "x"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:2: duplicate document id 'a'"):
        encode_corpus(FakeEncoder(), make_options(bad, tmp_path / "deep" / "index"))
    assert not (tmp_path / "deep").exists()


# room and lock


@pytest.mark.parametrize(("dtype", "remedy"), [("float32", True), ("float16", False)])
def test_too_little_room_is_told_before_the_start(
    corpus: Path, tmp_path: Path, dtype: str, remedy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 5000})
    monkeypatch.setattr(settings.shutil, "disk_usage", lambda _: usage)
    encoder = FakeEncoder()
    with pytest.raises(DataError) as caught:
        encode_corpus(encoder, make_options(corpus, tmp_path / "index", dtype=dtype))
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'index'}: needs ") and "5.0 kB are free; free some space" in message
    assert ("--chunk-dtype float16" in message) is remedy
    assert not encoder.encoded and not (tmp_path / "index").exists()


def test_refusal_for_want_of_room_keeps_the_unfinished_run(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt(make_options(corpus, tmp_path / "index"))
    with monkeypatch.context() as patch, pytest.raises(DataError, match="needs "):
        patch.setattr(settings.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
        encode_corpus(FakeEncoder("other"), make_options(corpus, tmp_path / "index", overwrite=True))
    encoder = FakeEncoder()
    encode_corpus(encoder, make_options(corpus, tmp_path / "index"))
    assert encoder.encoded == 12


def test_two_at_once_are_refused(corpus: Path, tmp_path: Path) -> None:
    encoder = FakeEncoder()
    with held(tmp_path / "index"), pytest.raises(DataError, match="is being written by another process; wait for it"):
        encode_corpus(encoder, make_options(corpus, tmp_path / "index"))
    assert not encoder.encoded
    encode_corpus(encoder, make_options(corpus, tmp_path / "index"))


# stages


def test_stages_overlap_and_keep_the_order() -> None:
    done: list[tuple[int, int]] = []
    reading, computing = threading.Event(), threading.Event()

    def read(item: int) -> int:
        if item == 1:
            reading.set()
            assert computing.wait(10)  # the first item is being computed meanwhile
        return item * 10

    def compute(value: int) -> int:
        if value == 0:
            computing.set()
            assert reading.wait(10)
        return value + 1

    run_stages(range(5), read, compute, lambda item, got, made: done.append((item, made)))
    assert done == [(0, 1), (1, 11), (2, 21), (3, 31), (4, 41)]


def test_nothing_is_computed_before_what_was_is_written() -> None:
    events: list[str] = []

    def compute(value: int) -> int:
        events.append(f"compute {value}")
        return value

    run_stages(range(3), lambda item: item, compute, lambda item, got, made: events.append(f"write {made}"))
    assert events == ["compute 0", "write 0", "compute 1", "write 1", "compute 2", "write 2"]


@pytest.mark.parametrize("stage", ["read", "compute", "write"])
def test_errors_of_every_stage_surface(stage: str) -> None:
    written: list[int] = []

    def fail(name: str, item: int) -> int:
        if name == stage and item == 2:
            raise SdrError(f"{name} of {item}")
        return item

    before = threading.active_count()
    with pytest.raises(SdrError, match=f"{stage} of 2"):
        run_stages(
            range(9),
            lambda item: fail("read", item),
            lambda item: fail("compute", item),
            lambda item, _, made: written.append(fail("write", made)),
        )
    assert written == [0, 1]
    assert threading.active_count() == before


def test_tokens_are_counted_where_the_encoder_tokenises_apart(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    encode_corpus(TwoPartEncoder(), make_options(corpus, tmp_path / "index"))
    encode_corpus(FakeEncoder(), make_options(corpus, tmp_path / "other"))
    assert (tmp_path / "index" / INDEX).read_bytes() == (tmp_path / "other" / INDEX).read_bytes()
    assert manifest(tmp_path / "index")["encoding"]["tokens"] == 40
    first, second = (line for line in capsys.readouterr().err.splitlines() if line.startswith("encoded 20 documents"))
    assert "documents/s" in first and "tokens/s" in first
    assert "documents/s" in second and "tokens/s" not in second


# several processes


def test_each_chunk_is_taken_by_one(tmp_path: Path) -> None:
    (tmp_path / FOLDER).mkdir()
    one, two = ChunkStore(tmp_path, 2), ChunkStore(tmp_path, 2)
    assert [one.claim(0), two.claim(0), two.claim(1), one.claim(1)] == [True, False, True, False]
    one.settle([4, 4])
    assert two.claim(0)


def test_end_of_another_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    def lost() -> None:
        raise RuntimeError("[gloo/pair.cc] Connection closed by peer")

    monkeypatch.setattr(dist, "barrier", lost)
    with pytest.raises(SdrError, match=r"another process of this job has ended .*give the same command again"):
        Rank(0, 2).barrier()


def test_a_world_without_an_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a shell still has the variable from something else."""
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    message = "WORLD_SIZE=2 is set without MASTER_ADDR, MASTER_PORT; start with torchrun, or unset WORLD_SIZE"
    with pytest.raises(UsageError, match=message), one_of_a_job():
        pytest.fail("it has begun")


@pytest.mark.parametrize("error", [None, DataError("corpus", "bad"), SystemExit(143)])
def test_the_group_is_left_before_the_interpreter_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
) -> None:
    """Its threads let go of tensors, and abort a process whose interpreter is no more."""
    import torch.distributed as dist

    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    with contextlib.suppress(DataError, SystemExit), one_of_a_job():
        dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
        assert dist.is_initialized()
        if error is not None:
            raise error
    assert not dist.is_initialized()
