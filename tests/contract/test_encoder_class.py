"""`--encoder-class`: stock's encode and search on published classes against ours, and indexes that know their class."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pyserini_sdr.anserini.stock import faiss_search_command, run_stock
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.encode.__main__ import COMMAND as ENCODE
from pyserini_sdr.index.__main__ import COMMAND as INDEX
from pyserini_sdr.mine.__main__ import COMMAND as MINE
from pyserini_sdr.search.__main__ import COMMAND as SEARCH
from pyserini_sdr.trec.run import read_run

from ..anserini.stock_models import make_dpr
from ..encode.make import argv, make_checkpoint, read_index, run_encode
from ..tiny import make_tiny_encoder


@pytest.fixture(scope="module")
def tct_index(tiny_collection: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index made with `--encoder-class tct_colbert`."""
    output = tmp_path_factory.mktemp("class") / "index"
    return run_encode(tiny_collection, output, tiny_encoder, model=("--encoder-class", "tct_colbert"))


@pytest.fixture
def at(tiny_collection: Path, tmp_path: Path) -> SimpleNamespace:
    return SimpleNamespace(topics=tiny_collection / "topics.test.tsv", run=tmp_path / "run.trec")


def search(at: SimpleNamespace, index: Path, *flags: object) -> dict[str, dict[str, float]]:
    words = ["dense", "--index", index, "--topics", at.topics, "--output", at.run, "--hits", 20, *flags]
    assert SEARCH.execute("search", [str(word) for word in words]) == 0
    return read_run(at.run)


def usage_error(at: SimpleNamespace, index: Path, *flags: object) -> str:
    with pytest.raises(UsageError) as caught:
        search(at, index, *flags)
    assert not at.run.exists()
    return str(caught.value)


