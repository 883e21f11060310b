"""Streaming corpora: what is read, what is refused and where."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.corpus import Document, corpus_files, iter_documents, scan_corpus
from pyserini_sdr.data.records import DocumentParser

IDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=8)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


def write(path: Path, *records: object) -> Path:
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


@given(st.lists(st.tuples(IDS, TEXTS), min_size=1, max_size=5), st.booleans())
def test_any_json_line_reads_back(tmp_path_factory: pytest.TempPathFactory, rows: list, ascii_only: bool) -> None:
    path = tmp_path_factory.mktemp("c") / "c.jsonl"
    with path.open("w", encoding="utf-8", newline="\n") as handle:
        for id, text in rows:
            handle.write(json.dumps({"id": id, "contents": text}, ensure_ascii=ascii_only) + "\n")
    assert list(iter_documents(path)) == [Document(id, text) for id, text in rows]


def test_default_fields(tmp_path: Path) -> None:
    path = write(
        tmp_path / "c.jsonl",
        {"id": "007", "contents": "T x", "title": "T"},
        "",
        {"_id": "b", "title": "Big", "text": "words"},
        {"docid": 12, "title": "", "text": "only text"},
        {"id": "d", "title": None, "text": "t"},
    )
    assert list(iter_documents(path)) == [
        Document("007", "T x", "T"),
        Document("b", "Big words", "Big"),
        Document("12", "only text"),
        Document("d", "t"),
    ]


def test_start_stop_over_files(tmp_path: Path) -> None:
    for name, start in (("b", 3), ("a", 0), ("c", 6)):
        write(tmp_path / f"{name}.jsonl", *({"id": str(i), "contents": "x"} for i in range(start, start + 3)))
    ids = [document.id for document in iter_documents(tmp_path)]
    assert ids == [str(i) for i in range(9)]
    for start in range(10):
        for stop in [*range(10), None]:
            assert [d.id for d in iter_documents(tmp_path, start=start, stop=stop)] == ids[start:stop]


def test_lines_before_start_are_not_parsed(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", "broken", {"id": "a", "contents": "x"})
    assert [document.id for document in iter_documents(path, start=1)] == ["a"]


@pytest.mark.parametrize(
    ("record", "fields", "expected"),
    [
        ({"id": "a", "title": " T ", "text": " x "}, ["title", "text"], Document("a", "x", "T")),
        ({"id": "a", "title": "", "text": "x"}, ["title", "text"], Document("a", "x", "")),
        ({"id": "a", "contents": "T\nx"}, ["title", "text"], Document("a", "x", "T")),
        ({"id": "a", "contents": "T\nx\n"}, ["title", "text"], Document("a", "x", "T")),
        ({"id": "a", "contents": "just this"}, ["text"], Document("a", "just this")),
        ({"id": "a", "contents": "u\nT\nx"}, ["url", "title", "text"], Document("a", "x", "T")),
    ],
)
def test_stock_fields(tmp_path: Path, record: dict, fields: list[str], expected: Document) -> None:
    assert list(iter_documents(write(tmp_path / "c.jsonl", record), fields=fields)) == [expected]


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [
        ("{", {}, "invalid JSON"),
        ("[1]", {}, "expected a JSON object"),
        ({"contents": "x"}, {}, "no document id"),
        ({"id": "", "contents": "x"}, {}, "empty id"),
        ({"id": "a b", "contents": "x"}, {}, "'a b' contains white space"),
        ({"id": 1.5, "contents": "x"}, {}, "1.5 is not a string"),
        ({"id": True, "contents": "x"}, {}, "True is not a string"),
        ({"id": "a\ud800", "contents": "x"}, {}, "not valid Unicode"),
        ({"id": "a", "contents": "x\udfff"}, {}, "not valid Unicode"),
        ({"id": "a", "contents": "  \n"}, {}, "document 'a' has an empty text"),
        ({"id": "a", "contents": None}, {}, "'contents' must be a string, found None"),
        ({"id": "a", "body": "x"}, {}, "neither 'contents' nor 'text'"),
        ({"id": "a", "contents": "x"}, {"docid_field": "pid"}, "none of the keys pid"),
        ({"id": "a", "contents": "x\ny\nz"}, {"fields": ["title", "text"]}, "has 3 fields"),
        ({"id": "a", "title": "x", "text": ""}, {"fields": ["title", "text"]}, "empty text"),
        ({"id": "a", "title": "x"}, {"fields": ["title", "text"]}, "neither the fields title, text"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, record: object, options: dict, message: str) -> None:
    good = {"id": "g", "pid": "g", "contents": "T\nx"}
    path = write(tmp_path / "c.jsonl", good, record)
    with pytest.raises(DataError) as caught:
        list(iter_documents(path, **options))
    assert str(caught.value).startswith(f"{path}:2: ") and message in str(caught.value)


def test_not_utf8_names_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"id":"a","contents":"x"}\n{"id":"b","contents":"\xff"}\n')
    with pytest.raises(DataError, match=r"c\.jsonl:2: not UTF-8"):
        list(iter_documents(path))


def test_fields_without_text_is_usage_error() -> None:
    with pytest.raises(UsageError, match="'text' must be among"):
        DocumentParser(fields=["title"])


def test_which_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such corpus"):
        corpus_files(tmp_path / "none")
    with pytest.raises(DataError, match="no corpus here"):
        corpus_files(tmp_path)
    write(tmp_path / "docs01.json", {})
    write(tmp_path / "collection.json", {})
    assert [f.name for f in corpus_files(tmp_path)] == ["docs01.json"]
    write(tmp_path / "topics.jsonl", {})
    flat = write(tmp_path / "corpus.jsonl", {})
    assert corpus_files(tmp_path) == [flat]
    (tmp_path / "corpus").mkdir()
    write(tmp_path / "corpus" / "b.jsonl", {})
    write(tmp_path / "corpus" / "a.jsonl.gz", {})
    write(tmp_path / "corpus" / ".a.jsonl.partial-1", {})
    write(tmp_path / "corpus" / "notes.txt", {})
    assert [f.name for f in corpus_files(tmp_path)] == ["a.jsonl.gz", "b.jsonl"]


def test_digest_depends_on_documents_only(tmp_path: Path) -> None:
    records = [{"id": f"d{i}", "contents": f"text {i}"} for i in range(6)]
    one = write(tmp_path / "one.jsonl", *records)
    parts = tmp_path / "parts"
    parts.mkdir()
    write(parts / "a.jsonl", *records[:2])
    with gzip.open(parts / "b.jsonl.gz", "wt", encoding="utf-8") as handle:
        handle.writelines(json.dumps(record) + "\n" for record in records[2:])
    first, second = scan_corpus(one, progress=False), scan_corpus(parts, progress=False)
    assert (first.count, first.sha256) == (second.count, second.sha256) == (6, first.sha256)
    changed = write(tmp_path / "changed.jsonl", *records[:5], {"id": "d5", "contents": "text 5 "})
    assert scan_corpus(changed, progress=False).sha256 != first.sha256


def test_duplicate_id_names_both_lines(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", {"id": "x", "contents": "1"}, {"id": "y", "contents": "2"})
    write(tmp_path / "b.jsonl", {"id": "z", "contents": "3"}, {"id": "y", "contents": "2"})
    with pytest.raises(DataError) as caught:
        scan_corpus(tmp_path, progress=False)
    assert str(caught.value).startswith(f"{tmp_path / 'b.jsonl'}:2: duplicate document id 'y', first at ")
    assert f"{tmp_path / 'a.jsonl'}:2" in str(caught.value)


def test_empty_corpus(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("\n\n")
    with pytest.raises(DataError, match="has no documents"):
        scan_corpus(path, progress=False)


def test_scan_holds_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    with path.open("w") as handle:
        for number in range(20_000):
            handle.write(json.dumps({"id": f"d{number:06d}", "contents": "word " * 50}) + "\n")
    tracemalloc.start()
    try:
        assert scan_corpus(path, progress=False).count == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000 * 40 + 400_000  # the texts are 5 MB
