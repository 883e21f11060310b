"""`index merge`, `append` and `delete` give what a build from scratch gives."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.index import change, merge, room
from pyserini_sdr.index.store import open_index

from .make import COUNT, TYPE_FLAGS, build, clustered, index, manifest, names, same_files, spec, write_index

HALF = 500
FLAGS = {**TYPE_FLAGS, "opq": ("--nlist", 12, "--pq-m", 8, "--pq-nbits", 4)}
CHANGEABLE = ("flat", "ivf", "ivf-pq", "opq", "pq", "sq8", "binary")


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """All vectors, the first of them and the rest, as flat indexes."""
    folder, ids = tmp_path_factory.mktemp("change"), names(COUNT)
    return (
        write_index(folder / "all", clustered(), ids, **spec()),
        write_index(folder / "first", clustered()[:HALF], ids[:HALF], **spec()),
        write_index(folder / "rest", clustered()[HALF:], ids[HALF:], **spec()),
    )


def make(source: Path, output: Path, type: str, learned: Path | None = None) -> Path:
    """Of one type; what is learned comes from `learned`."""
    if type in ("flat", "binary") or learned is None:
        return build(source, output, "--type", type, *FLAGS.get(type, ()))
    return build(source, output, "--type", type, "--train-from", learned)


@pytest.mark.parametrize("type", CHANGEABLE)
def test_append_equals_building_all(type: str, parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    everything, first, rest = parts
    changed = make(first, tmp_path / "changed", type)
    whole = make(everything, tmp_path / "whole", type, changed)
    assert index("append", "--index", changed, "--input", rest, "--threads", 1) == 0
    same_files(changed, whole)
    assert index("verify", "--index", changed) == 0
    facts = manifest(changed)
    assert facts["count"] == COUNT and facts["type"] == type and facts["weights"] == "f" * 64
    assert [(change["added"], change["of"]) for change in facts["changes"]] == [(COUNT - HALF, [str(rest)])]
    assert "quality" not in facts  # it was measured on fewer
    assert sorted(path.name for path in changed.iterdir()) == ["docid", "index", "sdr_index.json"]


@pytest.mark.parametrize("type", CHANGEABLE)
def test_delete_equals_building_the_rest(type: str, parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    everything, first, _ = parts
    changed = make(everything, tmp_path / "changed", type)
    rest = make(first, tmp_path / "first", type, changed)
    ids = names(COUNT)
    (tmp_path / "gone.txt").write_text("\n".join(reversed(ids[HALF + 1 :])) + "\n")
    assert index("delete", "--index", changed, "--ids", tmp_path / "gone.txt", ids[HALF]) == 0
    same_files(changed, rest)
    assert index("verify", "--index", changed) == 0
    assert manifest(changed)["count"] == HALF and manifest(changed)["changes"][0]["removed"] == COUNT - HALF


@pytest.mark.parametrize("type", CHANGEABLE)
def test_delete_in_the_middle(type: str, parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Positions and ids still belong together, whatever lies in between."""
    changed = make(parts[0], tmp_path / "changed", type)
    before, ids = open_index(changed).vectors(0, COUNT), names(COUNT)
    gone = set(ids[::3])
    assert index("delete", "--index", changed, "--ids", *gone) == 0
    after = open_index(changed)
    assert after.docids == [id for id in ids if id not in gone]
    keep = np.array([id not in gone for id in ids])
    np.testing.assert_array_equal(after.vectors(0, len(after)), before[keep])
    scores, positions = after.search(before[keep][:50], 1)
    own = (before[keep][:50] * before[keep][:50]).sum(1)
    assert (positions[:, 0] == np.arange(50)).mean() > 0.5 or type in ("ivf-pq", "opq", "pq", "binary")
    assert (scores[:, 0] >= own - 1e-3).mean() > 0.9 or type in ("ivf-pq", "opq", "pq", "binary")


