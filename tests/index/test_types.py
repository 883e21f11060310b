"""Every type of index: built, searched, measured, estimated, read by stock."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import faiss
import numpy as np
import pytest

from pyserini_sdr.core import runtime
from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.encode import settings
from pyserini_sdr.index import room
from pyserini_sdr.index.store import open_index
from pyserini_sdr.index.types import TYPES, file_bytes

from .make import COUNT, DIMENSION, TYPE_FLAGS, build, clustered, index, manifest, same_files, spec, write_index

RECALL = {"hnsw": 0.98, "hnsw-pq": 0.6, "ivf": 0.9, "ivf-pq": 0.6, "opq": 0.6, "pq": 0.6, "sq8": 0.95, "binary": 0.4}
"""Recall@10 that an index of each type has at least; ten of 1,200 documents at random give 0.008."""
ERROR = {"hnsw": 1e-6, "ivf": 1e-6, "sq8": 0.02, "binary": 0.4}
"""How far scores may be from the exact inner products; 0.15 for codes."""


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_index(tmp_path_factory.mktemp("types") / "flat", clustered(), **spec())


@pytest.fixture(scope="module", params=TYPE_FLAGS)
def built(request: pytest.FixtureRequest, flat: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    output = tmp_path_factory.mktemp("types") / request.param
    build(flat, output, "--type", request.param, "--eval-queries", 50, *TYPE_FLAGS[request.param])
    return request.param, output


def recall(folder: Path, queries: np.ndarray, k: int = 10) -> float:
    best = np.argsort(-(queries @ clustered().T), axis=1)[:, :k]
    _, found = open_index(folder).search(queries, k)
    return float(np.mean([len(set(a) & set(b)) / k for a, b in zip(best.tolist(), found.tolist(), strict=True)]))


def test_every_type_is_tested() -> None:
    assert {"flat", *TYPE_FLAGS} == set(TYPES)


def test_search_finds_what_exact_search_finds(built: tuple[str, Path]) -> None:
    type, folder = built
    queries = clustered(100, seed=5)
    found = recall(folder, queries)
    assert found >= RECALL[type]
    scores, positions = open_index(folder).search(queries, 5)
    assert scores.dtype == np.float32 and positions.dtype == np.int64 and scores.shape == positions.shape == (100, 5)
    assert (np.diff(scores, axis=1) <= 0).all()
    exact = np.take_along_axis(queries @ clustered().T, positions, axis=1)
    np.testing.assert_allclose(scores, exact, atol=ERROR.get(type, 0.15))


def test_more_hits_than_vectors(built: tuple[str, Path]) -> None:
    positions = open_index(built[1]).search(clustered(2, seed=5), 5000)[1]
    assert positions.shape == (2, COUNT)
    found = positions[0][positions[0] >= 0]
    assert len(set(found.tolist())) == len(found) > 50


def test_manifest_tells_what_was_measured(built: tuple[str, Path], flat: Path) -> None:
    type, folder = built
    facts = manifest(folder)
    assert facts["type"] == type and facts["count"] == COUNT and facts["sources"] == [str(flat)]
    assert facts["stock"] is (type != "binary") and facts["exact"] is TYPES[type].exact
    assert facts["weights"] == "f" * 64 and facts["quality"]["of"] == "stored vectors as queries"
    assert facts["quality"]["recall@10"] == pytest.approx(recall(folder, clustered()[::24], 11), abs=0.12)
    assert 0 < facts["quality"]["recall@100"] <= 1 and facts["quality"]["queries"] == 50
    assert ("likeness" in facts) is not TYPES[type].exact
    if not TYPES[type].exact:
        assert 0.6 < facts["likeness"]["min"] <= facts["likeness"]["mean"] <= 1
    assert (folder / "docid").read_bytes() == (flat / "docid").read_bytes()


def test_size_is_what_was_estimated(built: tuple[str, Path]) -> None:
    type, folder = built
    size = (folder / "index").stat().st_size
    assert file_bytes(type, COUNT, DIMENSION, manifest(folder)["parameters"]) == pytest.approx(size, rel=0.03)


def test_parameters_are_in_the_file(built: tuple[str, Path]) -> None:
    """As stock reads it, without our code."""
    type, folder = built
    if type == "binary":
        assert faiss.read_index_binary(str(folder / "index")).ntotal == COUNT
        return
    read = faiss.read_index(str(folder / "index"))
    assert read.metric_type == faiss.METRIC_INNER_PRODUCT and read.ntotal == COUNT
    wanted = manifest(folder)["parameters"]
    if "M" in wanted:
        assert (read.hnsw.efSearch, read.hnsw.efConstruction, read.hnsw.nb_neighbors(1)) == (128, 200, 16)
    if "nlist" in wanted:
        lists = faiss.extract_index_ivf(read)
        assert (lists.nlist, lists.nprobe) == (wanted["nlist"], wanted["nprobe"])
        assert 1 < wanted["nprobe"] < wanted["nlist"]


def test_vectors_come_back(built: tuple[str, Path]) -> None:
    type, folder = built
    opened = open_index(folder)
    vectors = opened.vectors(100, 140)
    assert vectors.shape == (40, DIMENSION) and vectors.dtype == np.float32
    np.testing.assert_array_equal(opened.take(np.array([139, 100])), vectors[[39, 0]])
    cosine = (vectors * clustered()[100:140]).sum(1) / np.linalg.norm(vectors, axis=1)
    assert cosine.min() > 0.6
    if TYPES[type].exact:
        np.testing.assert_array_equal(vectors, clustered()[100:140])


def test_equal_bytes_with_one_thread(built: tuple[str, Path], flat: Path, tmp_path: Path) -> None:
    type, folder = built
    same_files(folder, build(flat, tmp_path / "again", "--type", type, *TYPE_FLAGS[type]))


def test_seed_changes_what_is_learned(flat: Path, tmp_path: Path) -> None:
    first, second = (
        build(flat, tmp_path / f"{seed}", "--type", "ivf", "--train-size", 600, "--seed", seed) for seed in (1, 2)
    )
    assert (first / "index").read_bytes() != (second / "index").read_bytes()


def test_verify_and_info(built: tuple[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    type, folder = built
    capsys.readouterr()
    assert index("verify", "--index", folder) == 0
    assert f"1,200 vectors of dimension 32 ({type}), encoder some-encoder" in capsys.readouterr().out
    assert index("info", "--index", folder) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^type +{type}: ", text, re.MULTILINE)
    reads = "does not read it" if type == "binary" else "reads it"
    assert re.search(rf"^stock Pyserini +{reads}$", text, re.MULTILINE)
    assert re.search(r"^measured +recall@10 0\.\d{3}|^measured +recall@10 1\.000", text, re.MULTILINE)


def test_verify_finds_damage(built: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "index"
    shutil.copytree(built[1], folder)
    content = bytearray((folder / "index").read_bytes())
    content[-40] ^= 1  # a bit of a vector, a code or a link
    (folder / "index").write_bytes(content)
    assert index("verify", "--index", folder) == 1
    assert f"{folder}: index does not match its checksum" in capsys.readouterr().out


def test_tune(built: tuple[str, Path]) -> None:
    type, folder = built
    opened = open_index(folder)
    parameters = manifest(folder).get("parameters", {})
    if "nlist" in parameters:
        opened.tune(nprobe=1)
        fewer = (opened.search(clustered(20, seed=5), COUNT)[1] < 0).sum()
        opened.tune(nprobe=10**6)
        assert (opened.search(clustered(20, seed=5), COUNT)[1] < 0).sum() == 0 < fewer
    else:
        with pytest.raises(UsageError, match=f"--nprobe 4: .* type '{type}', which has no lists"):
            opened.tune(nprobe=4)
    if "M" in parameters:
        opened.tune(ef_search=7)
        assert opened.faiss_index.hnsw.efSearch == 7
    else:
        with pytest.raises(UsageError, match=f"--ef-search 4: .* type '{type}', which has no graph"):
            opened.tune(ef_search=4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--type", "hnsw", "--nlist", 4), "--nlist 4: --type hnsw takes --M, --efC, --ef-search"),
        (("--M", 4), "--M 4: --type flat has no parameters"),
        (("--type", "ivf", "--nlist", 2000), "--nlist 2000: more lists than vectors to learn from (1,200)"),
        (("--type", "ivf", "--nlist", 4, "--nprobe", 5), "--nprobe 5: there are only 4 lists"),
        (("--type", "pq", "--pq-m", 7), "--pq-m 7: does not divide the dimension 32; 2, 4, 8 do"),
        (("--type", "pq", "--pq-nbits", 12), "--pq-nbits 12: needs at least 4,096 vectors to learn from"),
        (("--type", "ivf-pq", "--pq-nbits", 9), "--pq-nbits 9: --type ivf-pq has 8 at most"),
        (("--type", "opq", "--train-size", 100), "--type opq: needs at least 256 vectors to learn from"),
        (("--type", "ivf", "--train-from", "x", "--nlist", 4), "--nlist 4: is learned, and comes from --train-from x"),
        (("--type", "hnsw", "--M", 1), "--M 1: must lie between 2 and 1024"),
    ],
)
def test_flags_that_do_not_fit(flat: Path, tmp_path: Path, flags: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        build(flat, tmp_path / "out", *flags)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_binary_needs_whole_bytes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--type binary: needs a dimension divisible by 8, not 12"):
        build(write_index(tmp_path / "flat", clustered(30, 12)), tmp_path / "out", "--type", "binary")


@pytest.mark.parametrize("type", [name for name in TYPE_FLAGS if name != "opq"])
def test_few_vectors(type: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Defaults suit any number of vectors, and faiss has nothing to complain of."""
    source = write_index(tmp_path / "flat", clustered(45, 16))
    folder = build(source, tmp_path / "out", "--type", type, "--eval-queries", 200)
    assert len(open_index(folder).search(clustered(1, 16), 100)[0][0]) == 45
    assert "recall@10" in manifest(folder)["quality"] and "recall@100" not in manifest(folder)["quality"]
    assert "WARNING" not in capfd.readouterr().err


