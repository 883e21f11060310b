"""Several indexes, of one type or of several, searched as one; settings of their types; threads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest
import torch

from pyserini_sdr import Searcher
from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.encode.chunks import FOLDER
from pyserini_sdr.index.store import open_index
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.search.shards import index_directories
from pyserini_sdr.trec.run import read_run

from ..encode.make import read_index, run_encode
from .test_dense import search


@pytest.fixture(scope="module")
def whole(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(tiny_collection, tmp_path_factory.mktemp("whole") / "index", checkpoint)


@pytest.fixture(scope="module")
def shards(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of four shards."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(4):
        cut = ("--shard-id", number, "--shard-num", 4)
        run_encode(tiny_collection, folder / f"shard{number}", checkpoint, input=cut)
    return folder


@pytest.fixture
def topics(tiny_collection: Path) -> Path:
    return tiny_collection / "topics.test.tsv"


def converted(index: Path, directory: Path, factory: str) -> Path:
    """The same index in another type of FAISS's."""
    shutil.copytree(index, directory)
    _, vectors = read_index(index)
    other = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    other.train(vectors)
    other.add(vectors)
    faiss.write_index(other, str(directory / "index"))
    return directory


def test_shards_give_the_run_of_the_whole(whole: Path, shards: Path, topics: Path, tmp_path: Path) -> None:
    expected = search(whole, topics, tmp_path / "whole.trec", "--hits", 17).read_text()
    assert search(shards, topics, tmp_path / "folder.trec", "--hits", 17).read_text() == expected
    listed = [shards / f"shard{n}" for n in (2, 0, 3)]
    run = search(
        shards / "shard1", topics, tmp_path / "listed.trec", "--hits", 17, "--index", shards / "shard1", *listed
    )
    assert run.read_text() == expected


def test_types_may_be_mixed(whole: Path, shards: Path, topics: Path, tmp_path: Path) -> None:
    mixed = [shards / "shard0", converted(shards / "shard1", tmp_path / "a", "HNSW16"), shards / "shard2"]
    mixed.append(converted(shards / "shard3", tmp_path / "b", "IVF2,Flat"))
    expected = read_run(search(whole, topics, tmp_path / "whole.trec", "--hits", 60))
    flags = ("--nprobe", 2)
    with pytest.raises(UsageError, match=r"--nprobe 2: .*shard0 is an index of type 'flat', which has no lists"):
        search(mixed[0], topics, tmp_path / "run.trec", "--index", *mixed, *flags)
    index = faiss.read_index(str(mixed[3] / "index"))
    index.nprobe = 2
    faiss.write_index(index, str(mixed[3] / "index"))
    run = read_run(search(mixed[0], topics, tmp_path / "run.trec", "--index", *mixed, "--hits", 60))
    for qid, scores in run.items():
        assert scores == pytest.approx(expected[qid], abs=1e-5)


