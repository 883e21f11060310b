"""Mining with an index: scores of positives from vectors, and refreshing with weights that are in memory."""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from pyserini_sdr.core.errors import SdrError, UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.data.store import DocumentStore
from pyserini_sdr.encode.options import EncoderOptions
from pyserini_sdr.mine.engine import ensure_index
from pyserini_sdr.mine.refresh import refresh_groups
from pyserini_sdr.mine.sources import from_index
from pyserini_sdr.model.checkpoint import save_checkpoint
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.search.searcher import Searcher

from .conftest import manifest, mine


@pytest.fixture(scope="module")
def checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = BiEncoder.load(tiny_encoder, raw_backbone=True)
    path = tmp_path_factory.mktemp("mine") / "checkpoint"
    save_checkpoint(path, encoder.backbone, encoder.tokenizer, encoder.spec)
    return path


@pytest.fixture(scope="module")
def index(checkpoint: Path, tiny_collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mine") / "index"
    ensure_index(Collection.open(tiny_collection).corpus, path, EncoderOptions(encoder=str(checkpoint)))
    return path


@pytest.mark.parametrize("kind", ["Flat", "HNSW8", "IVF4,Flat", "SQ8"])
def test_positives_that_are_not_retrieved_get_their_score(index, tiny_collection, kind):
    searcher = Searcher(index)
    collection = Collection.open(tiny_collection)
    topics = collection.topics("train")
    positives: dict[str, list[str]] = {}
    for qid, docid in collection.pairs("train"):
        positives.setdefault(qid, []).append(docid)
    vectors = searcher.index.vectors(0, len(searcher.index))
    if kind != "Flat":
        made = faiss.index_factory(vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT)
        made.train(vectors)
        made.add(vectors)
        searcher.index.faiss_index = made
    rows = {docid: vectors[i] for i, docid in enumerate(searcher.index.docids)}
    queries = searcher.encoder.encode_queries(list(topics.values()))
    rankings = list(from_index(searcher, topics, positives, 2, score_positives=True))
    assert len(rankings) == len(topics) == 36
    assert any(set(positives[q]) - {d for d, _ in r.hits} for q, r in zip(topics, rankings, strict=True))
    for (qid, query), ranking in zip(zip(topics, queries, strict=True), rankings, strict=True):
        assert len(ranking.hits) == 2
        for docid in positives[qid]:
            assert ranking.positives[docid] == pytest.approx(float(query @ rows[docid]), abs=0.02)
    plain = list(from_index(searcher, topics, positives, 2, score_positives=False))
    assert [r.hits for r in plain] == [r.hits for r in rankings] and any(not r.positives for r in plain)


def test_a_positive_that_the_index_lacks_has_no_score(index, tiny_collection):
    topics = dict([next(iter(Collection.open(tiny_collection).topics("train").items()))])
    (ranking,) = from_index(Searcher(index), topics, {next(iter(topics)): ["nope"]}, 2, score_positives=True)
    assert ranking.positives == {}


def test_margin_with_an_index(index, tiny_collection, tmp_path):
    output = tmp_path / "groups.jsonl"
    mine(tiny_collection, output, "--index", index, "--margin", 0.01, "--keep-scores", "--negatives", 50)
    assert manifest(output)["unscored_positives"] == {}
    groups = list(read_groups(output))
    assert groups and manifest(output)["dropped"]["margin"] > 0
    for group in groups:
        scores = group.scores["index"]
        limit = max(scores[c.id] for c in group.positives) - 0.01
        assert all(scores[c.id] <= limit + 1e-7 for c in group.negatives)


def test_kept_scores_are_those_of_all_positives(index, tiny_collection, tmp_path):
    output = tmp_path / "groups.jsonl"
    mine(tiny_collection, output, "--index", index, "--last-rank", 2, "--keep-scores")
    groups = list(read_groups(output))
    assert groups and all(c.id in group.scores["index"] for group in groups for c in group.positives)
    assert manifest(output)["unscored_positives"] == {}
    plain = tmp_path / "plain.jsonl"
    mine(tiny_collection, plain, "--index", index, "--last-rank", 2)
    for group in groups:
        group.scores = {}
    assert groups == list(read_groups(plain))  # the scores are kept, and decide nothing


def test_kept_scores_do_not_make_unscored_positives_matter(index, tiny_collection, tmp_path):
    """Of a positive that the index lacks there is no score; without a filter by it, that is nobody's loss."""
    for name in ("topics.train.tsv", "corpus"):
        (tmp_path / name).symlink_to(tiny_collection / name)
    (tmp_path / "train.pairs.tsv").write_text("q000\telsewhere\n")
    words = ("--last-rank", 2, "--keep-scores", "--unscored-positive", "drop", "--no-drop-duplicates")
    assert len(mine(tmp_path, tmp_path / "groups.jsonl", "--index", index, *words)["q000"]) == 2
    assert manifest(tmp_path / "groups.jsonl")["unscored_positives"] == {}


def test_an_encoder_that_tells_no_pooling(tiny_encoder, tiny_collection, tmp_path):
    words = ("--encoder", tiny_encoder, "--index", tmp_path / "index")
    with pytest.raises(UsageError, match=r"tells no pooling and similarity; encode the corpus into --index with"):
        mine(tiny_collection, tmp_path / "groups.jsonl", *words)
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize("flags", [("--sampling", "simans", "--simans-a", 500), ("--sampling", "top"), ()])
def test_two_runs_give_the_same_bytes(index, tiny_collection, tmp_path, flags):
    for name in ("one", "two"):
        mine(tiny_collection, tmp_path / f"{name}.jsonl", "--index", index, "--negatives", 5, *flags)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_refresh_is_what_the_saved_checkpoint_would_mine(checkpoint, index, tiny_collection, tmp_path):
    encoder = BiEncoder.load(checkpoint, device="cpu")
    output = tmp_path / "refreshed.jsonl"
    collection = Collection.open(tiny_collection)
    texts = DocumentStore(collection.corpus, progress=False)
    arguments = {"index": tmp_path / "live", "output": output, "negatives": 3, "last_rank": 20, "seed": 4}
    made = refresh_groups(collection, "train", encoder, texts=texts, **arguments)
    assert made == output
    mine(tiny_collection, tmp_path / "g.jsonl", "--index", index, "--negatives", 3, "--last-rank", 20, "--seed", 4)
    assert output.read_bytes() == (tmp_path / "g.jsonl").read_bytes()


def test_refresh_follows_the_weights_and_leaves_no_trace(checkpoint, tiny_collection, tmp_path):
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="bf16")
    encoder.encode_documents(["fills the copy of the weights"])
    encoder.backbone.train()
    encoder.backbone.embeddings.eval()  # a frozen part, say
    modes = {name: part.training for name, part in encoder.backbone.named_modules()}
    torch.manual_seed(7)
    state = torch.random.get_rng_state()

    def refreshed(name: str) -> bytes:
        place = {"index": tmp_path / "index", "output": tmp_path / name}
        refresh_groups(Collection.open(tiny_collection), "train", encoder, negatives=3, max_queries=9, **place)
        return (tmp_path / name).read_bytes()

    first = refreshed("one")
    assert {name: part.training for name, part in encoder.backbone.named_modules()} == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.requires_grad for parameter in encoder.backbone.parameters())
    made = (tmp_path / "index" / "index").stat().st_mtime_ns
    assert refreshed("two") == first and (tmp_path / "index" / "index").stat().st_mtime_ns == made
    with torch.no_grad():
        for parameter in encoder.backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    second = refreshed("three")
    assert (tmp_path / "index" / "index").stat().st_mtime_ns != made
    assert second != first
    queries = [[json.loads(line)["query_id"] for line in text.splitlines()] for text in (first, second)]
    assert queries[0] == queries[1] and len(queries[0]) == 9


