"""Material and arithmetic of the benchmarks: draws, synthetic data, operations, agreement, recall."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from encode_arms import agreement as vector_agreement
from material import (
    draw_documents,
    draw_topics,
    in_words,
    make_encoder,
    synthetic_texts,
    whole_numbers,
    write_documents,
    write_random_index,
    write_synthetic_corpus,
)
from rates import best_seconds, encoder_flops
from search_arms import agreement, percentiles, recall

from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.trec.topics import read_topics


def test_documents_are_drawn_by_the_seed(tiny_collection: Path):
    first, again, other = (draw_documents(tiny_collection, 10, seed) for seed in (0, 0, 1))
    assert [d.id for d in first] == [d.id for d in again] != [d.id for d in other]
    assert len({d.id for d in first}) == 10
    with pytest.raises(UsageError, match="has 60 documents"):
        draw_documents(tiny_collection, 61, 0)


def test_drawn_files_are_read_back(tiny_collection: Path, tmp_path: Path):
    drawn = draw_documents(tiny_collection, 5, 0)
    path = write_documents(tmp_path / "corpus.jsonl", drawn)
    assert [(d.id, d.contents) for d in iter_documents(path)] == [(d.id, d.contents) for d in drawn]
    topics = read_topics(tiny_collection / "topics.train.tsv")
    chosen = draw_topics(topics, 4, 0, tmp_path / "topics.tsv")
    assert read_topics(tmp_path / "topics.tsv") == chosen
    assert chosen.items() <= topics.items()
    with pytest.raises(UsageError, match="there are 36 topics"):
        draw_topics(topics, 37, 0, tmp_path / "more.tsv")


def test_synthetic_corpora_have_the_size_asked_for(tmp_path: Path):
    texts = [text for block in synthetic_texts(10_007, 3) for text in block]
    assert len(texts) == 10_007
    assert {len(text.split()) for text in texts} == set(range(4, 13))
    path = write_synthetic_corpus(tmp_path / "corpus.jsonl", 25, 3)
    ids = [json.loads(line)["id"] for line in path.read_text().splitlines()]
    assert ids == [f"d{number}" for number in range(25)]


def test_an_encoder_made_on_the_spot_is_whole(tmp_path: Path):
    encoder = BiEncoder.load(make_encoder(tmp_path / "encoder"), precision="fp32")
    assert len(encoder.tokenize(["w1 w4999 w17"], 64)[0]) == 5  # a token for each word, and two around them
    vectors = encoder.encode_documents(["w1 w2", "w3"])
    assert vectors.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_random_index_is_one_of_faiss(tmp_path: Path):
    faiss = pytest.importorskip("faiss")
    folder = write_random_index(tmp_path / "index", 10_003, 8, 0)
    index = faiss.read_index(str(folder / "index"))
    vectors = index.reconstruct_n(0, index.ntotal)
    assert vectors.shape == (10_003, 8)
    assert len(np.unique(vectors, axis=0)) == 10_003
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len((folder / "docid").read_text().splitlines()) == 10_003


def test_operations_are_those_of_the_model():
    """Against torch's own count of a BERT without attention masks, all texts of one length."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=50, hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=24)
    model = BertModel(config, add_pooling_layer=False).eval()
    model.set_attn_implementation("eager")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model(input_ids=torch.ones(2, 7, dtype=torch.long))
    assert encoder_flops([7, 7], hidden=16, intermediate=24, layers=3) == counter.get_total_flops()
    assert encoder_flops([], hidden=16, intermediate=24, layers=3) == 0


def test_the_best_of_several_calls_counts_after_one_that_does_not():
    calls = []
    assert best_seconds(lambda: calls.append(1), seconds=0.0, least=4) >= 0
    assert len(calls) == 5


def test_vectors_agree_by_their_cosine():
    rows = np.array([[1.0, 0.0], [3.0, 4.0]], dtype=np.float32)
    assert vector_agreement(2 * rows, rows) == {"min": pytest.approx(1), "mean": pytest.approx(1)}
    turned = np.array([[0.0, 1.0], [3.0, 4.0]], dtype=np.float32)
    assert vector_agreement(turned, rows) == {"min": pytest.approx(0), "mean": pytest.approx(0.5)}


def test_runs_may_differ_at_the_cut_only():
    one = {"q": {"a": 0.9, "b": 0.5, "c": 0.40003}, "r": {"a": 1.0}}
    near = {"q": {"a": 0.9, "b": 0.50002, "d": 0.40001}, "r": {"a": 1.0}}
    found = agreement(one, near)
    assert (found["different"], found["violations"], found["missing_topics"]) == (2, 0, 0)
    assert found["largest_difference"] == pytest.approx(2e-5)
    far = {"q": {"a": 0.9, "c": 0.40003, "d": 0.40001}}
    found = agreement(one, far)
    assert (found["different"], found["violations"], found["missing_topics"]) == (2, 1, 1)


def test_recall_is_over_what_exact_search_finds():
    assert recall([["a", "x", "b"], ["c", "d", "e"]], [["a", "b", "y"], ["c", "d", "e"]], 3) == pytest.approx(5 / 6)
    assert recall([["a", "x"]], [["a"]], 10) == 1  # fewer documents than the depth


def test_percentiles_keep_no_list():
    found = percentiles([float(n) for n in range(101)])
    assert found == {"median": 50.0, "min": 0.0, "max": 100.0, "p95": 95.0, "count": 101}


@pytest.mark.parametrize(("text", "number"), [("10k", 10_000), ("2M", 2_000_000), ("512", 512), ("1m", 1_000_000)])
def test_sizes_in_short(text: str, number: int):
    assert whole_numbers(text) == number
    assert whole_numbers(in_words(number).replace(" ", "")) == number
