"""Dense search equals brute force over plain NumPy arrays, whatever the batches, ties and formats."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr import Searcher
from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.search.__main__ import COMMAND
from pyserini_sdr.trec.run import read_run
from pyserini_sdr.trec.topics import read_topics

from ..encode.make import make_checkpoint, read_index, run_encode
from ..index.test_build import write_flat
from ..tiny import make_tiny_encoder


@pytest.fixture(scope="module")
def index(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(tiny_collection, tmp_path_factory.mktemp("search") / "index", checkpoint)


@pytest.fixture(scope="module")
def topics(tiny_collection: Path) -> Path:
    return tiny_collection / "topics.test.tsv"


def search(index: Path, topics: Path | str, output: Path, *flags: object) -> Path:
    argv = ["dense", "--index", index, "--topics", topics, "--output", output, "--device", "cpu", *flags]
    assert COMMAND.execute("python -m pyserini_sdr.search", [str(word) for word in argv]) == 0
    return output


def brute_force(index: Path, checkpoint: Path, topics: dict[str, str]) -> dict[str, dict[str, float]]:
    """Every document's score for every topic, by a matrix product."""
    ids, documents = read_index(index)
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32")
    scores = encoder.encode_queries(list(topics.values())) @ documents.T
    return {qid: dict(zip(ids, row.tolist(), strict=True)) for qid, row in zip(topics, scores, strict=True)}


def lines(run: Path) -> list[list[str]]:
    return [line.split() for line in run.read_text("utf-8").splitlines()]


def test_run_equals_brute_force(index: Path, checkpoint: Path, topics: Path, tmp_path: Path) -> None:
    run = search(index, topics, tmp_path / "run.trec", "--hits", 15)
    expected = brute_force(index, checkpoint, read_topics(topics))
    found = read_run(run)
    assert list(found) == list(expected)
    for qid, scores in found.items():
        best = sorted(expected[qid].values(), reverse=True)[:15]
        assert list(scores.values()) == pytest.approx(best, abs=1e-5)
        assert scores == pytest.approx({docid: expected[qid][docid] for docid in scores}, abs=1e-5)
    rows = lines(run)
    assert [row[3] for row in rows] == [str(position) for _ in found for position in range(1, 16)]
    assert {(row[1], row[5]) for row in rows} == {("Q0", "sdr-dense")}


def test_batches_and_threads_change_nothing(index: Path, topics: Path, tmp_path: Path) -> None:
    runs = [
        search(index, topics, tmp_path / f"{n}.trec", "--hits", 12, *flags)
        for n, flags in enumerate([("--batch-size", 1), ("--batch-size", 5), ("--threads", 1), ()])
    ]
    first = read_run(runs[0])
    for run in map(read_run, runs[1:]):
        assert list(run) == list(first)
        for qid in run:
            assert run[qid] == pytest.approx(first[qid], abs=1e-6)


def test_more_hits_than_documents(index: Path, topics: Path, tmp_path: Path) -> None:
    run = read_run(search(index, topics, tmp_path / "run.trec", "--hits", 1000))
    assert {len(scores) for scores in run.values()} == {60}


def test_ties_are_in_trec_evals_order(checkpoint: Path, topics: Path, tmp_path: Path) -> None:
    """Equal scores: document id descending, also at the cut."""
    ids = [f"d{n}" for n in (3, 11, 2, 9, 10, 1)]
    folder = write_flat(tmp_path / "index", np.tile(np.eye(32)[0], (6, 1)), ids)
    run = search(folder, topics, tmp_path / "run.trec", "--hits", 4, "--encoder", checkpoint)
    for scores in read_run(run).values():
        assert list(scores) == ["d9", "d3", "d2", "d11"]


@pytest.mark.parametrize("batch", [1, 7])
def test_remove_query(index: Path, tmp_path: Path, batch: int) -> None:
    """The document with the topic's id is left out, and as many others are there as were asked for."""
    (tmp_path / "t.tsv").write_text("d003\triver riverba\nd010\tmusic of planet\nq1\tgarden\n")
    settings = ("--hits", 59, "--batch-size", batch)
    without = read_run(search(index, tmp_path / "t.tsv", tmp_path / "1.trec", *settings, "--remove-query"))
    complete = read_run(search(index, tmp_path / "t.tsv", tmp_path / "2.trec", "--hits", 60))
    assert all(len(scores) == 59 for scores in without.values())
    for qid in ("d003", "d010"):
        assert qid not in without[qid] and qid in complete[qid]
        assert set(without[qid]) == set(complete[qid]) - {qid}


