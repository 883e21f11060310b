"""Files that appear whole or not at all, and readers that say where a fault lies."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.core.files import (
    atomic_directory,
    atomic_file,
    cache_folder,
    discard,
    read_json,
    read_jsonl,
    read_lines,
    remove_stale,
    require_directory,
    require_file,
    write_json,
)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
@pytest.mark.parametrize("before", [None, b"old"])
def test_exception_inside_leaves_things_as_they_were(tmp_path: Path, name: str, before: bytes | None) -> None:
    path = tmp_path / name
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(KeyError), atomic_file(path) as handle:
        handle.write("half")
        raise KeyError
    assert listing(tmp_path) == ([] if before is None else [name])
    assert before is None or path.read_bytes() == before


def test_keyboard_interrupt_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a") as handle:
        handle.write("half")
        raise KeyboardInterrupt
    assert listing(tmp_path) == []


def test_nothing_is_visible_before_the_end_and_parents_are_made(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.txt"
    with atomic_file(path) as handle:
        handle.write("ä\n")
        handle.flush()
        assert not path.exists()
    assert path.read_bytes() == "ä\n".encode()
    assert listing(path.parent) == ["a.txt"]


def test_gz_is_reproducible_and_readable(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        with atomic_file(tmp_path / folder / "x.tsv.gz") as handle:
            handle.write("a\tb\n" * 1000)
    one, two = (tmp_path / folder / "x.tsv.gz" for folder in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes()[3:8] == bytes(5)  # no file name, and the time 0: also equal a second later
    assert gzip.decompress(one.read_bytes()) == b"a\tb\n" * 1000


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "no space left on device; free some space"), (errno.EDQUOT, "disk quota exceeded")],
)
def test_full_disk_names_the_file_asked_for(tmp_path: Path, code: int, message: str) -> None:
    path = tmp_path / "run.trec"
    with pytest.raises(DataError) as caught, atomic_file(path) as handle:
        handle.write("x")
        raise OSError(code, os.strerror(code))
    assert str(caught.value).startswith(f"{path}: {message}")
    assert listing(tmp_path) == []


def test_device_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(DataError, match="is not a regular file"), atomic_file(pipe):
        pass
    assert pipe.is_fifo()


def test_file_where_a_directory_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a directory, cannot write a file there"), atomic_file(tmp_path):
        pass


def test_directory_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    message = r"a/b: cannot be written: (File exists|Not a directory)"
    with pytest.raises(DataError, match=message), atomic_file(tmp_path / "a" / "b"):
        pass


def test_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with atomic_directory(target) as temporary:
        (temporary / "a").write_text("1")
        assert not target.exists()
    assert listing(target) == ["a"]
    assert listing(target.parent) == ["folder"]


def test_directory_exception_leaves_nothing_and_keeps_the_old(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("1")
    with pytest.raises(KeyError), atomic_directory(target, overwrite=True) as temporary:
        (temporary / "new").write_text("1")
        raise KeyError
    assert listing(tmp_path) == ["folder"]
    assert listing(target) == ["old"]
    with atomic_directory(target, overwrite=True) as temporary:
        (temporary / "new").write_text("1")
    assert listing(target) == ["new"]
    assert listing(tmp_path) == ["folder"]


def test_full_directory_is_refused_and_empty_one_taken(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with atomic_directory(target) as temporary:
        (temporary / "a").write_text("1")
    message = "already exists and is not empty; give another path or --overwrite"
    with pytest.raises(DataError, match=message), atomic_directory(target):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DataError, match="is a file, cannot make a directory there"),
        atomic_directory(tmp_path / "file"),
    ):
        pass


def test_working_directory_as_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with atomic_directory(".") as temporary:
        (temporary / "a").write_text("1")
    assert listing(tmp_path / "here") == ["a"]


def test_lines_without_mark_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\xef\xbb\xbftwo\nthr\xe2\x80\xa8ee")
    assert list(read_lines(path)) == [(1, "one"), (2, "\ufefftwo"), (3, "thr\u2028ee")]


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_utf8_fault_has_its_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = b"good\nalso good\nbad \xff\xfe\n"
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    assert str(caught.value).startswith(f"{path}:3: not UTF-8 (bytes b'\\xff\\xfe")
    assert caught.value.line == 3


def test_damaged_gz(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    whole = gzip.compress(os.urandom(5000).hex().encode() + b"\n")
    for content in (whole[:-20], whole[: len(whole) // 2], b"this is not gzip"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"a\.gz:1: cannot be read"):
            list(read_lines(path))


def test_missing_and_wrong_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="nowhere: no such qrels file"):
        require_file(tmp_path / "nowhere", "qrels file")
    with pytest.raises(DataError, match="is a directory, not the expected qrels file"):
        require_file(tmp_path, "qrels file")
    with pytest.raises(DataError, match="file: is a file, not the expected index directory"):
        require_directory(tmp_path / "file", "index directory")
    with pytest.raises(DataError, match="nowhere: no such index directory"):
        require_directory(tmp_path / "nowhere", "index directory")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"a": 1', "invalid JSON"),
        ("[1, 2]", "expected a JSON object, found [1, 2]"),
        ("3", "expected a JSON object, found 3"),
        ("[" * 100_000, "invalid JSON"),
    ],
)
def test_jsonl_fault_has_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 0}\n\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        list(read_jsonl(path))
    assert f"{path}:3: {message}" in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.none()), max_size=5))
def test_jsonl_reads_what_json_wrote(tmp_path_factory: pytest.TempPathFactory, records: list[dict]) -> None:
    import json

    path = tmp_path_factory.mktemp("jsonl") / "a.jsonl.gz"
    with atomic_file(path) as handle:
        handle.writelines(json.dumps(record) + "\n" for record in records)
    assert [record for _, record in read_jsonl(path)] == records


def test_json_round_trip_and_fault(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": "é", "a": [1, None]})
    assert read_json(path) == {"b": "é", "a": [1, None]}
    assert path.read_text("utf-8").index('"b"') < path.read_text("utf-8").index('"a"')  # order as given
    path.write_text('{\n"a": 1,\n]')
    with pytest.raises(DataError, match=r"a\.json:3: invalid JSON"):
        read_json(path)
    path.write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"a\.json: invalid JSON"):
        read_json(path)


@pytest.fixture
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a user without `$HOME` and entry in passwd; the directory for temporary files is `tmp_path`."""

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("PYSERINI_SDR_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"pyserini_sdr-{os.getuid()}"


def test_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, homeless: Path) -> None:
    assert cache_folder("onnx", "key") == homeless / "onnx" / "key"
    assert listing(tmp_path) == [homeless.name] and homeless.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("onnx") == tmp_path / "home" / ".cache" / "pyserini_sdr" / "onnx"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("onnx") == tmp_path / "xdg" / "pyserini_sdr" / "onnx"
    monkeypatch.setenv("PYSERINI_SDR_CACHE", str(tmp_path / "own"))
    assert cache_folder("onnx") == tmp_path / "own" / "onnx"
    assert listing(tmp_path) == [homeless.name]


