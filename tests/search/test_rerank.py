"""`search rerank`: scores of pairs, depth, the rest, order, refusals."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.store import DocumentStore
from pyserini_sdr.model.cross_encoder import CrossEncoder
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.search import rerank as engine
from pyserini_sdr.search.__main__ import COMMAND
from pyserini_sdr.trec.run import iter_run, read_run
from pyserini_sdr.trec.topics import read_topics

from ..teach.make import make_cross_encoder


@pytest.fixture(scope="module")
def cross_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cross_encoder(tmp_path_factory.mktemp("rerank") / "cross", tiny_encoder)


@pytest.fixture
def run(tiny_collection: Path, tmp_path: Path) -> Path:
    """Ten documents for each test topic, in the file from worst to best, and a topic that nobody asks for."""
    path = tmp_path / "first.trec"
    qids = [*read_topics(tiny_collection / "topics.test.tsv"), "unasked"]
    lines = [
        f"{qid} Q0 d{(number * 7 + place) % 60:03d} {10 - place} {place} x\n"
        for number, qid in enumerate(qids)
        for place in range(10)
    ]
    path.write_text("".join(lines))
    return path


def rerank(collection: Path, run: Path, output: Path, *more: object) -> dict[str, dict[str, float]]:
    given = ["--run", run, "--topics", collection / "topics.test.tsv", "--output", output, "--precision", "fp32", *more]
    if "--corpus" not in more:
        given += ["--collection", collection]
    assert COMMAND.execute("search", ["rerank", *map(str, given)]) == 0
    return {qid: dict(ranking) for qid, ranking in iter_run(output)}


def test_the_best_are_scored_by_the_cross_encoder(tiny_collection, cross_encoder, run, tmp_path):
    output = tmp_path / "out.trec"
    found = rerank(tiny_collection, run, output, "--cross-encoder", cross_encoder, "--hits", 4)
    topics, first = read_topics(tiny_collection / "topics.test.tsv"), read_run(run)
    store = DocumentStore(tiny_collection / "corpus", progress=False)
    encoder = CrossEncoder.load(cross_encoder, device="cpu", precision="fp32")
    assert list(found) == list(topics)
    for qid, query in topics.items():
        best = sorted(first[qid], key=lambda docid: -first[qid][docid])[:4]
        scores = encoder.score([(query, store[docid]) for docid in best])
        assert found[qid] == pytest.approx(dict(zip(best, scores.tolist(), strict=True)), abs=1e-4)
        assert list(found[qid].values()) == sorted(found[qid].values(), reverse=True)
    manifest = json.loads((tmp_path / "out.trec.json").read_text())
    assert manifest["lines"] == 12 * 4 and manifest["weights"] == encoder.fingerprint
    assert output.read_text().splitlines()[0].endswith(" sdr-rerank-4")


def test_the_rest_follows_in_its_order(tiny_collection, cross_encoder, run, tmp_path):
    more = ["--cross-encoder", cross_encoder, "--hits", 4]
    cut = rerank(tiny_collection, run, tmp_path / "cut.trec", *more)
    whole = rerank(tiny_collection, run, tmp_path / "whole.trec", *more, "--keep-rest")
    first = read_run(run)
    for qid, ranking in whole.items():
        order = list(ranking)
        assert order[:4] == list(cut[qid])
        assert order[4:] == sorted(first[qid], key=lambda docid: -first[qid][docid])[4:]
        scores = list(ranking.values())
        assert all(before > after for before, after in pairwise(scores[3:]))


def test_a_bi_encoder_gives_its_similarity(tiny_collection, checkpoint, run, tmp_path):
    found = rerank(tiny_collection, run, tmp_path / "out.trec", "--encoder", checkpoint)
    topics = read_topics(tiny_collection / "topics.test.tsv")
    store = DocumentStore(tiny_collection / "corpus", progress=False)
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    for qid, ranking in found.items():
        expected = (
            encoder.encode_documents([store[docid] for docid in ranking]) @ encoder.encode_queries([topics[qid]])[0]
        )
        assert len(ranking) == 10
        np.testing.assert_allclose(list(ranking.values()), expected, atol=1e-5)


def test_an_encoder_that_tells_no_pooling(tiny_collection, tiny_encoder, run, tmp_path):
    with pytest.raises(UsageError, match=r"tells no pooling and similarity; make a bi-encoder of it with"):
        rerank(tiny_collection, run, tmp_path / "out.trec", "--encoder", tiny_encoder)


def test_topics_are_scored_together_and_apart_alike(tiny_collection, cross_encoder, run, tmp_path, monkeypatch):
    together = rerank(tiny_collection, run, tmp_path / "a.trec", "--cross-encoder", cross_encoder)
    monkeypatch.setattr(engine, "_ENOUGH", 1)
    apart = rerank(tiny_collection, run, tmp_path / "b.trec", "--cross-encoder", cross_encoder)
    for qid in together:
        assert together[qid] == pytest.approx(apart[qid], abs=1e-4)


def test_the_query_itself_can_be_dropped(tiny_collection, cross_encoder, tmp_path):
    run, topics = tmp_path / "run", tmp_path / "topics.tsv"
    run.write_text("d001 Q0 d001 1 9 x\nd001 Q0 d002 2 8 x\nd001 Q0 d003 3 7 x\n")
    topics.write_text("d001\triver music\n")
    more = ["--cross-encoder", cross_encoder, "--hits", 2, "--remove-query", "--topics", topics]
    assert set(rerank(tiny_collection, run, tmp_path / "out", *more)["d001"]) == {"d002", "d003"}


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ([], UsageError, "give one of --cross-encoder and --encoder"),
        (["--cross-encoder", "x", "--encoder", "y"], UsageError, "give one of --cross-encoder and --encoder"),
        (["--encoder", "x", "--collection", "y", "--corpus", "z"], UsageError, "give one of --corpus and --collection"),
        (["--cross-encoder", "/nowhere/model"], DataError, "/nowhere/model: no such checkpoint directory"),
        (["--cross-encoder", "x", "--run", "/nowhere/run"], DataError, "/nowhere/run: no such run file"),
    ],
)
def test_bad_options(tiny_collection, run, tmp_path, more, error, message):
    with pytest.raises(error, match=re.escape(message)):
        rerank(tiny_collection, run, tmp_path / "out.trec", *more)
    assert not (tmp_path / "out.trec").exists()


def test_a_run_that_does_not_fit(tiny_collection, cross_encoder, run, tmp_path):
    more = ["--cross-encoder", cross_encoder]
    run.write_text("unasked Q0 d001 1 1 x\n")
    with pytest.raises(DataError, match=r"first\.trec: holds none of the topics"):
        rerank(tiny_collection, run, tmp_path / "out.trec", *more)
    run.write_text("q050 Q0 nope 1 1 x\n")
    with pytest.raises(DataError, match=r"first\.trec: document 'nope' of topic 'q050' is not in the corpus"):
        rerank(tiny_collection, run, tmp_path / "out.trec", *more)
    assert not (tmp_path / "out.trec").exists()