@pytest.mark.parametrize("name", ["tct_colbert", "contriever"])
def test_same_index_as_stock(name: str, tiny_collection: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    model = ("--encoder-class", name, "--dimension", 32, "--max-length", 24)
    words = argv(tiny_collection / "corpus", tmp_path / "stock", tiny_encoder, out=["--to-faiss"], model=model)
    run_stock("pyserini.encode", [*words, "--device", "cpu"], output=tmp_path / "stock" / "index")
    ours = run_encode(tiny_collection, tmp_path / "ours", tiny_encoder, model=model)
    (ids, expected), (own_ids, vectors) = read_index(tmp_path / "stock"), read_index(ours)
    assert own_ids == ids and len(ids) == 60
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((vectors * expected).sum(axis=1) / norms).min() >= 0.99999
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    manifest = json.loads((ours / "sdr_index.json").read_text())
    assert manifest["spec"] == {"encoder_class": name, "dimension": 32, "document_max_length": 24}


def test_same_run_as_stock(tct_index: Path, tiny_encoder: Path, at: SimpleNamespace, tmp_path: Path) -> None:
    """The class need not be given again, and the command that is printed gives the same run."""
    ours = search(at, tct_index)
    command = json.loads(at.run.with_name("run.trec.json").read_text())["stock_command"]
    expected = faiss_search_command(
        index=tct_index,
        topics=at.topics,
        encoder=tiny_encoder,
        encoder_class="tct_colbert",
        output=f"{at.run}.stock",
        hits=20,
    )
    assert command == str(expected) and "--pooling" not in command
    expected.run(output=f"{at.run}.stock")
    stock = read_run(Path(f"{at.run}.stock"))
    assert ours.keys() == stock.keys() and len(ours) == 12
    for qid, scores in ours.items():
        cut = min(stock[qid].values())
        for docid, score in scores.items():
            assert score == pytest.approx(stock[qid].get(docid, cut), abs=1e-4)
    assert search(at, tct_index, "--encoder", tiny_encoder, "--encoder-class", "tct_colbert") == ours


def test_wrong_query_encoder_is_refused(
    tct_index: Path, tiny_encoder: Path, tiny_collection: Path, at: SimpleNamespace, tmp_path: Path
) -> None:
    for name in ("contriever", "auto"):
        message = usage_error(at, tct_index, "--encoder-class", name)
        assert message.startswith(f"--encoder-class {name}: {tct_index} was made by an encoder of class 'tct_colbert'")
    other = make_tiny_encoder(tmp_path / "other", seed=1)
    assert "differs from this one in weights " in usage_error(at, tct_index, "--encoder", other)
    assert usage_error(at, tct_index, "--pooling", "cls").startswith("--pooling: encoder class 'tct_colbert' fixes it")
    assert "the length of a query" in usage_error(at, tct_index, "--max-length", 20)
    checkpoint = make_checkpoint(tmp_path / "checkpoint", tiny_encoder)
    auto_index = run_encode(tiny_collection, tmp_path / "auto", checkpoint)
    message = usage_error(at, auto_index, "--encoder-class", "tct_colbert")
    assert "was made by an encoder of class 'auto'" in message


def test_loaded_encoder_of_another_class_is_refused(tct_index: Path, tiny_encoder: Path) -> None:
    from pyserini_sdr.anserini.encoders import StockEncoder
    from pyserini_sdr.model.encoder import BiEncoder
    from pyserini_sdr.search.searcher import Searcher

    ours = BiEncoder.load(tiny_encoder, device="cpu", pooling="mean", similarity="dot")
    with pytest.raises(UsageError, match="in encoder class 'tct_colbert' ≠ 'auto'; search it with"):
        Searcher(tct_index, ours)
    with pytest.raises(UsageError, match="in encoder class 'tct_colbert' ≠ 'contriever'; search it with"):
        Searcher(tct_index, StockEncoder(tiny_encoder, "contriever", side="query", device="cpu"))


def test_index_without_a_manifest_takes_the_class_and_warns(
    tct_index: Path, tiny_encoder: Path, at: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("index", "docid"):
        (foreign / name).write_bytes((tct_index / name).read_bytes())
    run = search(at, foreign, "--encoder", tiny_encoder, "--encoder-class", "tct_colbert")
    assert "does not tell its encoder: whether this one made it cannot be checked" in capsys.readouterr().err
    assert run == search(at, tct_index)


def test_index_copied_and_verified(tct_index: Path, tiny_collection: Path, at: SimpleNamespace, tmp_path: Path) -> None:
    """`index build` keeps the class, `index verify` encodes with it again."""
    copy = tmp_path / "copy"
    assert INDEX.execute("index", ["build", "--input", str(tct_index), "--output", str(copy)]) == 0
    assert INDEX.execute("index", ["verify", "--index", str(copy), "--corpus", str(tiny_collection)]) == 0
    assert search(at, copy) == search(at, tct_index)


def test_dpr_has_two_checkpoints(
    tiny_encoder: Path, at: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And encodes title and text as a pair; what belongs together cannot be checked."""
    corpus = tmp_path / "corpus.jsonl"
    lines = [json.dumps({"id": f"d{n}", "title": f"music {n}", "text": "the river " * (n + 1)}) for n in range(8)]
    corpus.write_text("\n".join(lines) + "\n")
    context = make_dpr(tmp_path / "context", tiny_encoder, "Context")
    question = make_dpr(tmp_path / "question", tiny_encoder, "Question", seed=1)
    fields = ("--fields", "title", "text")
    index = run_encode(
        corpus, tmp_path / "index", context, input=fields, model=("--encoder-class", "dpr", *fields, "--device", "cpu")
    )
    assert "--encoder QUERY_ENCODER --encoder-class dpr" in capsys.readouterr().err
    from pyserini.encode import DprDocumentEncoder

    expected = DprDocumentEncoder(str(context), device="cpu").encode(
        [f"{'the river ' * (n + 1)}" for n in range(8)], titles=[f"music {n}" for n in range(8)]
    )
    np.testing.assert_allclose(read_index(index)[1], expected, atol=1e-5)
    assert "has a checkpoint of its own for queries; give --encoder" in usage_error(at, index)
    assert len(search(at, index, "--encoder", question)) == 12
    assert f"whether {question}" in capsys.readouterr().err


def test_mine_searches_such_an_index(tct_index: Path, tiny_collection: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.jsonl"
    words = ["--collection", tiny_collection, "--index", tct_index, "--output", groups, "--negatives", 2]
    assert MINE.execute("mine", [str(word) for word in words]) == 0
    assert len(groups.read_text().splitlines()) == 36


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("tct", "--l2-norm"), "encoder: --encoder-class tct: unknown encoder class 'tct'; "),
        (("qwen3",), "others run through python -m pyserini_sdr.anserini pyserini.encode"),
        (("tct_colbert", "--no-l2-norm"), "--l2-norm: encoder class 'tct_colbert' fixes it"),
        (("contriever", "--pooling", "cls"), "--pooling: encoder class 'contriever' fixes it"),
        (("ance", "--prefix", "passage:"), "--prefix: encoder class 'ance' fixes it"),
        (("ance", "--fp16"), "--precision fp16: encoder class 'ance' computes in fp32"),
        (("tct_colbert", "--add-sep"), "--add-sep: encoder class 'tct_colbert' joins title and text"),
        (("tct_colbert", "--dimension", 768), "--dimension 768: the encoder's dimension is 32"),
    ],
)
def test_usage_errors(
    flags: tuple[object, ...], message: str, tiny_collection: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        run_encode(tiny_collection, tmp_path / "index", tiny_encoder, model=("--encoder-class", *flags))
    assert message in str(caught.value)
    assert not (tmp_path / "index").exists()


def test_help_names_the_classes(capsys: pytest.CaptureFixture[str]) -> None:
    ENCODE.execute("encode", ["--help"])
    encode = " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        SEARCH.execute("search", ["dense", "--help"])
    dense = " ".join(capsys.readouterr().out.split())
    for text in (encode, dense):
        assert "--encoder-class" in text and "tct_colbert, ance, dpr, contriever" in text