def test_no_stock_command_for_shards_and_a_warning_for_missing_ones(
    shards: Path, topics: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(shards, topics, tmp_path / "run.trec")
    text = capsys.readouterr().err
    assert "pyserini.search.faiss" not in text and "shard of" not in text
    search(shards / "shard0", topics, tmp_path / "run.trec", "--index", shards / "shard0", shards / "shard2")
    assert "shard0 is a shard of 4, and 2 of them are searched" in capsys.readouterr().err


def test_what_is_no_set_of_shards(shards: Path, topics: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shard1 is given twice"):
        search(shards, topics, tmp_path / "run.trec", "--index", shards, shards / "shard1")
    shutil.copytree(shards, tmp_path / "some")
    shutil.rmtree(tmp_path / "some" / "shard2")
    (tmp_path / "some" / "shard2" / FOLDER).mkdir(parents=True)
    with pytest.raises(DataError, match="shard2: holds an unfinished encoding"):
        search(tmp_path / "some", topics, tmp_path / "run.trec")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: is not an index directory"):
        search(tmp_path / "empty", topics, tmp_path / "run.trec")
    manifest = tmp_path / "some" / "shard3" / "sdr_index.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"weights": "0" * 64}))
    with pytest.raises(UsageError, match=r"shard3: was made by an encoder .* differs from this one in weights"):
        search(tmp_path / "some", topics, tmp_path / "run.trec", "--index", shards / "shard0", manifest.parent)
    assert not (tmp_path / "run.trec").exists()


def test_a_document_in_two_shards_is_told(whole: Path, shards: Path, topics: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is in two of the indexes"):
        search(whole, topics, tmp_path / "run.trec", "--index", whole, shards / "shard1")
    assert not (tmp_path / "run.trec").exists()


def test_shards_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("s10", "s2", "s1", ".s0", "other"):
        (tmp_path / name).mkdir()
        if name != "other":
            (tmp_path / name / "index").touch()
            (tmp_path / name / "docid").touch()
    assert [path.name for path in index_directories([tmp_path])] == ["s1", "s2", "s10"]


def test_settings_of_approximate_indexes(whole: Path, topics: Path, tmp_path: Path) -> None:
    exact = read_run(search(whole, topics, tmp_path / "exact.trec", "--hits", 60))
    lists = converted(whole, tmp_path / "ivf", "IVF6,Flat")
    few, all_ = (read_run(search(lists, topics, tmp_path / f"{n}.trec", "--hits", 60, "--nprobe", n)) for n in (1, 6))
    assert sum(map(len, few.values())) < sum(map(len, all_.values())) == sum(map(len, exact.values()))
    graph = converted(whole, tmp_path / "hnsw", "HNSW8")
    run = read_run(search(graph, topics, tmp_path / "h.trec", "--hits", 20, "--ef-search", 100))
    for qid, scores in run.items():
        assert len(set(scores) & set(list(exact[qid])[:20])) >= 18
    for index, flags, message in (
        (whole, ("--ef-search", 9), "is of type 'flat', which has no graph"),
        (graph, ("--nprobe", 9), "is an index of type 'hnsw', which has no lists"),
        (lists, ("--faiss-device", "cuda"), "--faiss-device cuda"),
        (whole, ("--faiss-device", "nonsense"), "--faiss-device nonsense"),
        (whole, ("--ef-search", 0), "--ef-search 0: must be at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            search(index, topics, tmp_path / "wrong.trec", *flags)
    assert not (tmp_path / "wrong.trec").exists()


def test_ef_search_is_in_the_stock_command(whole: Path, topics: Path, tmp_path: Path, capsys) -> None:
    graph = converted(whole, tmp_path / "hnsw", "HNSW8")
    search(graph, topics, tmp_path / "run.trec", "--ef-search", 77)
    assert "--ef-search=77" in capsys.readouterr().err
    search(converted(whole, tmp_path / "ivf", "IVF2,Flat"), topics, tmp_path / "run.trec", "--nprobe", 2)
    assert "pyserini.search.faiss" not in capsys.readouterr().err  # stock takes what the file says


def test_memory_and_batches_change_not_a_byte(whole: Path, topics: Path, tmp_path: Path) -> None:
    runs = [
        search(whole, topics, tmp_path / f"{n}.trec", "--hits", 30, *flags).read_bytes()
        for n, flags in enumerate([(), ("--memory", 1), ("--threads", 2), ("--threads", 1)])
    ]
    assert len(set(runs)) == 1


def test_threads_are_torchs_too(whole: Path, checkpoint: Path) -> None:
    before = torch.get_num_threads()
    try:
        Searcher(whole, BiEncoder.load(checkpoint, device="cpu"), threads=3)
        assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == (3, 3)
    finally:
        torch.set_num_threads(before)
        faiss.omp_set_num_threads(before)


def test_searcher_over_shards(whole: Path, shards: Path) -> None:
    one, four = Searcher(whole, device="cpu"), Searcher([shards / f"shard{n}" for n in range(4)], device="cpu")
    assert len(one) == len(four) == 60 and len(four.indexes) == 4
    assert one.search("river of music", 7) == four.search("river of music", 7)
    assert Searcher(str(shards), one.encoder).search("garden") == one.search("garden")
    with pytest.raises(UsageError, match="no index"):
        Searcher([])
    vectors = np.stack([one.encoder.encode_queries(["river"])[0]] * 3)
    assert list(four.search_vectors(vectors, 60)) == list(one.search_vectors(vectors, 60))


def test_a_document_in_two_indexes_is_an_error_at_once(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "again")
    searcher = Searcher([whole, tmp_path / "again"])
    with pytest.raises(DataError, match="is in two of the indexes; leave one of them out"):
        searcher.search("what is river")


@pytest.mark.parametrize("name", [".index.partial", ".index.ready"])
def test_a_shard_that_was_being_built_is_not_left_out(shards: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(shards, tmp_path / "some")
    (tmp_path / "some" / "shard9" / name).mkdir(parents=True)
    assert tmp_path / "some" / "shard9" in index_directories([tmp_path / "some"])


def test_an_index_that_is_replaced_after_it_was_opened(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "index")
    opened = open_index(tmp_path / "index")
    shutil.copy(tmp_path / "index" / "index", tmp_path / "other")
    (tmp_path / "other").replace(tmp_path / "index" / "index")
    with pytest.raises(DataError, match="has changed while it was opened"):
        Searcher(opened)


def test_a_searcher_keeps_the_index_that_it_opened(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "index")
    searcher = Searcher(tmp_path / "index")
    raw = (tmp_path / "index" / "index").read_bytes()
    (tmp_path / "other").write_bytes(raw[:45] + bytes(len(raw) - 45))
    (tmp_path / "other").replace(tmp_path / "index" / "index")
    assert searcher.search("what is river") == Searcher(whole).search("what is river")


def test_a_query_that_is_not_finite(whole: Path, tmp_path: Path) -> None:
    searcher = Searcher(converted(whole, tmp_path / "graph", "HNSW8,Flat"))
    with pytest.raises(SdrError, match="NaN or infinite values for a query"):
        list(searcher.search_vectors(np.full((1, searcher.encoder.spec.dimension), np.nan, np.float32), 5))
