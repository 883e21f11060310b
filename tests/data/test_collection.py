"""Collection directories."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import scan_corpus

from ..tiny import make_tiny_collection
from .test_corpus import write


def test_tiny(tiny_collection: Path) -> None:
    collection = Collection.open(tiny_collection)
    assert collection.splits == ["train", "dev", "test"]
    assert collection.corpus == tiny_collection / "corpus"
    assert scan_corpus(collection.corpus, progress=False).count == 60
    pairs = collection.pairs()
    assert len(pairs) == 36 and pairs[0] == ("q000", "d000")
    assert {qid for qid, _ in pairs} == set(collection.topics("train"))
    assert collection.qrels("test")["q059"] == {"d059": 1}
    assert collection.manifest is None


def test_tiny_is_deterministic(tmp_path: Path, tiny_collection: Path) -> None:
    again = make_tiny_collection(tmp_path / "again")
    for file in sorted(path for path in tiny_collection.rglob("*") if path.is_file()):
        assert file.read_bytes() == (again / file.relative_to(tiny_collection)).read_bytes()


def test_pairs_from_qrels(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl", {"id": "d1", "contents": "x"})
    with pytest.raises(DataError, match="no training pairs"):
        Collection.open(tmp_path).pairs()
    (tmp_path / "qrels.train.txt").write_text("007 0 d1 1\n007 0 d2 0\n8 0 d1 2\n")
    assert Collection.open(tmp_path).pairs() == [("007", "d1"), ("8", "d1")]
    (tmp_path / "train.pairs.tsv").write_text("9\td3\n9\td3\n9\td1\n")
    assert Collection.open(tmp_path).pairs() == [("9", "d3"), ("9", "d1")]


@pytest.mark.parametrize("line", ["9 d3", "9\td3\t1", "9\t", "9\td 3"])
def test_bad_pairs(tmp_path: Path, line: str) -> None:
    write(tmp_path / "corpus.jsonl", {"id": "d1", "contents": "x"})
    (tmp_path / "train.pairs.tsv").write_text(f"1\td1\n{line}\n")
    with pytest.raises(DataError, match=r"train\.pairs\.tsv:2: expected query id, tab, document id"):
        Collection.open(tmp_path).pairs()


def test_unknown_split(tiny_collection: Path) -> None:
    with pytest.raises(UsageError, match="unknown split 'tset'; did you mean 'test'"):
        Collection.open(tiny_collection).topics("tset")
    with pytest.raises(UsageError, match="unknown split with qrels 'tset'"):
        Collection.open(tiny_collection).qrels("tset")


def test_no_collection(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such collection directory"):
        Collection.open(tmp_path / "none")
    with pytest.raises(DataError, match="no corpus here"):
        Collection.open(tmp_path)


def test_real_splits(shared_data: Path) -> None:
    collection = Collection.open(shared_data / "wiki-union")
    assert collection.splits == ["train", "dev.nq", "dev.squad", "test.nq", "test.squad"]
    assert collection.corpus.name == "corpus.jsonl"
    assert len(collection.pairs()) == 88_753