def test_numbers_stay_strings(index: Path, tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("007\triver\n7\tmusic\n")
    assert list(read_run(search(index, tmp_path / "t.tsv", tmp_path / "run.trec"))) == ["007", "7"]


def test_msmarco_format_and_gz(index: Path, topics: Path, tmp_path: Path) -> None:
    trec = search(index, topics, tmp_path / "run.trec", "--hits", 5)
    msmarco = search(index, topics, tmp_path / "run.tsv", "--hits", 5, "--output-format", "msmarco")
    assert [[row[0], row[2], row[3]] for row in lines(trec)] == lines(msmarco)
    assert "\t" in msmarco.read_text()
    zipped = search(index, topics, tmp_path / "run.gz", "--hits", 5)
    assert zipped.read_bytes()[:2] == b"\x1f\x8b"
    assert read_run(zipped) == read_run(trec)


def test_manifest_and_stock_command(
    index: Path, topics: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = search(index, topics, tmp_path / "run.trec", "--hits", 5, "--tag", "mine")
    assert {row[5] for row in lines(run)} == {"mine"}
    manifest = json.loads((tmp_path / "run.trec.json").read_text())
    assert (manifest["kind"], manifest["topics"], manifest["lines"]) == ("run", 12, 60)
    assert manifest["weights"] == BiEncoder.load(checkpoint, device="cpu").fingerprint
    text = capsys.readouterr().err
    assert f"python -m pyserini.search.faiss --index {index} --topics {topics} --encoder {checkpoint}" in text
    assert "--encoder-class auto --pooling mean --l2-norm --query-prefix what:" in text and "--hits 5" in text


def test_no_stock_command_for_what_stock_cannot_do(
    index: Path, topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(index, topics, tmp_path / "run.trec", "--remove-query")
    assert "pyserini.search.faiss" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--pooling", "cls"), "differs from this one in pooling 'mean' ≠ 'cls'"),
        (("--no-l2-norm",), "differs from this one in similarity 'cosine' ≠ 'dot'"),
        (("--max-length", 500), "maximum query length 500: the encoder has positions for 128 tokens"),
        (("--device", "nonsense"), "--device nonsense"),
    ],
)
def test_flags_that_do_not_fit(
    index: Path, topics: Path, tmp_path: Path, flags: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        search(index, topics, tmp_path / "run.trec", *flags)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_encoder_with_other_weights(index: Path, topics: Path, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other", make_tiny_encoder(tmp_path / "raw", seed=1))
    with pytest.raises(UsageError, match="differs from this one in weights"):
        search(index, topics, tmp_path / "run.trec", "--encoder", other)
    assert not (tmp_path / "run.trec").exists()


def test_encoder_that_moved(tiny_collection: Path, checkpoint: Path, topics: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "before")
    index = run_encode(tiny_collection, tmp_path / "index", tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    with pytest.raises(DataError, match="which is not there any more; give --encoder with its new place"):
        search(index, topics, tmp_path / "run.trec")
    search(index, topics, tmp_path / "run.trec", "--encoder", tmp_path / "after")


def test_index_made_with_overriding_flags_is_searched_with_them(
    tiny_collection: Path, checkpoint: Path, topics: Path, tmp_path: Path
) -> None:
    flags = ("--precision", "fp32", "--pooling", "cls", "--no-l2-norm")
    index = run_encode(tiny_collection, tmp_path / "index", checkpoint, model=flags)
    run = read_run(search(index, topics, tmp_path / "run.trec", "--hits", 60))
    encoder = BiEncoder.load(checkpoint, device="cpu", precision="fp32", pooling="cls", similarity="dot")
    ids, documents = read_index(index)
    for qid, query in read_topics(topics).items():
        scores = dict(zip(ids, (documents @ encoder.encode_queries([query])[0]).tolist(), strict=True))
        assert run[qid] == pytest.approx(scores, abs=1e-4)


def test_query_side_may_be_overridden(index: Path, checkpoint: Path, topics: Path, tmp_path: Path) -> None:
    run = read_run(search(index, topics, tmp_path / "run.trec", "--query-prefix", "", "--max-length", 5))
    encoder = BiEncoder.load(checkpoint, device="cpu", query_prefix="", query_max_length=5)
    ids, documents = read_index(index)
    qid, query = next(iter(read_topics(topics).items()))
    scores = dict(zip(ids, (documents @ encoder.encode_queries([query])[0]).tolist(), strict=True))
    assert run[qid] == pytest.approx(scores, abs=1e-5)


def test_index_of_stock_needs_an_encoder(
    index: Path, topics: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stock = tmp_path / "stock"
    shutil.copytree(index, stock, ignore=shutil.ignore_patterns("*.json"))
    with pytest.raises(DataError, match="does not tell its encoder; give --encoder"):
        search(stock, topics, tmp_path / "run.trec")
    run = search(stock, topics, tmp_path / "run.trec", "--encoder", checkpoint)
    assert "whether this one made it cannot be checked" in capsys.readouterr().err
    assert read_run(run) == read_run(search(index, topics, tmp_path / "ours.trec"))


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "t.tsv"), ("q1\n", "t.tsv:1"), ("q1\ta\nq1\tb\n", "t.tsv:2"), ("q1\t \n", "t.tsv:1")],
)
def test_bad_topics_leave_no_run(index: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "t.tsv").write_text(content)
    with pytest.raises(SdrError) as caught:
        search(index, tmp_path / "t.tsv", tmp_path / "run.trec")
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["t.tsv"]


def test_searcher_api(index: Path, checkpoint: Path, topics: Path) -> None:
    searcher = Searcher(index, device="cpu")
    expected = brute_force(index, checkpoint, {"q": "river of music"})["q"]
    hits = searcher.search("river of music", hits=3)
    assert [score for _, score in hits] == pytest.approx(sorted(expected.values(), reverse=True)[:3], abs=1e-5)
    assert all(isinstance(docid, str) and isinstance(score, float) for docid, score in hits)
    assert len(searcher.search("river")) == 10
    results = dict(searcher.search_topics(read_topics(topics), hits=2, batch_size=5))
    assert list(results) == list(read_topics(topics))
    assert all(len(ranking) == 2 for ranking in results.values())
    encoder = BiEncoder.load(checkpoint, device="cpu")
    assert Searcher(searcher.index, encoder).search("river of music", hits=3) == hits
    assert list(searcher.search_topics({})) == []
