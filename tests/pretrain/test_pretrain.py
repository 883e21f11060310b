"""`pretrain` as a user runs it, on a tiny encoder: learns, resumes, refuses, and what it makes is used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.model.pretrained import load_weights
from pyserini_sdr.pretrain import trainer
from pyserini_sdr.pretrain.__main__ import COMMAND as PRETRAIN
from pyserini_sdr.pretrain.engine import read_queries
from pyserini_sdr.train.__main__ import COMMAND as TRAIN

FAST = ["--precision", "fp32", "--learning-rate", "2e-3", "--batch-size", "8", "--max-length", "32"]
SCRATCH = ["--from-scratch", "--layers", "1", "--hidden-size", "16", "--heads", "2", "--vocab-size", "150"]


def run(corpus: Path, output: Path, *more: object) -> dict:
    PRETRAIN.execute("pretrain", ["--corpus", str(corpus), "--output", str(output), *FAST, *map(str, more)])
    return json.loads((output / "sdr_pretrain.json").read_text())


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_weights(directory)[0].state_dict()


def same(left: Path, right: Path, **tolerance: float) -> bool:
    one, two = weights(left), weights(right)
    return one.keys() == two.keys() and all(torch.allclose(one[key], two[key], **tolerance) for key in one)


def test_it_learns_and_writes_an_ordinary_checkpoint(tiny_collection, tiny_encoder, groups, tmp_path):
    output = tmp_path / "pretrained"
    manifest = run(tiny_collection, output, "--encoder", tiny_encoder, "--max-steps", 60, "--eval-steps", 30)
    before, after = manifest["held_out"]["before"], manifest["held_out"]["after"]
    assert after["mlm"] < before["mlm"] - 0.2 and after["decoder"] < before["decoder"] - 0.2
    assert abs(torch.tensor(after["mlm"]).exp() - after["mlm_perplexity"]) < 0.1
    assert manifest["corpus"]["held_out"] == 6 and manifest["documents"] == {"used": 480, "too_short": 0}
    log = json.loads((output / "pretrain_log.json").read_text())
    assert [entry["step"] for entry in log["held_out"]] == [0, 30, 60]
    assert {"loss", "mlm", "decoder", "spread"} <= log["steps"][0].keys()
    assert (output / "pretrain_log.png").read_bytes().startswith(b"\x89PNG")
    assert not list(output.glob("*heads*")) and not output.with_name("pretrained.parts").exists()
    model, tokenizer = AutoModel.from_pretrained(output), AutoTokenizer.from_pretrained(output)
    assert model(**tokenizer("river music", return_tensors="pt"))[0].shape[-1] == 32
    encoder = BiEncoder.load(output)  # no raw backbone: it says its pooling
    assert encoder.spec.pooling == "mean" and encoder.encode_documents(["river"]).shape == (1, 32)
    trained = tmp_path / "trained"
    TRAIN.execute("train", ["--collection", str(tiny_collection), "--encoder", str(output), "--output", str(trained),
                            "--groups", str(groups), "--max-steps", "1", "--precision", "fp32"])  # fmt: skip
    assert (trained / "sdr_train.json").exists()


def test_an_interrupted_run_ends_with_the_same_weights(tiny_collection, tiny_encoder, tmp_path, monkeypatch):
    """Cut between two checkpoints, with dropout; other options are refused before it is resumed."""
    args = ["--encoder", tiny_encoder, "--max-steps", 8, "--eval-steps", 3, "--shuffle-buffer", 20]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    expected = run(tiny_collection, whole, *args)
    step = trainer.PretrainTrainer.training_step

    def interrupted(self, model, inputs, *rest):
        if inputs["step"] == 5:
            raise KeyboardInterrupt
        return step(self, model, inputs, *rest)

    monkeypatch.setattr(trainer.PretrainTrainer, "training_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_collection, cut, *args)
    monkeypatch.undo()
    assert not cut.exists()
    with pytest.raises(DataError, match="an interrupted pre-training with another seed"):
        run(tiny_collection, cut, *args, "--seed", 1)
    manifest = run(tiny_collection, cut, *args)
    assert manifest["resumed_after_step"] == 3 and manifest["masked_tokens"] == expected["masked_tokens"]
    assert manifest["documents"] == expected["documents"]
    assert same(whole, cut, atol=0, rtol=0)
    assert manifest["held_out"]["after"]["loss"] == expected["held_out"]["after"]["loss"]
    assert not same(whole, tiny_encoder)


def test_from_scratch_is_the_same_at_every_run(tiny_collection, tmp_path):
    """Tokenizer, weights and batches; and the encoder reads no more than it was trained on."""
    args = [*SCRATCH, "--max-steps", 2, "--method", "master", "--queries", tiny_collection]
    manifest = run(tiny_collection, tmp_path / "one", *args)
    run(tiny_collection, tmp_path / "other", *args)
    one = tmp_path / "one"
    assert (one / "tokenizer.json").read_bytes() == (tmp_path / "other" / "tokenizer.json").read_bytes()
    assert same(one, tmp_path / "other", atol=0, rtol=0)
    terms = {"mlm", "mlm_next", "mlm_complement", "rare_words", "queries", "next", "complement"}
    assert terms < manifest["held_out"]["after"].keys()
    encoder = BiEncoder.load(one)
    assert encoder.spec.document_max_length == 32 and encoder.spec.dimension == 16
    assert encoder.tokenizer.tokenize("riverba") != ["[UNK]"] and len(encoder.tokenizer) <= 150


def test_sizes_and_tokenizer_of_another_checkpoint(tiny_collection, tiny_encoder, tmp_path):
    args = ["--from-scratch", "--config-of", tiny_encoder, "--tokenizer", tiny_encoder, "--method", "mlm"]
    manifest = run(tiny_collection, tmp_path / "new", *args, "--max-steps", 1, "--pooling", "cls")
    assert manifest["start"] is None and manifest["spec"]["pooling"] == "cls"
    assert "vector_gain" not in manifest["held_out"]["after"]
    left, right = weights(tmp_path / "new"), weights(tiny_encoder)
    key = "embeddings.word_embeddings.weight"
    assert left[key].shape == right[key].shape and not torch.allclose(left[key], right[key], atol=0.01)


def test_two_processes_pretrain_as_one(tiny_collection, tiny_encoder, tmp_path):
    """Same global batch, no dropout: the same weights, although one of them has a share of three documents of seven."""
    args = ["--encoder", tiny_encoder, "--max-steps", 4, "--dropout", 0, "--weight-decay", 0, "--batch-size", 7]
    expected = run(tiny_collection, tmp_path / "one", *args)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
               "-m", "pyserini_sdr.pretrain", "--corpus", str(tiny_collection), "--output", str(tmp_path / "two"),
               *FAST, *map(str, args)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    manifest = json.loads((tmp_path / "two" / "sdr_pretrain.json").read_text())
    assert manifest["masked_tokens"] == expected["masked_tokens"]
    assert abs(manifest["held_out"]["after"]["loss"] - expected["held_out"]["after"]["loss"]) < 1e-4
    assert same(tmp_path / "one", tmp_path / "two", atol=1e-5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "give either --encoder NAME or --from-scratch"),
        (["--encoder", "x", "--from-scratch"], "give either --encoder NAME or --from-scratch"),
        (["--encoder", "x", "--layers", "2"], "--layers: needs --from-scratch"),
        (["--encoder", "x", "--cased"], "--cased: needs --from-scratch"),
        (["--from-scratch", "--config-of", "x", "--heads", "2"], "--heads: --config-of x tells the sizes"),
        (["--from-scratch", "--tokenizer", "x", "--cased"], "--cased: --tokenizer x is taken as it is"),
        (["--from-scratch", "--heads", "3"], "--hidden-size 256: must be a multiple of --heads 3"),
        (["--encoder", "x", "--queries", "q"], "--queries: needs --method master"),
        (["--encoder", "x", "--method", "mlm", "--decoder-mask", "0.3"], "--decoder-mask: --method mlm"),
        (["--encoder", "x", "--encoder-mask", "1"], "--encoder-mask 1.0"),
    ],
)
def test_options_that_do_not_fit(tmp_path, more, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        PRETRAIN.execute("pretrain", ["--corpus", "none", "--output", str(tmp_path / "out"), *more])
    assert not list(tmp_path.iterdir())


def test_wrong_input_is_named(tiny_collection, tiny_encoder, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="--max-length 200: the encoder has positions for 128 tokens"):
        run(tiny_collection, out, "--encoder", tiny_encoder, "--max-length", 200)
    lines = next((tiny_collection / "corpus").glob("*")).read_text().splitlines(keepends=True)
    corpus = tmp_path / "corpus.jsonl"
    corpus.write_text("".join([*lines[:30], '{"id": "x"}\n', *lines[30:]]))
    with pytest.raises(DataError, match=r"corpus\.jsonl:31: no text"):
        run(corpus, out, "--encoder", tiny_encoder, "--overwrite")
    corpus.write_text("".join(lines[:10]))
    with pytest.raises(DataError, match="has 10 documents, at least 20 are needed"):
        run(corpus, out, "--encoder", tiny_encoder, "--overwrite")
    short = "".join(json.dumps({"id": f"d{number}", "contents": "river"}) + "\n" for number in range(30))
    corpus.write_text(short)
    with pytest.raises(DataError, match="none of 3 held-out documents is long enough; try --method mlm"):
        run(corpus, out, "--encoder", tiny_encoder, "--overwrite")
    assert not out.exists()


def test_an_existing_output_is_not_overwritten(tiny_collection, tiny_encoder, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    (output / "precious.txt").write_text("mine")
    with pytest.raises(DataError, match="already exists"):
        run(tiny_collection, output, "--encoder", tiny_encoder)
    with pytest.raises(DataError, match=r"holds other files and no sdr_pretrain\.json"):
        run(tiny_collection, output, "--encoder", tiny_encoder, "--overwrite")
    assert (output / "precious.txt").read_text() == "mine"


def test_queries_of_documents(tiny_collection, tmp_path):
    found = read_queries(tiny_collection)
    assert len(found) == 36 and found["d000"][0].startswith("what is ")
    path = tmp_path / "queries.tsv"
    path.write_text("d1\tfirst question\nd1\tsecond\n")
    assert read_queries(path) == {"d1": ["first question", "second"]}
    path.write_text("d1\tfirst question\nd1 second\n")
    with pytest.raises(DataError, match=r"queries\.tsv:2: expected document id, tab, query, found 'd1 second'"):
        read_queries(path)
