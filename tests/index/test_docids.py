"""`DocIds` reads what a list of the file's lines holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.index import docids
from pyserini_sdr.index.docids import DocIds, read_docids

IDS = st.text(st.characters(exclude_characters="\r\n\ufeff", exclude_categories=("Cs",)), min_size=1, max_size=9)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(IDS, max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
def test_reads_every_line(tmp_path: Path, ids: list[str], end: str, last: bool, mark: bool) -> None:
    content = end.join(ids) + (end if last and ids else "")
    (tmp_path / "docid").write_bytes((b"\xef\xbb\xbf" if mark else b"") + content.encode())
    if mark and not ids:
        return
    found = DocIds(tmp_path / "docid")
    assert len(found) == len(ids) and list(found) == ids and found == ids
    assert [found[n] for n in range(-len(ids), len(ids))] == ids * 2
    assert found[1:5:2] == ids[1:5:2] and found[::-1] == ids[::-1]


@pytest.mark.parametrize(
    ("content", "line"), [(b"a\n\nb\n", 2), (b"\na\n", 1), (b"a\n\r\n", 2), (b"\xef\xbb\xbf\na\n", 1), (b"\n", 1)]
)
def test_empty_line(tmp_path: Path, content: bytes, line: int) -> None:
    (tmp_path / "docid").write_bytes(content)
    with pytest.raises(DataError, match=f"docid:{line}: empty document id"):
        DocIds(tmp_path / "docid")


def test_faults_of_access(tmp_path: Path) -> None:
    (tmp_path / "docid").write_bytes(b"a\nb\xff\n")
    found = DocIds(tmp_path / "docid")
    assert found[0] == "a"
    with pytest.raises(DataError, match=r"docid:2: not UTF-8 \(b'b\\xff'\)"):
        found[1]
    for position in (2, -3):
        with pytest.raises(IndexError):
            found[position]


def test_long_files_stay_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docid").write_text("".join(f"{n}\n" for n in range(5000)))
    assert isinstance(read_docids(tmp_path / "docid"), list)
    monkeypatch.setattr(docids, "_LARGE", 100)
    monkeypatch.setattr(docids, "_BLOCK", 77)
    found = read_docids(tmp_path / "docid")
    assert isinstance(found, DocIds) and list(found) == [str(n) for n in range(5000)]
