"""Hybrid search: both lists fused topic by topic under a named rule. The sparse side is a stand-in: no Java here."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.search import commands
from pyserini_sdr.search.__main__ import COMMAND
from pyserini_sdr.search.searcher import Searcher
from pyserini_sdr.trec.fuse import fuse
from pyserini_sdr.trec.run import rank, read_run
from pyserini_sdr.trec.topics import read_topics

from ..encode.make import run_encode
from .test_dense import search


class WordSearcher:
    """In BM25's place: a document's score is the number of its id."""

    def __init__(self, index: Path, k1: float, b: float) -> None:
        self.calls: list[int] = []

    def __enter__(self) -> WordSearcher:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def search_batch(
        self, topics: Mapping[str, str], hits: int, threads: int | None
    ) -> Iterator[tuple[str, list[str], np.ndarray]]:
        for qid in topics:
            docids = [f"d{n:03d}" for n in range(59, -1, -1)][:hits]
            yield qid, docids, np.array([float(docid[1:]) for docid in docids], dtype=np.float32)


@pytest.fixture
def index(tiny_collection: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(commands, "BM25Searcher", WordSearcher)
    return run_encode(tiny_collection, tmp_path / "index", checkpoint)


def hybrid(index: Path, topics: Path, output: Path, *flags: object) -> Path:
    argv = ["hybrid", "--index", index, "--bm25-index", "lucene", "--topics", topics, "--output", output, *flags]
    assert COMMAND.execute("python -m pyserini_sdr.search", [str(word) for word in argv]) == 0
    return output


@pytest.mark.parametrize(
    ("flags", "rule", "options", "tag"),
    [
        ((), "rrf", {"k": 60}, "sdr-rrf-k=60"),
        (("--rrf-k", 10), "rrf", {"k": 10}, "sdr-rrf-k=10"),
        (("--rule", "stock-hybrid"), "stock-hybrid", {"alpha": 0.1}, "sdr-stock-hybrid-alpha=0.1"),
        (("--rule", "stock-hybrid", "--alpha", 0.5), "stock-hybrid", {"alpha": 0.5}, "sdr-stock-hybrid-alpha=0.5"),
        (("--rule", "interpolation"), "interpolation", {"alpha": 0.5}, "sdr-interpolation-alpha=0.5"),
        (
            ("--rule", "linear", "--weights", 2, 1, "--normalization", "z-score"),
            "linear",
            {"weights": [2, 1], "normalization": "z-score"},
            "sdr-linear-normalization=z-score-weights=2,1",
        ),
        (("--rule", "average"), "average", {}, "sdr-average"),
        (("--rule", "combmnz"), "combmnz", {}, "sdr-combmnz-normalization=min-max"),
        (
            ("--rule", "stock-hybrid", "--normalization", "min-max"),
            "stock-hybrid",
            {"normalization": True},
            "sdr-stock-hybrid-alpha=0.1-normalization=True",
        ),
    ],
)
def test_rules(
    index: Path,
    tiny_collection: Path,
    tmp_path: Path,
    flags: tuple[object, ...],
    rule: str,
    options: dict[str, object],
    tag: str,
) -> None:
    topics = tiny_collection / "topics.test.tsv"
    run = hybrid(index, topics, tmp_path / "hybrid.trec", "--hits", 20, *flags)
    dense = read_run(search(index, topics, tmp_path / "dense.trec", "--hits", 20))
    sparse = {f"d{n:03d}": float(n) for n in range(59, 39, -1)}
    found = read_run(run)
    assert list(found) == list(read_topics(topics))
    for qid, scores in found.items():
        fused = fuse([dense[qid], sparse], rule, **options)
        expected = rank(list(fused), list(fused.values()), 20)
        assert list(scores.values()) == pytest.approx([score for _, score in expected], rel=1e-5, abs=1e-5)
        assert set(scores) == {docid for docid, _ in expected}
    assert {line.split()[5] for line in run.read_text().splitlines()} == {tag}


def test_a_tuned_fusion(index: Path, tiny_collection: Path, tmp_path: Path) -> None:
    """Its depth is that of each list, and its flags are not given again."""
    options = {"weights": [0.3, 0.7], "normalization": "z-score"}
    tuned = {
        "kind": "tuned-fusion",
        "rule": "linear",
        "options": options,
        "depth": 5,
        "runs": [{"path": "a"}, {"path": "b"}],
    }
    (tmp_path / "tuned.json").write_text(json.dumps(tuned))
    topics = tiny_collection / "topics.test.tsv"
    run = hybrid(index, topics, tmp_path / "h.trec", "--tuned", tmp_path / "tuned.json", "--hits", 20)
    flags = ("--rule", "linear", "--weights", 0.3, 0.7, "--normalization", "z-score")
    same = hybrid(index, topics, tmp_path / "f.trec", "--hits", 5, *flags)
    found = {qid: list(scores.items())[:5] for qid, scores in read_run(run).items()}
    assert found == {qid: list(scores.items()) for qid, scores in read_run(same).items()}
    with pytest.raises(UsageError, match=r"--alpha 0\.1: .*tuned\.json"):
        hybrid(index, topics, tmp_path / "x.trec", "--tuned", tmp_path / "tuned.json", "--alpha", 0.1)


def test_remove_query_on_both_sides(index: Path, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("d059\triver\nd058\tmusic\n")
    run = read_run(hybrid(index, tmp_path / "t.tsv", tmp_path / "h.trec", "--hits", 59, "--remove-query"))
    for qid, scores in run.items():
        assert qid not in scores and len(scores) == 59


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--alpha", 0.5), "alpha"),
        (("--rule", "average", "--weights", 1, 2), "weights"),
        (("--rule", "linear", "--weights", 1), "1 weights for 2 runs"),
        (("--rule", "best"), "invalid choice: 'best'"),
        (("--rule", "linear", "--rrf-k", 10), "--rrf-k 10.0: not used by --rule linear"),
    ],
)
def test_options_of_another_rule(
    index: Path, tiny_collection: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        hybrid(index, tiny_collection / "topics.test.tsv", tmp_path / "h.trec", *flags)
    assert message in str(caught.value)
    assert not (tmp_path / "h.trec").exists()


@pytest.mark.parametrize("side", ["dense", "sparse", "both"])
def test_an_error_of_either_side_leaves_no_run(
    index: Path, tiny_collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Where both fail, the dense side is told, as it is asked first."""

    def fail(name: str) -> Iterator[None]:
        raise DataError(name, "failed")
        yield

    if side != "sparse":
        monkeypatch.setattr(Searcher, "search_topics", lambda *args, **kwargs: fail("dense"))
    if side != "dense":
        monkeypatch.setattr(WordSearcher, "search_batch", lambda *args: fail("sparse"))
    with pytest.raises(DataError, match="sparse: failed" if side == "sparse" else "dense: failed"):
        hybrid(index, tiny_collection / "topics.test.tsv", tmp_path / "h.trec")
    assert not (tmp_path / "h.trec").exists()
    assert "background-search" not in {thread.name for thread in threading.enumerate()}


