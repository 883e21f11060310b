"""The order of training documents: each once per epoch, from any place, without reading more than a buffer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pyserini_sdr.data.corpus import scan_corpus
from pyserini_sdr.data.records import DocumentParser
from pyserini_sdr.pretrain.stream import DocumentStream

HELD_OUT = [0, 7, 99]


def corpus(folder: Path, name: str = "corpus.jsonl", count: int = 100):
    lines = "".join(json.dumps({"id": f"d{number}", "contents": f"text {number}"}) + "\n" for number in range(count))
    path = folder / name
    path.write_bytes(gzip.compress(lines.encode()) if name.endswith(".gz") else lines.encode())
    return scan_corpus(path)


def ids(stream: DocumentStream, first: int, number: int) -> list[str]:
    return [one.document.id for one in stream.take(first, number)]


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
@pytest.mark.parametrize("buffer", [1, 16, 1000])
def test_every_document_comes_once_an_epoch(tmp_path, name, buffer):
    stream = DocumentStream(corpus(tmp_path, name), HELD_OUT, buffer=buffer, seed=0)
    assert stream.size == 97
    for epoch in range(2):
        found = list(stream.take(epoch * 97, 97))
        assert {one.epoch for one in found} == {epoch}
        assert sorted(one.position for one in found) == sorted(set(range(100)) - set(HELD_OUT))
        assert all(one.document.id == f"d{one.position}" for one in found)


@pytest.mark.parametrize("buffer", [16, 1000])
def test_the_order_is_a_function_of_seed_and_epoch(tmp_path, buffer):
    scanned = corpus(tmp_path)
    stream = DocumentStream(scanned, HELD_OUT, buffer=buffer, seed=0)
    whole = ids(stream, 0, 300)
    assert whole[:97] != whole[97:194] != sorted(whole[97:194])
    again = DocumentStream(scanned, HELD_OUT, buffer=buffer, seed=0)
    assert ids(again, 150, 20) == whole[150:170] and ids(again, 3, 20) == whole[3:23]
    assert ids(DocumentStream(scanned, HELD_OUT, buffer=buffer, seed=1), 0, 97) != whole[:97]


def test_no_more_is_read_than_the_buffer(tmp_path, monkeypatch):
    scanned = corpus(tmp_path, count=5000)
    read = []
    parse = DocumentParser.parse
    monkeypatch.setattr(DocumentParser, "parse", lambda self, *rest: read.append(1) or parse(self, *rest))
    stream = DocumentStream(scanned, HELD_OUT, buffer=1024, seed=0)
    ids(stream, 4000, 32)
    assert 1024 <= len(read) <= 1026  # lines before a block are not parsed
    ids(stream, 4032, 32)
    assert len(read) <= 1026  # the same buffer


def test_blocks_of_a_compressed_corpus_keep_their_order(tmp_path):
    stream = DocumentStream(corpus(tmp_path, "corpus.jsonl.gz"), [], buffer=10, seed=0)
    found = [int(one[1:]) // 10 for one in ids(stream, 0, 100)]
    assert found == sorted(found) and ids(stream, 0, 10) != [f"d{n}" for n in range(10)]