def test_not_enough_room(flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_disk", lambda directory: 100_000)
    with pytest.raises(
        DataError, match=r"out: the index takes about 182\.4 kB of disk while it is made, 100\.0 kB are"
    ):
        build(flat, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    build(flat, tmp_path / "out", "--no-check-size")
    monkeypatch.undo()
    monkeypatch.setattr(room, "available_memory", lambda: 50_000)
    with pytest.raises(
        DataError, match=r"takes about .* kB of memory, 50\.0 kB are available; choose a smaller --type"
    ):
        build(flat, tmp_path / "hnsw", "--type", "hnsw")
    build(flat, tmp_path / "hnsw", "--type", "hnsw", "--no-check-size")


def test_room_of_this_machine(tmp_path: Path) -> None:
    assert 1 << 20 < room.available_memory() < 1 << 50
    assert room.free_disk(tmp_path / "a" / "b") == pytest.approx(room.free_disk(tmp_path), rel=0.1)
    assert room.size_text(999) == "999 B" and room.size_text(27_162_000_000) == "27.2 GB"


@pytest.mark.parametrize(("version", "prefix"), [(2, ""), (1, "total_")])
def test_cached_files_count_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int, prefix: str) -> None:
    """In a container that has read a large file."""
    _, limit, usage, cached = runtime._CGROUPS[2 - version]
    monkeypatch.setattr(runtime, "_CGROUPS", ((str(tmp_path), limit, usage, cached),))
    assert runtime.container_memory() is None
    (tmp_path / limit).write_text("1000000\n")
    (tmp_path / usage).write_text("990000\n")
    assert runtime.container_memory() == (1_000_000, 10_000)
    stat = f"anon 90000\n{prefix}inactive_file 500000\n{prefix}active_file 400000\nslab 7\n"
    (tmp_path / "memory.stat").write_text(stat)
    assert room.available_memory() == 910_000 and settings.machine_memory() == 1_000_000


def test_recall_of_a_broken_index_is_low(flat: Path, tmp_path: Path) -> None:
    """What is measured tells: one list of forty searched, and two bits for sixteen dimensions."""
    flags = ("--type", "ivf-pq", "--nlist", 40, "--nprobe", 1, "--pq-m", 2, "--pq-nbits", 2, "--eval-queries", 50)
    facts = manifest(build(flat, tmp_path / "out", *flags))["quality"]
    assert facts["recall@10"] < 0.5 and facts["recall@100"] < 0.7


def test_queries_are_measured_with(tiny_collection: Path, checkpoint: Path, tmp_path: Path) -> None:
    from ..encode.make import run_encode

    source = run_encode(tiny_collection, tmp_path / "flat", checkpoint)
    topics = tiny_collection / "topics.test.tsv"
    folder = build(source, tmp_path / "out", "--type", "sq8", "--queries", topics, "--eval-queries", 10)
    facts = manifest(folder)["quality"]
    assert facts["of"] == f"topics of {topics}" and facts["queries"] == 10 and facts["recall@10"] > 0.7
    bare = write_index(tmp_path / "bare", clustered(60))
    with pytest.raises(UsageError, match="the input does not tell its encoder; leave it out"):
        build(bare, tmp_path / "out2", "--type", "sq8", "--queries", topics, "--eval-queries", 10)
    assert not (tmp_path / "out2").exists()


@pytest.mark.parametrize(
    ("flags", "error", "message"),
    [
        (("--type", "sq8", "--queries", "{nowhere}"), DataError, "nowhere.tsv"),
        (("--type", "sq8", "--queries", "{topics}"), SdrError, "some-encoder"),
        (("--type", "flat", "--queries", "{topics}"), UsageError, "--type flat is exact, there is nothing to measure"),
        (("--type", "sq8", "--queries", "{topics}", "--eval-queries", "0"), UsageError, "measures nothing; leave one"),
    ],
)
def test_queries_are_looked_at_before_building(
    flat: Path,
    tiny_collection: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr("pyserini_sdr.index.build.replacing", None)
    places = {"topics": tiny_collection / "topics.test.tsv", "nowhere": tmp_path / "nowhere.tsv"}
    words = [word.format(**places) for word in flags]
    with pytest.raises(error, match=re.escape(message)):
        index("build", "--input", flat, "--output", tmp_path / "out", *words)


def test_codes_for_a_graph_are_taken_from_another(flat: Path, tmp_path: Path) -> None:
    """What has been learned is the codes; the flags of the graph hold, and else its defaults."""
    first = build(flat, tmp_path / "first", "--type", "hnsw-pq", *TYPE_FLAGS["hnsw-pq"])
    second = build(flat, tmp_path / "second", "--type", "hnsw-pq", "--train-from", first, "--M", 16)
    same_files(first, second)
    third = build(flat, tmp_path / "third", "--type", "hnsw-pq", "--train-from", first, "--ef-search", 64)
    wanted = {"M": 32, "efC": 200, "ef_search": 64, "pq_m": 16, "pq_nbits": 8}
    assert manifest(third)["parameters"] == wanted and recall(third, clustered(100, seed=5)) > RECALL["hnsw-pq"]


def test_text_is_put_into_an_index_first(flat: Path, tmp_path: Path) -> None:
    """From embeddings.jsonl every type comes out as from the index; nothing else stays in the directory."""
    source = tmp_path / "embeddings"
    source.mkdir()
    ids = (flat / "docid").read_text("utf-8").splitlines()
    lines = [f'{{"id": "{id}", "vector": {row}}}\n' for id, row in zip(ids, clustered().tolist(), strict=True)]
    (source / "embeddings.jsonl").write_text("".join(lines), "utf-8")
    first, second = (build(path, tmp_path / f"{n}", "--type", "ivf") for n, path in enumerate((flat, source)))
    same_files(first, second)
    assert sorted(path.name for path in second.iterdir()) == ["docid", "index", "sdr_index.json"]


def test_stock_loads_and_searches(built: tuple[str, Path], found_java: object) -> None:
    type, folder = built
    from pyserini_sdr.anserini import jvm

    jvm.start()
    from pyserini.search.faiss import FaissSearcher

    class Encoder:
        dimension = DIMENSION

        def encode(self, query: str, **_: object) -> np.ndarray:
            return clustered(20, seed=5)[int(query)]

    if type == "binary":
        with pytest.raises(RuntimeError):
            FaissSearcher(str(folder), Encoder())
        return
    stock, ours = FaissSearcher(str(folder), Encoder()), open_index(folder)
    if "M" in manifest(folder)["parameters"]:
        stock.set_hnsw_ef_search(128)
    scores, positions = ours.search(clustered(20, seed=5), 10)
    for query in range(5):
        hits = stock.search(str(query), 10)
        assert [hit.docid for hit in hits] == [ours.docids[position] for position in positions[query].tolist()]
        assert [hit.score for hit in hits] == pytest.approx(scores[query].tolist(), abs=1e-5)
