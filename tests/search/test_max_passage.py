"""`--max-passage`: documents ranked by their best passage, on all kinds of search."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.collection.commands import COMMAND as COLLECTION
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.search import commands
from pyserini_sdr.search.__main__ import COMMAND
from pyserini_sdr.trec.run import read_run

from ..encode.make import run_encode
from .test_dense import lines, search
from .test_hybrid import WordSearcher


class TwoPassages(WordSearcher):
    """In BM25's place: passages 0 and 1 of documents d059, d058, …"""

    def search_batch(
        self, topics: Mapping[str, str], hits: int, threads: int | None
    ) -> Iterator[tuple[str, list[str], np.ndarray]]:
        for qid, docids, scores in super().search_batch(topics, hits, threads):
            yield qid, [f"{docids[i // 2]}#{i % 2}" for i in range(len(docids))], scores


@pytest.fixture(scope="module")
def passages(tiny_collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages") / "p"
    COLLECTION.execute("collection", ["passages", str(tiny_collection), "--output", str(folder), "--words", "8"])
    return folder


@pytest.fixture(scope="module")
def index(passages: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(passages, tmp_path_factory.mktemp("passages") / "index", checkpoint)


def folded(run: Path, hits: int, delimiter: str = "#") -> dict[str, list[tuple[str, float]]]:
    """The best passage's score of each document, from a run of passages."""
    found = {}
    for qid, scores in read_run(run).items():
        best: dict[str, float] = {}
        for id, score in scores.items():
            document = id.split(delimiter)[0]
            best[document] = max(score, best.get(document, score))
        ordered = sorted(best.items(), key=lambda pair: pair[0], reverse=True)
        found[qid] = sorted(ordered, key=lambda pair: -pair[1])[:hits]
    return found


def test_dense(index: Path, tiny_collection: Path, tmp_path: Path) -> None:
    topics = tiny_collection / "topics.test.tsv"
    whole = search(index, topics, tmp_path / "whole", "--hits", 80)
    run = search(index, topics, tmp_path / "run", "--hits", 80, "--max-passage", "--max-passage-hits", 7)
    found = {qid: list(scores.items()) for qid, scores in read_run(run).items()}
    assert found == folded(whole, 7)
    assert all(len(scores) == 7 for scores in found.values())
    assert [line[3] for line in lines(run)[:7]] == list("1234567")
    stock = json.loads((tmp_path / "run.json").read_text())["stock_command"]
    assert "--max-passage --max-passage-hits=7 '--max-passage-delimiter=#'" in stock


def test_a_hundred_documents_and_another_delimiter(index: Path, tiny_collection: Path, tmp_path: Path) -> None:
    topics = tiny_collection / "topics.test.tsv"
    run = search(index, topics, tmp_path / "run", "--max-passage")
    assert {len(scores) for scores in read_run(run).values()} == {60}
    run = search(index, topics, tmp_path / "cut", "--max-passage", "--max-passage-delimiter", "0#", "--hits", 400)
    assert any("#" in docid for docid in next(iter(read_run(run).values())))
    run = search(index, topics, tmp_path / "none", "--max-passage", "--max-passage-delimiter", "::")
    assert {len(scores) for scores in read_run(run).values()} == {100}


def test_bm25_and_hybrid(index: Path, tiny_collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "BM25Searcher", TwoPassages)
    topics = tiny_collection / "topics.test.tsv"
    for kind, more in (("bm25", ["--index", "lucene"]), ("hybrid", ["--index", index, "--bm25-index", "lucene"])):
        for name, flags in (("whole", []), ("run", ["--max-passage", "--max-passage-hits", 5])):
            words = [kind, *more, "--topics", topics, "--output", tmp_path / name, "--hits", 50, *flags]
            COMMAND.execute("search", [str(word) for word in words])
        found = {qid: list(scores.items()) for qid, scores in read_run(tmp_path / "run").items()}
        assert found == folded(tmp_path / "whole", 5)


def test_the_query_s_own_document_goes_with_all_its_passages(index: Path, tmp_path: Path) -> None:
    topics = tmp_path / "topics.tsv"
    topics.write_text("d003\triver engine\nx\triver engine\n")
    run = read_run(search(index, topics, tmp_path / "run", "--max-passage", "--remove-query"))
    assert set(run["x"]) - set(run["d003"]) == {"d003"} and len(run["d003"]) == 59


@pytest.mark.parametrize(
    ("kind", "flags", "message"),
    [
        ("dense", ["--max-passage-hits", 3], "--max-passage-hits 3: needs --max-passage"),
        ("bm25", ["--max-passage-delimiter", "x"], "--max-passage-delimiter x: needs --max-passage"),
        ("dense", ["--max-passage", "--max-passage-delimiter", ""], "--max-passage-delimiter '': must not be empty"),
        ("hybrid", ["--max-passage", "--max-passage-hits", 0, "--bm25-index", "b"], "must be at least 1"),
    ],
)
def test_usage_errors(kind: str, flags: list[object], message: str, tmp_path: Path) -> None:
    words = [kind, "--index", "i", "--topics", "t", "--output", tmp_path / "o", *flags]
    with pytest.raises(UsageError, match=message):
        COMMAND.execute("search", [str(word) for word in words])