def test_an_index_of_weights_in_memory_cannot_be_searched_by_name(checkpoint, tiny_collection, tmp_path):
    encoder = BiEncoder.load(checkpoint, device="cpu")
    place = {"index": tmp_path / "index", "output": tmp_path / "groups.jsonl"}
    refresh_groups(Collection.open(tiny_collection), "train", encoder, negatives=1, **place)
    with pytest.raises(SdrError, match=r"weights in memory"):
        Searcher(tmp_path / "index")
    assert np.isfinite(faiss.read_index(str(tmp_path / "index" / "index")).reconstruct(0)).all()


def test_bm25_with_a_run(found_java, tiny_collection, tmp_path):
    from pyserini_sdr.anserini.bm25 import BM25Searcher, build_bm25_index
    from pyserini_sdr.trec.run import RunWriter

    lucene = tmp_path / "lucene"
    build_bm25_index(Collection.open(tiny_collection).corpus, lucene, threads=1)
    topics = Collection.open(tiny_collection).topics("train")
    with BM25Searcher(lucene) as searcher, RunWriter(tmp_path / "bm25.trec") as writer:
        for qid, docids, scores in searcher.search_batch(topics, 1000, progress=False):
            writer.write(qid, docids, scores)
    flags = ("--margin", 1, "--last-rank", 20, "--sampling", "top")
    by_run = mine(tiny_collection, tmp_path / "run.jsonl", "--runs", tmp_path / "bm25.trec", *flags)
    by_index = mine(tiny_collection, tmp_path / "index.jsonl", "--bm25-index", lucene, *flags)
    assert by_index == by_run and manifest(tmp_path / "index.jsonl")["dropped"]["margin"] > 0
    both = ("--runs", tmp_path / "bm25.trec", "--bm25-index", lucene, "--keep-scores")
    mine(tiny_collection, tmp_path / "both.jsonl", *both)
    assert manifest(tmp_path / "both.jsonl")["groups"] == 36
