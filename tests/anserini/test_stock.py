"""Stock command lines: how they are built, printed and run, and which paths are warned about."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pyserini_sdr.anserini import stock
from pyserini_sdr.anserini.java import Java
from pyserini_sdr.anserini.stock import (
    StockCommand,
    encode_command,
    faiss_search_command,
    lucene_index_command,
    lucene_search_command,
    path_warnings,
    run_stock,
    trec_eval_commands,
)
from pyserini_sdr.core.errors import SdrError, UsageError


def test_faiss_search_always_names_class_pooling_and_norm():
    command = faiss_search_command(
        index="idx",
        topics="my topics.tsv",
        encoder="model",
        output="run.txt",
        pooling="mean",
        l2_norm=True,
        query_prefix="query:",
        hits=100,
        batch_size=16,
        threads=2,
    )
    assert str(command) == (
        "python -m pyserini.search.faiss --index idx --topics 'my topics.tsv' --encoder model --encoder-class auto "
        "--pooling mean --l2-norm --query-prefix query: --output run.txt --hits 100 --batch-size 16 --threads 2"
    )
    assert command.argv[:3] == [sys.executable, "-m", "pyserini.search.faiss"]


def test_dot_product_and_empty_prefix_leave_their_flags_out():
    command = faiss_search_command(
        index="i", topics="t", encoder="e", output="o", pooling="cls", l2_norm=False, query_prefix=""
    )
    assert "--l2-norm" not in command.args
    assert "--query-prefix" not in command.args


def test_value_that_looks_like_a_flag_is_joined():
    command = faiss_search_command(
        index="i", topics="t", encoder="e", output="o", pooling="cls", l2_norm=False, query_prefix="- q:"
    )
    assert "--query-prefix=- q:" in command.args


def test_pooling_that_stock_takes_for_cls_is_refused():
    with pytest.raises(UsageError, match="pooling 'last' cannot be had from stock"):
        faiss_search_command(index="i", topics="t", encoder="e", output="o", pooling="last", l2_norm=True)


def test_encode_command_keeps_group_words_out_of_values():
    command = encode_command(
        corpus="input",
        embeddings="output",
        encoder="encoder",
        dimension=32,
        pooling="mean",
        l2_norm=True,
        document_prefix="passage:",
        max_length=64,
    )
    assert str(command) == (
        "python -m pyserini.encode input --corpus ./input --fields text output --embeddings ./output --to-faiss "
        "encoder --encoder ./encoder --encoder-class auto --fields text --pooling mean --l2-norm --prefix passage: "
        "--max-length 64 --dimension 32 --device cpu"
    )


def test_lucene_commands():
    assert str(lucene_index_command(corpus="c", index="i", threads=2, store_raw=True)) == (
        "python -m pyserini.index.lucene --collection JsonCollection --generator DefaultLuceneDocumentGenerator "
        "--input c --index i --threads 2 --storeRaw"
    )
    assert str(lucene_search_command(index="i", topics="t", output="o", k1=0.82, b=0.68, hits=10)) == (
        "python -m pyserini.search.lucene --bm25 --index i --topics t --output o --hits 10 --k1 0.82 --b 0.68"
    )


def test_trec_eval_puts_cut_reciprocal_rank_in_its_own_command():
    commands = trec_eval_commands("q", "r", ["ndcg_cut_10", "recip_rank_cut_10", "recall_100", "map", "map_cut_5"])
    assert [str(c) for c in commands] == [
        "python -m pyserini.eval.trec_eval -c -m ndcg_cut.10 -m recall.100 -m map -m map_cut.5 q r",
        "python -m pyserini.eval.trec_eval -c -M 10 -m recip_rank q r",
    ]


def test_trec_eval_gets_the_cut_offs_of_a_measure_in_one_word():
    (command,) = trec_eval_commands(
        "q", "r", ["P_5", "map", "P_10", "P_5", "iprec_at_recall_0.10", "iprec_at_recall_0.20"]
    )
    assert str(command) == ("python -m pyserini.eval.trec_eval -c -m P.5,10 -m map -m iprec_at_recall.0.10,0.20 q r")


def test_trec_eval_puts_each_relevance_level_in_its_own_command():
    measures = ["nDCG@10", "AP(rel=2)", "R(rel=2)@1000", "RR(rel=2)@10", "Judged@10", "P@5", "IPrec(rel=3)@0.1"]
    assert [str(c) for c in trec_eval_commands("q", "r", measures)] == [
        "python -m pyserini.eval.trec_eval -c -m ndcg_cut.10 -m P.5 q r",
        "python -m pyserini.eval.trec_eval -c -l 2 -m map -m recall.1000 q r",
        "python -m pyserini.eval.trec_eval -c -M 10 -l 2 -m recip_rank q r",
        "python -m pyserini.eval.trec_eval -c -l 3 -m iprec_at_recall.0.10 q r",
    ]
    assert [str(c) for c in trec_eval_commands("q", "r", ["nDCG@10", "AP", "AP(rel=2)"], relevance_level=2)] == [
        "python -m pyserini.eval.trec_eval -c -m ndcg_cut.10 q r",
        "python -m pyserini.eval.trec_eval -c -l 2 -m map q r",
    ]


@pytest.fixture
def fake_module(monkeypatch: pytest.MonkeyPatch):
    """Makes `run_stock` run a line of Python in place of a module."""

    def install(code: str) -> None:
        monkeypatch.setattr(stock, "invocation", lambda *_: ([sys.executable, "-c", code], dict(os.environ)))

    return install


def test_failing_command_is_one_line(fake_module):
    fake_module("print('x'); raise ValueError('Unable to read')")
    with pytest.raises(SdrError) as caught:
        run_stock("pyserini.x", ["--a", "b c"])
    assert str(caught.value) == (
        "pyserini.x failed with exit status 1: ValueError: Unable to read; repeat with: python -m pyserini.x --a 'b c'"
    )


def test_success_without_output_is_a_failure(fake_module, tmp_path):
    fake_module("print('Unknown index')")
    with pytest.raises(SdrError, match=r"pyserini\.x left no output: Unknown index"):
        StockCommand("pyserini.x", ()).run(output=tmp_path / "run.txt")
    assert run_stock("pyserini.x", []).stdout == "Unknown index\n"


@pytest.mark.parametrize(
    ("version", "vector", "plain"),
    [("1.6.0", True, True), ("1.6.0", False, False), ("2.3.0", True, True), ("2.4.0", True, False)],
)
def test_our_runner_is_used_where_stock_cannot_start_by_itself(
    version: str, vector: bool, plain: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """For lack of the vector module, or of a network, which Pyserini 2.4 asks for while it is imported."""
    monkeypatch.setattr(stock.compat.metadata, "version", lambda package: version)
    command, environment = stock.invocation("pyserini.fusion", ["-h"], Java(tmp_path, "21", vector, "PATH"))
    runner = [] if plain else ["pyserini_sdr.anserini"]
    assert command == [sys.executable, "-m", *runner, "pyserini.fusion", "-h"]
    assert environment["JAVA_HOME"] == str(tmp_path)


@pytest.mark.parametrize(
    ("path", "role", "word"),
    [
        ("runs/clip-like/model", "encoder", "clip"),
        ("/home/BuddSen/model", "encoder", "dse"),
        ("idx/bright-aops", "index", "bright-aops"),
        ("data/beir/topics.jsonl", "topics", "beir"),
        ("data/cacm/topics.tsv", "topics", "cacm"),
        ("x/msmarco-passage-dev-subset.tsv", "topics", "msmarco-passage-dev-subset"),
        ("data/mbeir/corpus", "corpus", "mbeir"),
        ("data/bright/corpus", "corpus", "bright"),
    ],
)
def test_paths_that_stock_misreads(path: str, role, word: str):
    (warning,) = path_warnings(path, role)
    assert warning.startswith(f"{path}: stock Pyserini sees {word!r} in this path and ")
    assert "; rename" in warning


@pytest.mark.parametrize(
    ("path", "role"),
    [
        ("relevance/performance/auto/model", "encoder"),  # harmless, because --encoder-class auto is given
        ("sentence-transformers/model", "encoder"),
        ("data/beir/topics.tsv", "topics"),
        ("data/beir/topics.json", "topics"),
        ("data/beir/cacm/topics.tsv", "topics"),
        ("data/scifact/corpus", "corpus"),
        ("bright/index", "index"),
    ],
)
def test_paths_that_stock_reads_well(path: str, role):
    assert path_warnings(path, role) == []


def test_class_words_matter_where_the_class_is_not_given():
    (warning,) = path_warnings("runs/relevance/model", "encoder", class_given=False)
    assert "sees 'ance' in this path and takes another encoder class; give --encoder-class auto" in warning
    (warning,) = path_warnings("runs/automatic/model", "encoder", class_given=False)
    assert "sees 'auto' in this path and drops pooling and normalisation" in warning