def test_append_to_a_graph(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The graph is another than one made at once, and as good."""
    everything, first, rest = parts
    changed = make(first, tmp_path / "changed", "hnsw")
    assert index("append", "--index", changed, "--input", rest) == 0
    queries = clustered(100, seed=5)
    best = np.argsort(-(queries @ clustered().T), axis=1)[:, :10]
    found = open_index(changed).search(queries, 10)[1]
    assert np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best.tolist(), found.tolist(), strict=True)]) > 0.98
    assert (changed / "docid").read_bytes() == (everything / "docid").read_bytes()
    assert manifest(changed)["parameters"] == {"M": 16, "efC": 200, "ef_search": 128}


def test_append_to_an_index_of_stock(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    bare = write_index(tmp_path / "bare", clustered()[:HALF])
    assert index("append", "--index", bare, "--input", parts[2]) == 0
    same_files(bare, parts[0])
    assert "weights" not in manifest(bare)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("append", "--index", "{hnsw-pq}", "--input", "{rest}"), UsageError, "its graph was made with exact vectors"),
        (("append", "--index", "{flat}", "--input", "{flat}"), UsageError, "is the index itself"),
        (
            ("append", "--index", "{flat}", "--input", "{all}"),
            DataError,
            "docid:1: duplicate document id 'd0', first at",
        ),
        (("append", "--index", "{flat}", "--input", "{other}"), DataError, "made by another encoder than"),
        (("append", "--index", "{flat}", "--input", "{wide}"), DataError, "holds vectors of dimension 16, "),
        (("append", "--index", "{nowhere}", "--input", "{rest}"), DataError, "nowhere: no such index directory"),
        (("append", "--index", "{flat}", "--input", "{nowhere}"), DataError, "nowhere: no such input directory"),
        (
            ("delete", "--index", "{hnsw}", "--ids", "d0"),
            UsageError,
            "vectors cannot be taken out of a graph; delete in",
        ),
        (
            ("delete", "--index", "{flat}", "--ids", "d0", "x", "y"),
            DataError,
            "holds no document 'x', 'y' (2 of 3 ids)",
        ),
        (("delete", "--index", "{flat}", "--ids", "{docid}"), UsageError, "all 500 documents of"),
        (("delete", "--index", "{flat}", "--ids", "{run}"), DataError, "run:2: expected one document id, found 'd1 2'"),
        (("delete", "--index", "{flat}", "--ids", "{empty}"), UsageError, "no ids"),
    ],
)
def test_refusals_change_nothing(
    parts: tuple[Path, Path, Path], tmp_path: Path, words: tuple[str, ...], error: type[Exception], message: str
) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(parts[1], flat)
    places = {
        "flat": flat,
        "all": parts[0],
        "rest": parts[2],
        "other": write_index(tmp_path / "other", clustered(5), ["x1", "x2", "x3", "x4", "x5"], **spec(pooling="cls")),
        "wide": write_index(tmp_path / "wide", clustered(5, 16), ["x1", "x2", "x3", "x4", "x5"]),
        "nowhere": tmp_path / "nowhere",
        "docid": flat / "docid",
        "run": tmp_path / "run",
        "empty": tmp_path / "empty",
    }
    (tmp_path / "run").write_text("d0\nd1 2\n")
    (tmp_path / "empty").write_text("\n")
    for type in ("hnsw", "hnsw-pq"):
        if f"{{{type}}}" in words:
            places[type] = make(parts[1], tmp_path / type, type)
    index_place = Path(words[2].format(**places))
    before = {path: path.read_bytes() for path in index_place.glob("*")}
    with pytest.raises(error) as caught:
        index(*(word.format(**places) for word in words))
    assert message in str(caught.value)
    assert {path: path.read_bytes() for path in index_place.glob("*")} == before


def test_no_room_to_change(parts: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat = tmp_path / "flat"
    shutil.copytree(parts[1], flat)
    monkeypatch.setattr(room, "free_disk", lambda directory: 100_000)
    with pytest.raises(DataError, match=r"takes about 182\.5 kB of disk while it is made, 100\.0 kB are free"):
        index("append", "--index", flat, "--input", parts[2])
    index("append", "--index", flat, "--input", parts[2], "--no-check-size")
    same_files(flat, parts[0])


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder, ids, bounds = tmp_path_factory.mktemp("shards"), names(COUNT), (0, 400, 800, COUNT)
    made = []
    for n in range(3):
        start, stop = bounds[n], bounds[n + 1]
        shard = {"id": n, "num": 3, "start": start}
        corpus = {"sha256": "c" * 64, "reading": {}}
        facts = {**spec(), "shard": shard, "corpus": corpus}
        made.append(write_index(folder / f"s{2 - n}", clustered()[start:stop], ids[start:stop], **facts))
    return made


@pytest.mark.parametrize("type", CHANGEABLE)
def test_merge_equals_the_whole(type: str, shards: list[Path], parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """Given in any order, even one that the names suggest."""
    whole = make(parts[0], tmp_path / "whole", type)
    made = [make(shard, tmp_path / f"shard{n}", type, whole) for n, shard in enumerate(shards)]
    merged = tmp_path / "merged"
    assert index("merge", "--inputs", made[1], made[2], made[0], "--output", merged) == 0
    same_files(merged, whole)
    facts = manifest(merged)
    assert facts["shard"] == {"id": 0, "num": 1, "start": 0} and facts["count"] == COUNT
    assert facts["corpus"]["sha256"] == "c" * 64 and facts["sources"] == [str(path) for path in made]
    assert index("verify", "--index", merged) == 0


def test_build_takes_shards_too(shards: list[Path], parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    assert index("build", "--input", *reversed(shards), "--output", output) == 0
    same_files(output, parts[0])


def test_merge_of_what_are_no_shards(parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """In the order given; which documents they are is not told any more."""
    assert index("merge", "--inputs", parts[2], parts[1], "--output", tmp_path / "out") == 0
    assert open_index(tmp_path / "out").docids == names(COUNT)[HALF:] + names(COUNT)[:HALF]


def test_merge_refusals(shards: list[Path], parts: tuple[Path, Path, Path], tmp_path: Path) -> None:
    def refused(error: type[Exception], message: str, *inputs: Path) -> None:
        with pytest.raises(error, match=message):
            index("merge", "--inputs", *inputs, "--output", tmp_path / "out")
        assert not (tmp_path / "out").exists()

    refused(UsageError, r"is one of 3 shards, of which 1 \(from 0\) is not given", shards[2], shards[0])
    refused(UsageError, "given twice", shards[0], shards[0])
    refused(UsageError, "two directories at least", shards[0])
    refused(DataError, "docid:1: duplicate document id 'd0', first at .*first/docid:1", parts[1], parts[0])
    other = write_index(tmp_path / "other", clustered(5), ["a", "b", "c", "d", "e"], **{**spec(), "weights": "e" * 64})
    refused(DataError, "made by another encoder than .*: weights ffffffffffff ≠ eeeeeeeeeeee", parts[0], other)
    first, second = (make(path, tmp_path / path.name, "ivf") for path in parts[1:])
    refused(DataError, "rest: has learned other lists or codes than .*; build shards with --train-from", first, second)
    refused(UsageError, r"indexes of different types \(flat, ivf\)", parts[1], second)
    graphs = [make(path, tmp_path / f"{path.name}.hnsw", "hnsw") for path in parts[1:]]
    refused(UsageError, "indexes of type 'hnsw' cannot be merged", *graphs)
    text = tmp_path / "text"
    text.mkdir()
    (text / "a.jsonl").write_text('{"id": "x", "vector": [' + ", ".join(["1"] * 32) + "]}\n")
    refused(DataError, "text: is no index", parts[0], text)
    codes = make(parts[1], tmp_path / "codes", "pq")
    with pytest.raises(UsageError, match=r"--train-from .*codes: is an index of type 'pq' and dimension 32, not 'ivf'"):
        make(parts[1], tmp_path / "out", "ivf", codes)


def test_merged_lists_are_searched_as_before(shards: list[Path], tmp_path: Path) -> None:
    whole = make(shards[0], tmp_path / "s0", "ivf")
    made = [whole, *(make(shard, tmp_path / f"s{n}", "ivf", whole) for n, shard in enumerate(shards[1:], start=1))]
    index("merge", "--inputs", *made, "--output", tmp_path / "out")
    lists = faiss.read_index(str(tmp_path / "out" / "index"))
    assert (lists.nlist, lists.nprobe, lists.ntotal) == (20, 10, COUNT)


@pytest.mark.parametrize("verb", ["append", "delete"])
@pytest.mark.parametrize("type", ["flat", "sq8"])
def test_a_change_that_finishes_just_before_is_kept(
    parts: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, type: str
) -> None:
    """Another process changes the index while this one waits for it."""
    changed = make(parts[1], tmp_path / "changed", type)
    real = change.replacing

    def late(directory: Path) -> AbstractContextManager[Path]:
        monkeypatch.setattr(change, "replacing", real)
        assert index("delete", "--index", directory, "--ids", "d0") == 0
        return real(directory)

    monkeypatch.setattr(change, "replacing", late)
    ids = names(COUNT)
    if verb == "append":
        assert index("append", "--index", changed, "--input", parts[2], "--threads", 1) == 0
        wanted = ids[1:]
    else:
        assert index("delete", "--index", changed, "--ids", ids[1]) == 0
        wanted = ids[2:HALF]
    assert open_index(changed).docids == wanted and len(manifest(changed)["changes"]) == 2
    assert index("verify", "--index", changed) == 0


def test_ids_and_vectors_that_disagree_are_not_installed(
    parts: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = make(parts[1], tmp_path / "changed", "sq8")
    before = {path: path.read_bytes() for path in changed.iterdir()}
    monkeypatch.setattr(change, "fill", lambda *_: None)
    with pytest.raises(DataError, match="changed: would hold 1,200 ids for 500 vectors"):
        index("append", "--index", changed, "--input", parts[2])
    assert {path: path.read_bytes() for path in changed.iterdir()} == before


def test_merge_of_an_index_that_changes_meanwhile(
    parts: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(parts[1], tmp_path / "first", "sq8")
    rest = build(parts[2], tmp_path / "rest", "--type", "sq8", "--train-from", first)
    real = merge.write_docids

    def late(*arguments: Any) -> None:
        real(*arguments)
        assert index("delete", "--index", rest, "--ids", names(COUNT)[HALF]) == 0

    monkeypatch.setattr(merge, "write_docids", late)
    with pytest.raises(DataError, match="rest: has changed since it was opened; give the command again"):
        index("merge", "--inputs", first, rest, "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()