def test_hybrid_over_shards_with_settings_of_the_dense_side(
    index: Path, tiny_collection: Path, checkpoint: Path, tmp_path: Path
) -> None:
    topics = tiny_collection / "topics.test.tsv"
    shards = [
        run_encode(tiny_collection, tmp_path / f"s{n}", checkpoint, input=("--shard-id", n, "--shard-num", 2))
        for n in range(2)
    ]
    one = hybrid(index, topics, tmp_path / "one.trec", "--hits", 30)
    both = hybrid(shards[0], topics, tmp_path / "both.trec", "--hits", 30, "--index", *shards, "--memory", 1)
    assert one.read_text() == both.read_text()


def test_bm25_writes_its_parameters_into_the_tag(
    index: Path, tiny_collection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--index", "lucene", "--topics", tiny_collection / "topics.test.tsv", "--output", tmp_path / "b.trec"]
    argv = ["bm25", *flags, "--hits", 3, "--k1", 0.82, "--b", 0.68]
    assert COMMAND.execute("python -m pyserini_sdr.search", [str(word) for word in argv]) == 0
    run = tmp_path / "b.trec"
    assert {line.split()[5] for line in run.read_text().splitlines()} == {"sdr-bm25-k1=0.82-b=0.68"}
    assert all(list(scores) == ["d059", "d058", "d057"] for scores in read_run(run).values())
    assert "python -m pyserini.search.lucene --bm25 --index lucene" in capsys.readouterr().err
