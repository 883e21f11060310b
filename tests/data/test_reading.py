"""Reading stretches of a corpus from known places."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data import corpus as corpus_module
from pyserini_sdr.data import reading
from pyserini_sdr.data.corpus import iter_documents, scan_corpus
from pyserini_sdr.data.reading import StretchReader
from pyserini_sdr.data.records import DocumentParser
from pyserini_sdr.data.store import DocumentStore

COUNT = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty documents in a plain file with a byte order mark and blank lines, a packed one, and a plain one."""
    path = tmp_path_factory.mktemp("reading")
    lines = [f'{{"id": "d{n}", "contents": "é text {n}"}}\n'.encode() for n in range(COUNT)]
    (path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines[:25]))
    (path / "b.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[25:45])))
    (path / "c.jsonl").write_bytes(b"\n  \n" + b"".join(lines[45:]))
    return path


@settings(deadline=None, max_examples=60)
@given(
    every=st.integers(1, 70),
    jump=st.integers(0, 30),
    stretches=st.lists(st.tuples(st.integers(0, COUNT + 3), st.integers(0, 20)), min_size=1, max_size=8),
    ordered=st.booleans(),
)
def test_stretches(folder: Path, every: int, jump: int, stretches: list[tuple[int, int]], ordered: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus_module, "_BLOCK", every)
        patch.setattr(reading, "_JUMP", jump)
        summary = scan_corpus(folder, progress=False)
        assert [place.position for place in summary.places] == list(range(0, COUNT, every))
        reader = StretchReader(summary.files, DocumentParser(), summary.places)
        for start, size in sorted(stretches) if ordered else stretches:
            expected = [f"d{n}" for n in range(start, min(start + size, COUNT))]
            assert [document.id for document in reader.read(start, start + size)] == expected
            found = iter_documents(folder, start=start, stop=start + size, places=summary.places)
            assert [document.id for document in found] == expected


def test_ascending_stretches_unpack_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_BLOCK", 4)
    monkeypatch.setattr(reading, "_JUMP", 4)
    opened: list[str] = []
    real = reading.open_binary
    summary = scan_corpus(folder, progress=False)
    monkeypatch.setattr(reading, "open_binary", lambda path: opened.append(path.name) or real(path))
    reader = StretchReader(summary.files, DocumentParser(), summary.places)
    for start in (0, 10, 26, 34, 42, 50):
        reader.read(start, start + 2)
    assert opened.count("b.jsonl.gz") == 1


def test_faults_name_the_line_after_a_jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_module, "_BLOCK", 2)
    path = tmp_path / "c.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "contents": "x"}}\n\n' for n in range(9)))
    summary = scan_corpus(path, progress=False)
    path.write_text(path.read_text().replace('"7", "contents": "x"', '"7", "contents":  3 '))
    with pytest.raises(DataError, match=r"c\.jsonl:15: 'contents' must be a string, found 3"):
        StretchReader(summary.files, DocumentParser(), summary.places).read(6, 9)


def test_size_of_ids(folder: Path) -> None:
    assert scan_corpus(folder, progress=False).id_bytes == sum(len(f"d{n}\n") for n in range(COUNT))


def test_a_damaged_archive_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    lines = "".join(f'{{"id": "d{number}", "contents": "words {number * 7919}"}}\n' for number in range(2000))
    raw = bytearray(gzip.compress(lines.encode()))
    seen = set()
    for place in range(200, len(raw) - 100, len(raw) // 25):
        broken = bytearray(raw)
        broken[place : place + 40] = bytes(byte ^ 0xFF for byte in broken[place : place + 40])
        path.write_bytes(bytes(broken))
        with pytest.raises(DataError) as caught:
            list(iter_documents(path))
        seen.add(type(caught.value.__cause__).__name__)
        with pytest.raises(DataError):
            DocumentStore(path, progress=False)
    assert "error" in seen  # zlib's, which is no OSError
