"""BM25: building an index and searching it in process."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pyserini_sdr.anserini.bm25 import BM25Searcher, build_bm25_index
from pyserini_sdr.anserini.bm25_index import MANIFEST
from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.core.manifest import read_manifest
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.trec.topics import read_topics

pytestmark = pytest.mark.usefixtures("found_java")


@pytest.fixture(scope="module")
def tiny_index(found_java, tiny_collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bm25") / "lucene"
    build_bm25_index(tiny_collection, path, threads=2)
    return path


def write_corpus(path: Path, documents: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"id": k, "contents": v}) + "\n" for k, v in documents.items()), "utf-8")
    return path


def test_index_holds_every_document_and_a_manifest(tiny_index: Path, tiny_collection: Path):
    manifest = read_manifest(tiny_index / MANIFEST)
    with BM25Searcher(tiny_index) as searcher:
        assert searcher.num_documents == manifest["documents"] == len(list(iter_documents(tiny_collection)))
    assert manifest["kind"] == "bm25 index"
    assert sorted(p.name for p in tiny_index.parent.iterdir()) == [tiny_index.name]  # nothing temporary stays


def test_search_finds_the_known_items(tiny_index: Path, tiny_collection: Path):
    topics = read_topics(tiny_collection / "topics.test.tsv")
    with BM25Searcher(tiny_index) as searcher:
        results = list(searcher.search_batch(topics, hits=10, threads=2))
    assert [qid for qid, _, _ in results] == list(topics)
    found = sum(f"d{qid[1:]}" in docids for qid, docids, _ in results)
    assert found > len(topics) * 0.7
    for _, docids, scores in results:
        assert scores.dtype == np.float32
        assert len(docids) == len(scores) <= 10
        assert (np.diff(scores) <= 0).all()


def test_chunks_do_not_change_results(tiny_index: Path, tiny_collection: Path, monkeypatch: pytest.MonkeyPatch):
    topics = read_topics(tiny_collection / "topics.test.tsv")
    with BM25Searcher(tiny_index) as searcher:
        together = [(q, d, s.tolist()) for q, d, s in searcher.search_batch(topics, hits=5, threads=2)]
        monkeypatch.setattr("pyserini_sdr.anserini.bm25._CHUNK_HITS", 1)
        alone = [(q, d, s.tolist()) for q, d, s in searcher.search_batch(topics, hits=5, threads=1)]
    assert alone == together


def test_ties_at_the_cut_off_go_by_docid(found_java, tmp_path: Path):
    corpus = write_corpus(tmp_path / "c.jsonl", {f"d{n}": "heron marsh" for n in (9, 3, 7, 1, 5, 2, 8)})
    rankings = []
    for threads in (1, 3):
        build_bm25_index(corpus, tmp_path / f"i{threads}", threads=threads)
        with BM25Searcher(tmp_path / f"i{threads}") as searcher:
            rankings += [docids for _, docids, _ in searcher.search_batch({"1": "heron"}, hits=3)]
    assert rankings == [["d1", "d2", "d3"]] * 2


def test_queries_of_all_kinds(found_java, tmp_path: Path):
    corpus = write_corpus(tmp_path / "c.jsonl", {"007": "naïve 中文 😀 heron", "7": "marsh w1 w2 w3"})
    build_bm25_index(corpus, tmp_path / "i")
    topics = {"007": "HERONS 😀", "stop": "the of", "none": "zebra", "long": " ".join(f"w{n}" for n in range(5000))}
    with BM25Searcher(tmp_path / "i", k1=0.82, b=0.68) as searcher:
        results = {qid: (docids, scores) for qid, docids, scores in searcher.search_batch(topics)}
    assert results["007"][0] == ["007"]
    assert results["stop"][0] == results["none"][0] == []
    assert results["none"][1].shape == (0,)
    assert results["long"][0] == ["7"]  # more terms than Lucene's default limit


def test_k1_and_b_change_scores(tiny_index: Path):
    def scores(**parameters: float) -> list[float]:
        with BM25Searcher(tiny_index, **parameters) as searcher:
            return next(searcher.search_batch({"q": "river garden"}, hits=5))[2].tolist()

    assert scores() == scores(k1=0.9, b=0.4) != scores(k1=0.82, b=0.68)
    with pytest.raises(UsageError, match="b lie between 0 and 1"):
        scores(b=1.5)


def test_beir_fields_are_indexed(found_java, tmp_path: Path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "Heron", "text": "of the marsh"}\n')
    build_bm25_index(tmp_path / "corpus.jsonl", tmp_path / "i")
    with BM25Searcher(tmp_path / "i") as searcher:
        assert [d for _, d, _ in searcher.search_batch({"1": "heron", "2": "marsh"})] == [["a"], ["a"]]


def test_existing_index_is_refused_unless_overwritten(tiny_index: Path, tmp_path: Path):
    corpus = write_corpus(tmp_path / "c.jsonl", {"a": "heron"})
    build_bm25_index(corpus, tmp_path / "i")
    with pytest.raises(DataError, match="already exists and is not empty; give another path or --overwrite"):
        build_bm25_index(corpus, tmp_path / "i")
    write_corpus(corpus, {"a": "heron", "b": "marsh"})
    assert build_bm25_index(corpus, tmp_path / "i", overwrite=True)["documents"] == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "b", "contents": ""}', r"c\.jsonl:2: .*empty"),
        ('{"id": "b"', r"c\.jsonl:2: invalid JSON"),
        ('{"contents": "x"}', r"c\.jsonl:2: .*id"),
        ('{"id": "a", "contents": "x"}', r"c\.jsonl:2: duplicate document id 'a', first at .*c\.jsonl:1"),
    ],
)
def test_bad_document_leaves_nothing(tmp_path: Path, line: str, message: str):
    (tmp_path / "c.jsonl").write_text('{"id": "a", "contents": "heron"}\n' + line + "\n")
    with pytest.raises(DataError, match=message):
        build_bm25_index(tmp_path / "c.jsonl", tmp_path / "i")
    assert [p.name for p in tmp_path.iterdir()] == ["c.jsonl"]


def test_what_is_not_an_index(tmp_path: Path):
    with pytest.raises(DataError, match="no such Lucene index"):
        BM25Searcher(tmp_path / "none")
    with pytest.raises(DataError, match=r"not a Lucene index \(no segments file\); build it"):
        BM25Searcher(tmp_path)
    (tmp_path / "segments_1").write_text("broken")
    with pytest.raises(DataError, match="cannot be opened by Lucene"):
        BM25Searcher(tmp_path)


def test_hits_must_be_positive(tiny_index: Path):
    with BM25Searcher(tiny_index) as searcher, pytest.raises(UsageError, match="hits=0"):
        searcher.search_batch({"q": "river"}, hits=0)


def test_java_without_enough_memory_is_told_with_the_remedy(tiny_index: Path, monkeypatch: pytest.MonkeyPatch):
    from jnius import JavaException

    def full(*_: object) -> None:
        raise JavaException("JVM exception occurred: Java heap space java.lang.OutOfMemoryError")

    with BM25Searcher(tiny_index) as searcher:
        monkeypatch.setattr(searcher, "_searcher", SimpleNamespace(batch_search=full, close=searcher._searcher.close))
        with pytest.raises(SdrError, match=r"OutOfMemoryError; let Java have more: _JAVA_OPTIONS=-Xmx8g"):
            list(searcher.search_batch({"1": "heron"}, progress=False))
