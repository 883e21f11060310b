"""Random access to texts by id."""

from __future__ import annotations

import gzip
import json
import pickle
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.data.store import DocumentStore

from .test_corpus import IDS, TEXTS, write


@given(st.dictionaries(IDS, TEXTS, min_size=1, max_size=8), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.booleans())
def test_every_text_is_found(tmp_path_factory: pytest.TempPathFactory, texts: dict, mark: bytes, packed: bool) -> None:
    folder = tmp_path_factory.mktemp("store")
    lines = [json.dumps({"id": id, "contents": text}, ensure_ascii=False) for id, text in texts.items()]
    data = mark + ("\n\n".join(lines)).encode()
    (folder / "c.jsonl.gz").write_bytes(gzip.compress(data)) if packed else (folder / "c.jsonl").write_bytes(data)
    store = DocumentStore(folder, progress=False)
    assert len(store) == len(texts)
    assert {id: store[id] for id in texts} == texts
    assert store.missing([*texts, "no such", "no such"]) == ["no such"]


def test_long_lines_and_several_files(tmp_path: Path) -> None:
    texts = {f"d{i}": f"{i} " * (1 + 7_000 * (i % 3)) + "end" for i in range(9)}
    for part in range(3):
        rows = [{"id": id, "contents": text} for id, text in list(texts.items())[part::3]]
        write(tmp_path / f"{part}.jsonl", *rows)
    store = DocumentStore(tmp_path, progress=False)
    assert {id: store[id] for id in texts} == texts
    again = pickle.loads(pickle.dumps(store))
    assert again["d5"] == texts["d5"]


def test_faults(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", {"id": "a", "contents": "x"}, {"id": "b", "contents": "y"})
    store = DocumentStore(path, progress=False)
    assert "a" in store and "c" not in store and 3 not in store
    with pytest.raises(DataError, match="no document 'c' in the corpus"):
        store["c"]
    write(path, {"id": "a", "contents": "x"}, {"id": "a", "contents": "y"})
    with pytest.raises(DataError, match=r"c\.jsonl:2: duplicate document id 'a', first at .*c\.jsonl:1"):
        DocumentStore(path, progress=False)
    path.write_bytes(b'{"id":"a","contents":"x"}\n\xff\n')
    with pytest.raises(DataError, match=r"c\.jsonl:2: not UTF-8"):
        DocumentStore(path, progress=False)
    packed = tmp_path / "p.jsonl.gz"
    packed.write_bytes(gzip.compress(b'{"id":"a","contents":"x"}\n' * 50)[:-20])
    with pytest.raises(DataError, match=r"p\.jsonl\.gz: cannot be read"):
        DocumentStore(packed, progress=False)


def test_holds_no_texts(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    with path.open("w") as handle:
        for number in range(10_000):
            handle.write(json.dumps({"id": f"d{number:06d}", "contents": "word " * 100}) + "\n")
    tracemalloc.start()
    try:
        store = DocumentStore(path, progress=False)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store) == 10_000
    assert held < 10_000 * 30 + 200_000  # the texts are 5 MB
