"""Collections from other layouts, and writing collections."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import Document, iter_documents
from pyserini_sdr.data.external import beir_material, ir_datasets_material, msmarco_material
from pyserini_sdr.data.material import write_collection

from .test_corpus import write


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "qrels").mkdir(parents=True)
    write(folder / "corpus.jsonl", *({"_id": f"d{i}", "title": f"T{i}", "text": f"x{i}"} for i in range(9)))
    write(folder / "queries.jsonl", *({"_id": f"q{i}", "text": f"ask\t for {i}"} for i in range(6)))
    header = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels" / "train.tsv").write_text(header + "q0\td0\t1\nq0\td1\t0\nq1\td8\t2\n")
    (folder / "qrels" / "test.tsv").write_text(header + "q5\td5\t1\nq4\td4\t1\nq4\td3\t1\n")
    return folder


def convert(source: Path, target: Path, **options) -> Collection:
    write_collection(target, lambda: beir_material(source), config={}, **options)
    return Collection.open(target)


def test_beir(beir: Path, tmp_path: Path) -> None:
    collection = convert(beir, tmp_path / "c")
    assert list(iter_documents(collection.corpus))[3] == Document("d3", "T3 x3", "T3")
    assert collection.splits == ["train", "test"]
    assert collection.topics("test") == {"q4": "ask for 4", "q5": "ask for 5"}
    assert collection.qrels("train") == {"q0": {"d0": 1, "d1": 0}, "q1": {"d8": 2}}
    assert collection.pairs() == [("q0", "d0"), ("q1", "d8")]
    manifest = collection.manifest
    assert manifest is not None
    assert manifest["counts"] == {
        "documents": 9, "train_queries": 2, "train_pairs": 2, "test_queries": 2,
    }  # fmt: skip
    assert [Path(file["path"]).name for file in manifest["inputs"]] == [
        "corpus.jsonl", "queries.jsonl", "train.tsv", "test.tsv",
    ]  # fmt: skip


def test_judged_documents_are_kept_first(beir: Path, tmp_path: Path) -> None:
    collection = convert(beir, tmp_path / "c", max_documents=6)
    assert [document.id for document in iter_documents(collection.corpus)] == ["d0", "d1", "d3", "d4", "d5", "d8"]
    collection = convert(beir, tmp_path / "d", max_documents=4)
    assert [document.id for document in iter_documents(collection.corpus)] == ["d0", "d3", "d4", "d5"]
    assert collection.qrels("train") == {"q0": {"d0": 1}}
    assert list(collection.topics("train")) == ["q0"]


def test_absent_documents(beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (beir / "qrels" / "test.tsv").open("a") as handle:
        handle.write("q4\td99\t1\nq3\td98\t1\n")
    with pytest.raises(DataError, match=r"test\.tsv: document 'd99', judged for query 'q4', is not in the corpus"):
        convert(beir, tmp_path / "c")
    assert not (tmp_path / "c").exists() and {path.name for path in tmp_path.iterdir()} == {"source"}
    collection = convert(beir, tmp_path / "c", drop_invalid=True)
    assert "left out 2 judgments" in capsys.readouterr().err
    assert collection.qrels("test") == {"q5": {"d5": 1}, "q4": {"d4": 1, "d3": 1}}


def test_bad_documents(beir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (beir / "corpus.jsonl").open("a") as handle:
        handle.write('{"_id": "e", "title": "", "text": ""}\nbroken\n')
    with pytest.raises(DataError, match=r"corpus\.jsonl:10: document 'e' has an empty text"):
        convert(beir, tmp_path / "c")
    collection = convert(beir, tmp_path / "c", drop_invalid=True)
    assert sum(1 for _ in iter_documents(collection.corpus)) == 9
    assert "left out 2 bad documents, the first: " in capsys.readouterr().err


def test_overwrite(beir: Path, tmp_path: Path) -> None:
    convert(beir, tmp_path / "c")
    called = []

    def make():
        called.append(True)
        return beir_material(beir)

    with pytest.raises(SdrError, match="already exists and is not empty; give another path or --overwrite"):
        write_collection(tmp_path / "c", make, config={})
    assert not called
    write_collection(tmp_path / "c", make, config={}, overwrite=True)
    assert called


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("queries.jsonl", '{"_id": "q0"}\n', r"queries\.jsonl:1: query 'q0' has no text"),
        ("queries.jsonl", '{"text": "x"}\n', r"queries\.jsonl:1: query id: id None is not a string"),
        ("queries.jsonl", '{"_id":"a","text":"x"}\n' * 2, r"queries\.jsonl:2: duplicate query id 'a'"),
        ("queries.jsonl", '{"_id":"a","text":"x"}\n', r"train\.tsv: query 'q0' is judged but has no text"),
        ("corpus.jsonl", '{"_id":"d0","text":"x"}\n' * 2, r"duplicate document id 'd0'"),
    ],
)
def test_faults_of_beir_folders(beir: Path, tmp_path: Path, name: str, text: str, message: str) -> None:
    (beir / name).write_text(text)
    with pytest.raises(DataError, match=message):
        convert(beir, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_missing_files(tmp_path: Path) -> None:
    for make in (beir_material, msmarco_material):
        with pytest.raises(DataError, match="no such"):
            make(tmp_path / "none")
    with pytest.raises(DataError, match=r"corpus\.jsonl: no such file"):
        beir_material(tmp_path)
    with pytest.raises(DataError, match=r"collection\.tsv: no such file"):
        msmarco_material(tmp_path)


def test_msmarco(tmp_path: Path) -> None:
    source = tmp_path / "msmarco"
    source.mkdir()
    with gzip.open(source / "collection.tsv.gz", "wt") as handle:
        handle.write("".join(f"{i}\tpassage {i}\n" for i in range(5)))
    (source / "queries.train.tsv").write_text("11\tfirst\n12\tsecond\n13\tunjudged\n")
    (source / "qrels.train.tsv").write_text("11\t0\t0\t1\n12\t0\t3\t1\n")
    (source / "queries.dev.tsv").write_text("21\tthird\n22\tfourth\n")
    (source / "qrels.dev.tsv").write_text("21\t0\t2\t1\n22\t0\t4\t1\n")
    (source / "qrels.dev.small.tsv").write_text("22\t0\t4\t1\n")
    write_collection(tmp_path / "c", lambda: msmarco_material(source), config={})
    collection = Collection.open(tmp_path / "c")
    assert collection.splits == ["train", "dev"]
    assert collection.topics("dev") == {"22": "fourth"}
    assert collection.topics("train") == {"11": "first", "12": "second"}
    assert [document.id for document in iter_documents(collection.corpus)] == list("01234")
    (source / "collection.tsv.gz").unlink()
    (source / "collection.tsv").write_text("0\tpassage\n1\t \n")
    with pytest.raises(DataError, match=r"collection\.tsv:2: expected id, tab, text"):
        write_collection(tmp_path / "d", lambda: msmarco_material(source), config={})


class FakeDataset:
    """What we use of an `ir_datasets` data set."""

    def __init__(self, qrels: list[tuple[str, str, int]] | None) -> None:
        self.qrels = qrels

    def has_docs(self) -> bool:
        return True

    def has_queries(self) -> bool:
        return self.qrels is not None

    has_qrels = has_queries

    def docs_iter(self) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(doc_id="a", title="T", text="x")
        yield SimpleNamespace(doc_id="b", title="", text="y")
        yield SimpleNamespace(doc_id="c", default_text=lambda: "body and more")

    def queries_iter(self) -> Iterator[SimpleNamespace]:
        for number in range(3):
            yield SimpleNamespace(query_id=f"q{number}", default_text=lambda number=number: f"ask {number}")

    def qrels_iter(self) -> Iterator[SimpleNamespace]:
        for qid, docid, grade in self.qrels or ():
            yield SimpleNamespace(query_id=qid, doc_id=docid, relevance=grade)


def test_ir_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {
        "toy": FakeDataset(None),
        "toy/train": FakeDataset([("q0", "a", 1)]),
        "toy/test": FakeDataset([("q1", "b", 2), ("q1", "c", 0)]),
    }
    monkeypatch.setitem(sys.modules, "ir_datasets", SimpleNamespace(load=known.__getitem__))
    write_collection(tmp_path / "c", lambda: ir_datasets_material("toy/test"), config={})
    collection = Collection.open(tmp_path / "c")
    assert collection.splits == ["train", "test"]
    assert collection.qrels("test") == {"q1": {"b": 2, "c": 0}}
    documents = list(iter_documents(collection.corpus))
    assert documents == [Document("a", "T x", "T"), Document("b", "y"), Document("c", "body and more")]
    with pytest.raises(UsageError, match="no data set 'toys/test'"):
        ir_datasets_material("toys/test")
    with pytest.raises(UsageError, match="has no queries with qrels"):
        ir_datasets_material("toy")


def test_ir_datasets_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(UsageError) as caught:
        ir_datasets_material("beir/scifact/test")
    assert "pip install 'pyserini_sdr[ir-datasets]'" in str(caught.value) and "\n" not in str(caught.value)
