"""Stock Pyserini's `--max-passage` gives our run: its writer on many rankings, and BM25."""

from __future__ import annotations

import random
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from pyserini_sdr.anserini import jvm
from pyserini_sdr.anserini.bm25 import build_bm25_index
from pyserini_sdr.collection.commands import COMMAND as COLLECTION
from pyserini_sdr.search.__main__ import COMMAND
from pyserini_sdr.search.max_passage import best_passages
from pyserini_sdr.search.options import MaxPassageOptions
from pyserini_sdr.trec.run import read_run
from pyserini_sdr.trec.topics import read_topics

Hit = namedtuple("Hit", "docid score")


def stock_writer(output: Path, delimiter: str, most: int) -> Any:
    """What stock's searches write their runs with, given `--max-passage`."""
    jvm.start()
    from pyserini.output_writer import OutputFormat, get_output_writer

    return get_output_writer(
        str(output),
        OutputFormat.TREC,
        max_hits=30,
        tag="x",
        use_max_passage=True,
        max_passage_delimiter=delimiter,
        max_passage_hits=most,
    )


@pytest.mark.parametrize(("delimiter", "most"), [("#", 100), ("#", 4), ("::", 100), ("#1", 7)])
def test_the_writer(delimiter: str, most: int, tmp_path: Path):
    """Documents, order and scores of rankings without ties; ids with the delimiter twice and without it."""
    rng = random.Random(0)
    ids = [f"d{i}{mark}{k}" for i in range(30) for mark in ("#", "::", "#x#") for k in range(12)] + ["plain", "d1"]
    rankings = {
        f"q{n}": [(docid, 9.0 - i / 8) for i, docid in enumerate(rng.sample(ids, rng.randint(1, 150)))]
        for n in range(20)
    }
    with stock_writer(tmp_path / "stock.trec", delimiter, most) as writer:
        for qid, ranking in rankings.items():
            writer.write(qid, [Hit(*pair) for pair in ranking])
    options = MaxPassageOptions(max_passage=True, max_passage_hits=most, max_passage_delimiter=delimiter)
    ours = {qid: dict(ranking) for qid, ranking in best_passages(iter(rankings.items()), options)}
    stock = read_run(tmp_path / "stock.trec")
    assert {q: list(scores) for q, scores in ours.items()} == {q: list(scores) for q, scores in stock.items()}
    assert all(scores == pytest.approx(stock[qid], abs=1e-6) for qid, scores in ours.items())


def test_bm25(tiny_collection: Path, tmp_path: Path):
    """Our command against stock's searcher and writer, as `pyserini.search.lucene` joins them."""
    folder, lucene, topics = tmp_path / "p", tmp_path / "lucene", tiny_collection / "topics.test.tsv"
    COLLECTION.execute("collection", ["passages", str(tiny_collection), "--output", str(folder), "--words", "8"])
    build_bm25_index(folder, lucene)
    words = ["bm25", "--index", lucene, "--topics", topics, "--output", tmp_path / "ours.trec", "--hits", 30]
    COMMAND.execute("search", [str(word) for word in [*words, "--max-passage", "--max-passage-hits", 6]])
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(str(lucene))
    searcher.set_bm25(0.9, 0.4)
    with stock_writer(tmp_path / "stock.trec", "#", 6) as writer:
        for qid, query in read_topics(topics).items():
            writer.write(qid, searcher.search(query, 30))
    ours, stock = read_run(tmp_path / "ours.trec"), read_run(tmp_path / "stock.trec")
    assert list(ours) == list(stock) and len(ours) == 12
    for qid, scores in ours.items():
        assert len(scores) == 6 and not any("#" in docid for docid in scores)
        assert list(scores.values()) == pytest.approx(list(stock[qid].values()), abs=1e-4)
        above = {docid for docid, score in scores.items() if score > min(scores.values()) + 1e-4}
        assert above <= set(stock[qid])
