"""The whole pipeline as commands in processes of their own: collection → mine → train → encode → search → evaluate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.trec.measures import evaluate_run
from pyserini_sdr.trec.qrels import read_qrels


def sdr(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"pyserini_sdr.{words[0]}", *map(str, words[1:])]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def workplace(tiny_collection, tiny_encoder, tmp_path_factory) -> Path:
    """Everything the pipeline makes, in one folder."""
    folder = tmp_path_factory.mktemp("pipeline")
    topics = tiny_collection / "topics.test.tsv"
    sdr("encode", "input", "--corpus", tiny_collection, "output", "--embeddings", folder / "before", "--to-faiss",
        "encoder", "--encoder", tiny_encoder, "--pooling", "mean", "--l2-norm", "--precision", "fp32")  # fmt: skip
    sdr("search", "dense", "--index", folder / "before", "--topics", topics, "--output", folder / "before.trec")
    sdr("mine", "--collection", tiny_collection, "--index", folder / "before", "--output", folder / "groups.jsonl")
    sdr("train", "--collection", tiny_collection, "--encoder", tiny_encoder, "--groups", folder / "groups.jsonl",
        "--loss", "infonce", "--max-steps", 80, "--batch-size", 12, "--learning-rate", 2e-3, "--precision", "fp32",
        "--output", folder / "checkpoint")  # fmt: skip
    sdr("encode", "input", "--corpus", tiny_collection, "output", "--embeddings", folder / "after", "--to-faiss",
        "encoder", "--encoder", folder / "checkpoint", "--precision", "fp32")  # fmt: skip
    sdr("search", "dense", "--index", folder / "after", "--topics", topics, "--output", folder / "after.trec")
    return folder


def test_training_helps_on_test_queries(workplace, tiny_collection):
    qrels = read_qrels(tiny_collection / "qrels.test.txt")
    before, after = (
        sum(evaluate_run(qrels, workplace / name, ["ndcg_cut_10"])["ndcg_cut_10"].values()) / len(qrels)
        for name in ("before.trec", "after.trec")
    )
    assert after > before + 0.1


def test_evaluation_tells_effectiveness_significance_and_cost(workplace, tiny_collection):
    done = sdr("evaluate", "--qrels", tiny_collection / "qrels.test.txt", "--runs", workplace / "before.trec",
               workplace / "after.trec", "--baseline", "before", "--topics", tiny_collection / "topics.test.tsv",
               "--training", f"trained={workplace / 'checkpoint'}", "--output", workplace / "evaluation")  # fmt: skip
    assert "| after " in done.stdout and "| trained " in done.stdout and "infonce" in done.stdout
    page = (workplace / "evaluation" / "report.html").read_text()
    assert "against training triples" in page and "against training time" in page and "<svg" in page
    results = json.loads((workplace / "evaluation" / "results.json").read_text())
    assert results["training"]["trained"]["steps"] <= 80


def test_every_artefact_has_a_manifest_with_its_cost(workplace):
    for path, kind in (
        ("before/sdr_index.json", "index"),
        ("before.trec.json", "run"),
        ("groups.jsonl.json", "groups"),
        ("checkpoint/sdr_train.json", "checkpoint"),
    ):
        manifest = json.loads((workplace / path).read_text())
        assert manifest["kind"] == kind
        assert manifest["cost"]["seconds"] > 0 and manifest["cost"]["peak_memory_bytes"] > 1 << 20
        assert manifest["command"].startswith("python -m pyserini_sdr.") and manifest["versions"]["torch"]


def test_hybrid_equals_the_fusion_of_its_two_sides(workplace, tiny_collection, found_java):
    topics = tiny_collection / "topics.test.tsv"
    sdr("index", "bm25", "--input", tiny_collection, "--index", workplace / "bm25")
    sdr("search", "bm25", "--index", workplace / "bm25", "--topics", topics, "--output", workplace / "bm25.trec")
    sdr("search", "hybrid", "--index", workplace / "after", "--bm25-index", workplace / "bm25", "--topics", topics,
        "--output", workplace / "hybrid.trec", "--tag", "x")  # fmt: skip
    sdr("run", "fuse", "--runs", workplace / "after.trec", workplace / "bm25.trec", "--method", "rrf",
        "--output", workplace / "fused.trec", "--tag", "x")  # fmt: skip
    assert (workplace / "hybrid.trec").read_text() == (workplace / "fused.trec").read_text()


def test_a_searcher_in_python(workplace):
    code = (
        "import sys, pyserini_sdr\n"
        "assert 'torch' not in sys.modules\n"
        "searcher = pyserini_sdr.Searcher(sys.argv[1])\n"
        "docid, score = searcher.search('what is riverba riverdo', 3)[0]\n"
        "encoder = pyserini_sdr.BiEncoder.load(sys.argv[2])\n"
        "assert encoder.encode_queries(['a', 'b']).shape == (2, 32)\n"
        "print(docid, round(score, 3), pyserini_sdr.losses.build('infonce', temperature=0.1).temperature)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, workplace / "after", workplace / "checkpoint"],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("d0")