@pytest.mark.parametrize("what", ["writable by all", "link", "of another", "file"])
def test_cache_folder_that_others_can_change_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, homeless: Path, what: str
) -> None:
    if what == "writable by all":
        homeless.mkdir()
        homeless.chmod(0o777)
    elif what == "link":
        homeless.symlink_to(tmp_path, target_is_directory=True)
    elif what == "file":
        homeless.write_text("")
    else:
        (tmp_path / "pyserini_sdr-12345").mkdir()
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(DataError, match=r"pyserini_sdr-\d+: .* a cache.*; set PYSERINI_SDR_CACHE"):
        cache_folder()


def test_what_a_killed_writer_left_goes_and_what_another_one_writes_stays(tmp_path: Path) -> None:
    for name in (".out.txt.partial-0", ".out.partial-0", ".out2.partial-0"):
        (tmp_path / name).mkdir() if name == ".out.partial-0" else (tmp_path / name).write_text("half")
    with atomic_file(tmp_path / "out.txt") as one:
        one.write("1")
        with atomic_file(tmp_path / "out.txt") as other:  # as another process would
            other.write("2")
    with atomic_directory(tmp_path / "out") as first:
        (first / "x").write_text("1")
        remove_stale(tmp_path / "out")
        assert (first / "x").exists()
    assert (tmp_path / "out.txt").read_text() == "1"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out2.partial-0", "out", "out.txt"]


def test_a_folder_is_discarded_whole_by_who_is_told_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = tmp_path / ".work"
    for name in ("a", "b", "c"):
        (work / name).mkdir(parents=True)
    remove, seen = os.rmdir, []

    def stopped(path, **options):
        seen.append(path)
        remove(path, **options)
        if len(seen) == 1:
            assert not work.exists(), "nobody meets half of it under its name"
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "rmdir", stopped)
    with pytest.raises(KeyboardInterrupt):
        discard(work)
    assert list(tmp_path.iterdir()) == []
