"""Stock `pyserini.search.faiss` on our index with our checkpoint gives our dense run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyserini_sdr.anserini import jvm
from pyserini_sdr.anserini.stock import faiss_search_command
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.spec import read_spec
from pyserini_sdr.search.searcher import Searcher, StockQueryEncoder
from pyserini_sdr.trec.run import read_run

from ..encode.make import make_checkpoint, run_encode
from ..search.test_dense import search

HITS = 20
SPECS = {
    "mean-cosine-prefixes": {},
    "cls-dot": {
        "pooling": "cls",
        "similarity": "dot",
        "query_prefix": "",
        "document_prefix": "",
        "query_max_length": 6,
    },
}


@pytest.fixture(scope="module", params=SPECS)
def pair(
    request: pytest.FixtureRequest, tiny_collection: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A checkpoint and an index made with it."""
    folder = tmp_path_factory.mktemp("contract")
    checkpoint = make_checkpoint(folder / "checkpoint", tiny_encoder, **SPECS[request.param])
    return checkpoint, run_encode(tiny_collection, folder / "index", checkpoint)


def assert_same_run(ours: dict[str, dict[str, float]], stock: dict[str, dict[str, float]]) -> None:
    """Equal scores to 1e-4, and equal documents but for those within 1e-4 of the last one's score."""
    assert list(ours) == list(stock)
    for qid, scores in ours.items():
        assert len(scores) == len(stock[qid]) == HITS
        cut = min(scores.values())
        for docid in set(scores) ^ set(stock[qid]):
            assert abs(scores.get(docid, stock[qid].get(docid)) - cut) < 1e-4, docid
        for docid in set(scores) & set(stock[qid]):
            assert scores[docid] == pytest.approx(stock[qid][docid], abs=1e-4)


def test_stock_search_gives_our_run(pair: tuple[Path, Path], tiny_collection: Path, tmp_path: Path):
    checkpoint, index = pair
    topics = tiny_collection / "topics.test.tsv"
    ours = read_run(search(index, topics, tmp_path / "ours.trec", "--hits", HITS))
    spec = read_spec(checkpoint, {})
    stock = tmp_path / "stock.trec"
    faiss_search_command(
        index=index,
        topics=topics,
        encoder=checkpoint,
        output=stock,
        pooling=spec.pooling,
        l2_norm=spec.normalize,
        query_prefix=spec.query_prefix,
        hits=HITS,
    ).run(output=stock)
    assert_same_run(ours, read_run(stock))


def test_our_query_encoder_in_the_stock_searcher(pair: tuple[Path, Path]):
    """`StockQueryEncoder` is what `FaissSearcher` takes; one query and a batch of them."""
    checkpoint, index = pair
    jvm.start()
    from pyserini.search.faiss import FaissSearcher

    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    stock, ours = FaissSearcher(str(index), StockQueryEncoder(encoder)), Searcher(index, encoder)
    queries = {"a": "river of music", "b": "garden", "c": "what is planetba the"}
    batch = stock.batch_search(list(queries.values()), list(queries), 5)
    for qid, query in queries.items():
        expected = ours.search(query, 5)
        for hits in (stock.search(query, 5), batch[qid]):
            assert [hit.docid for hit in hits] == [docid for docid, _ in expected]
            assert [float(hit.score) for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-4)
