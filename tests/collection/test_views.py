"""`collection views`: queries for every document, and a collection of views."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.collection.check import check_collection
from pyserini_sdr.collection.commands import COMMAND
from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.data.views import read_document_queries


def execute(*argv: object) -> int:
    return COMMAND.execute("collection", ["views", *map(str, argv)])


def corpus(path: Path) -> Path:
    """Forty documents of four sentences, and one of a single word."""
    texts = [f"It holds word{i} too. Then word{i // 2} and x. Of thing{i // 4} more. And end{i}." for i in range(40)]
    with path.open("w") as handle:
        for i, text in enumerate([*texts, "alone"]):
            handle.write(json.dumps({"id": f"d{i}", "contents": text}) + "\n")
    return path


@pytest.mark.parametrize(("method", "most"), [("sentences", 3), ("key-phrases", 2)])
def test_queries_are_of_the_document_which_stays(method: str, most: int, tmp_path: Path, capsys) -> None:
    source, output = corpus(tmp_path / "corpus.jsonl"), tmp_path / "q.jsonl"
    before = source.read_bytes()
    flags = ("--method", method, "--queries", most, "--phrases", 2)
    assert execute(source, "--output", output, *flags) == 0
    found = list(read_document_queries(output))
    assert [id for _, id, _ in found] == [f"d{i}" for i in range(41)] and found[-1][2] == []
    texts = {document.id: document.contents.lower() for document in iter_documents(source)}
    for _, id, queries in found[:-1]:
        assert 1 <= len(queries) <= most and len(set(queries)) == len(queries)
        assert all(word in texts[id] for query in queries for word in query.lower().split())
    assert method != "sentences" or all(len(queries) == most for _, _, queries in found[:-1])
    assert source.read_bytes() == before
    manifest = json.loads((tmp_path / "q.jsonl.json").read_text())
    assert manifest["documents"] == 41 and manifest["queries"] == sum(len(queries) for _, _, queries in found)
    assert f"{manifest['queries']} queries of 41 documents, 1 have none" in capsys.readouterr().out
    assert execute(source, "--output", tmp_path / "again.jsonl", *flags) == 0
    assert (tmp_path / "again.jsonl").read_bytes() == output.read_bytes()


def test_a_generator_is_resumed(tmp_path: Path, monkeypatch) -> None:
    """Parts that are there are not generated again; they go when the queries are written."""
    from pyserini_sdr.collection import pseudo_generated

    calls: list[int] = []

    class Generator:
        fingerprint = "f"
        fails = True

        def __init__(self, name: str, **settings: object) -> None:
            assert name == "t5" and settings["max_query_length"] == 64

        def generate(self, texts: list[str], number: int, seed: int) -> list[list[str]]:
            calls.append(len(texts))
            if Generator.fails and len(calls) == 3:
                raise RuntimeError("cut off")
            return [[f"{text.split()[2]} query {i}" for i in (0, 1, 1)][:number] for text in texts]

    monkeypatch.setattr(pseudo_generated, "load", lambda target: Generator)
    monkeypatch.setattr(pseudo_generated.Generated.__init__, "__kwdefaults__", {"part": 10})
    source = corpus(tmp_path / "corpus.jsonl")
    source.write_text("".join(source.read_text().splitlines(True)[:40]))
    flags = ("--output", tmp_path / "q.jsonl", "--method", "seq2seq", "--generator", "t5", "--queries", 3)
    with pytest.raises(RuntimeError, match="cut off"):
        execute(source, *flags)
    assert not (tmp_path / "q.jsonl").exists()
    Generator.fails = False
    assert execute(source, *flags) == 0
    assert calls == [10, 10, 10, 10, 10]  # the third once more
    found = [queries for _, _, queries in read_document_queries(tmp_path / "q.jsonl")]
    assert found[7] == ["word7 query 0", "word7 query 1"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "q.jsonl", "q.jsonl.json"]
    assert json.loads((tmp_path / "q.jsonl.json").read_text())["generator_weights"] == "f"


def test_a_collection_of_views(tiny_collection: Path, tmp_path: Path, capsys) -> None:
    with (tmp_path / "q.jsonl").open("w") as handle:  # in another order than the corpus
        for i in reversed(range(60)):
            queries = [f"query {i} {k}" for k in range(i % 4)]
            handle.write(json.dumps({"id": f"d{i:03d}", "queries": queries}) + "\n")
    flags = ("--queries-file", tmp_path / "q.jsonl", "--output-collection", tmp_path / "v", "--views", 2)
    assert execute(tiny_collection, *flags) == 0
    assert check_collection(tmp_path / "v").findings == []
    made = {document.id: document.contents for document in iter_documents(tmp_path / "v")}
    texts = {document.id: document.contents for document in iter_documents(tiny_collection)}
    assert len(made) == 15 * (1 + 1 + 2 + 2)
    assert made["d000#0"] == texts["d000"]  # without a query: the document itself
    assert made["d007#1"] == f"{texts['d007']} query 7 1" and "d007#2" not in made
    assert Collection.open(tmp_path / "v").qrels("train")["q007"] == {"d007#0": 1, "d007#1": 1}
    assert "90 views of 60 documents" in capsys.readouterr().out


def test_faults_leave_nothing(tiny_collection: Path, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"id": "d000", "queries": []}\n')
    flags = ("--queries-file", tmp_path / "q.jsonl", "--output-collection", tmp_path / "v")
    with pytest.raises(DataError, match=r"q.jsonl: has no line of document 'd001'"):
        execute(tiny_collection, *flags)
    with pytest.raises(DataError, match=r"q.jsonl: already exists"):
        execute(tiny_collection, "--output", tmp_path / "q.jsonl")
    (tmp_path / "corpus.jsonl").write_text('{"id": "a", "contents": "one"}\n')
    with pytest.raises(DataError, match="none of its 1 documents gives a query"):
        execute(tmp_path / "corpus.jsonl", "--output", tmp_path / "r.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus.jsonl", "q.jsonl"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give one of --output"),
        (("--output", "q", "--output-collection", "v"), "give one of --output"),
        (("--output-collection", "v"), "--queries-file and --output-collection go together"),
        (("--output", "q", "--queries-file", "f"), "--queries-file and --output-collection go together"),
        (("--output", "q", "--views", 3), "--views 3: is for making views"),
        (("--output-collection", "v", "--queries-file", "f", "--queries", 3), "--queries 3: is for making queries"),
        (("--output", "q", "--method", "seq2seq"), "--method seq2seq and --generator NAME go together"),
        (("--output", "q", "--min-query-tokens", 9, "--max-query-tokens", 3), "--min-query-tokens 9: must not"),
    ],
)
def test_usage_errors(words: tuple[object, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        execute(tmp_path, *words)
