"""Pseudo-relevance feedback: the runs of stock Pyserini, and plain arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.anserini.java import Java
from pyserini_sdr.anserini.stock import StockCommand, faiss_search_command
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.spec import read_spec
from pyserini_sdr.search.feedback import Feedback
from pyserini_sdr.trec.run import read_run
from pyserini_sdr.trec.topics import read_topics

from ..encode.make import read_index, run_encode
from .test_dense import search
from .test_shards import converted

ROCCHIO = (
    *("--prf-method", "rocchio", "--prf-depth", 7, "--rocchio-alpha", 0.4, "--rocchio-beta", 0.75),
    *("--rocchio-gamma", 0.15, "--rocchio-topk", 4, "--rocchio-bottomk", 2),
)
SETTINGS = {
    "average": ("--prf-depth", 5),
    "rocchio": ROCCHIO,
}


@pytest.fixture(scope="module")
def index(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(tiny_collection, tmp_path_factory.mktemp("feedback") / "index", checkpoint)


@pytest.fixture(scope="module")
def topics(tiny_collection: Path) -> Path:
    return tiny_collection / "topics.test.tsv"


@pytest.mark.parametrize("settings", SETTINGS)
def test_stock_gives_the_same_run(
    found_java: Java, index: Path, topics: Path, checkpoint: Path, tmp_path: Path, settings: str
) -> None:
    flags = tuple(map(str, SETTINGS[settings]))
    ours = read_run(search(index, topics, tmp_path / "ours.trec", "--hits", 20, *flags))
    spec, stock = read_spec(checkpoint, {}), tmp_path / "stock.trec"
    command = faiss_search_command(
        index=index,
        topics=topics,
        encoder=checkpoint,
        output=stock,
        pooling=spec.pooling,
        l2_norm=spec.normalize,
        query_prefix=spec.query_prefix,
        hits=20,
    )
    StockCommand(command.module, (*command.args, *flags)).run(output=stock)
    theirs = read_run(stock)
    assert list(ours) == list(theirs)
    for qid, scores in ours.items():
        cut = min(scores.values())
        for docid in set(scores) ^ set(theirs[qid]):
            assert abs(scores.get(docid, theirs[qid].get(docid)) - cut) < 1e-4
        common = set(scores) & set(theirs[qid])
        assert [scores[d] for d in common] == pytest.approx([theirs[qid][d] for d in common], abs=1e-4)
        assert len(scores) == len(theirs[qid]) == 20


@pytest.mark.parametrize("factory", ["Flat", "IVF2,Flat", "HNSW16", "SQfp16"])
def test_vectors_come_from_indexes_of_any_type(
    index: Path, topics: Path, checkpoint: Path, tmp_path: Path, factory: str
) -> None:
    other = converted(index, tmp_path / "other", factory)
    extra = ("--nprobe", 2) if factory.startswith("IVF") else ()
    run = read_run(search(other, topics, tmp_path / "run.trec", "--hits", 60, "--prf-depth", 3, *extra))
    ids, documents = read_index(index)
    queries = read_topics(topics)
    encoder = BiEncoder.load(checkpoint, device="cpu")
    for qid, vector in zip(queries, encoder.encode_queries(list(queries.values())), strict=True):
        best = np.argsort(-(documents @ vector), kind="stable")[:3]
        moved = (vector + documents[best].sum(0)) / 4
        expected = dict(zip(ids, (documents @ moved).tolist(), strict=True))
        assert run[qid] == pytest.approx({docid: expected[docid] for docid in run[qid]}, abs=2e-3)


def test_arithmetic() -> None:
    query, documents = np.array([1, 0], np.float32), np.array([[0, 1], [0, 3], [4, 0]], np.float32)
    assert Feedback(3).move(query, documents).tolist() == [1.25, 1.0]
    moved = Feedback(3, "rocchio", alpha=0.5, beta=0.25, gamma=0.125, topk=2, bottomk=1).move(query, documents)
    assert moved.tolist() == [0.0, 0.5] and moved.dtype == np.float32
    assert Feedback(3, "rocchio", alpha=1, beta=1, topk=9).move(query, documents[:1]).tolist() == [1.0, 1.0]
    assert Feedback(3).move(query, documents[:0]).tolist() == [1.0, 0.0]


def test_the_stock_command_says_it(index: Path, topics: Path, tmp_path: Path, capsys) -> None:
    run = search(index, topics, tmp_path / "run.trec", "--hits", 5, *ROCCHIO)
    text = capsys.readouterr().err
    assert "--prf-depth=7 --prf-method=rocchio --rocchio-alpha=0.4 --rocchio-beta=0.75" in text
    assert "--rocchio-gamma=0.15 --rocchio-topk=4 --rocchio-bottomk=2" in text
    assert {line.split()[5] for line in run.read_text().splitlines()} == {"sdr-dense-rocchio-7"}
    plain = search(index, topics, tmp_path / "plain.trec", "--hits", 5)
    none = search(index, topics, tmp_path / "none.trec", "--hits", 5, "--prf-depth", 0, "--prf-method", "rocchio")
    assert none.read_text() == plain.read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--prf-method", "avg"), "--prf-method avg: needs --prf-depth"),
        (("--prf-depth", 3, "--rocchio-beta", 1), "--rocchio-beta: needs --prf-method rocchio"),
        (("--prf-depth", -1), "--prf-depth -1: must be at least 0"),
        (("--prf-depth", 3, "--prf-method", "best"), "invalid choice: 'best'"),
        (("--prf-depth", 3, "--prf-method", "rocchio", "--rocchio-topk", 0), "--rocchio-topk 0: must be at least 1"),
    ],
)
def test_flags_that_do_not_fit(index: Path, topics: Path, tmp_path: Path, flags: tuple, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        search(index, topics, tmp_path / "run.trec", *flags)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())
