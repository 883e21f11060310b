"""Index directories that are damaged or do not fit, for every command that opens one."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from .conftest import Case, Run, refuses
from .material import DENSE, Damage, add, all_of, cut, edit, remove, write

MANIFEST = "index/sdr_index.json"
VERIFY, INFO = "index verify --index index", "index info --index index"
BUILD = "index build --input index --output out --threads 1 --eval-queries 0"
EMBEDDED = BUILD.replace("--input index", "--input e")
APPEND, DELETE = "index append --index index --input sq8", "index delete --index index --ids d000"
MERGE = "index merge --inputs index other --output out"


def header(offset: int, format: str, value: object) -> Damage:
    """A number in the header of the flat index is another."""

    def damage() -> None:
        content = bytearray(Path("index/index").read_bytes())
        struct.pack_into(format, content, offset, value)
        Path("index/index").write_bytes(content)

    return damage


def copy_with(**changes: object) -> Damage:
    """A second index, `other`: `index` with another manifest."""

    def damage() -> None:
        for name in ("index", "docid"):
            write(f"other/{name}", Path("index", name).read_bytes())()
        write("other/sdr_index.json", json.dumps({**json.loads(Path(MANIFEST).read_text()), **changes}))()

    return damage


def vectors(change: object) -> Damage:
    """The vectors of `index`, changed by a function of the array (n, dim)."""

    def damage() -> None:
        content = Path("index/index").read_bytes()
        table = np.frombuffer(content[45:], "<f4").reshape(-1, 32).copy()
        write("index/index", content[:45] + change(table).astype("<f4").tobytes())()  # type: ignore[operator]

    return damage


def other_weights() -> None:
    """`checkpoint` is trained on."""
    path = Path("checkpoint/model.safetensors")
    save_file({name: tensor + 0.01 for name, tensor in load_file(path).items()}, path, metadata={"format": "pt"})


INDEXES = [
    Case("absent", DENSE.replace("--index index", "--index none"), r"none: no such"),
    Case(
        "empty directory",
        DENSE.replace("--index index", "--index e"),
        r"e: is not an index directory",
        write("e/x", ""),
    ),
    Case("file", DENSE.replace("--index index", "--index qrels.txt"), r"qrels\.txt: is a file"),
    Case("no ids", DENSE, r"index: is not an index directory \(index and docid", remove("index/docid")),
    Case("no vectors", DENSE, r"index: is not an index directory", remove("index/index")),
    Case(
        "only embeddings",
        DENSE,
        r"index: holds embeddings\.jsonl, not an index;",
        all_of(remove("index/index"), remove("index/docid"), write("index/embeddings.jsonl", "")),
    ),
    Case("Lucene", DENSE.replace("--index index", "--index l"), r"l: is a Lucene index;", write("l/segments_1", "")),
    Case(
        "unfinished encoding",
        DENSE,
        r"index: holds an unfinished encoding.*;",
        all_of(remove(MANIFEST), write("index/.encode/plan.json", "{}")),
    ),
    Case("cut", DENSE, r"index/index: ", cut("index/index")),
    Case("cut in its header", DENSE, r"index/index: ", cut("index/index", 0.005)),
    Case("empty vectors", DENSE, r"index/index: ", write("index/index", b"")),
    Case("not FAISS", DENSE, r"index/index: cannot be read by faiss", write("index/index", b"PK\3\4" + b"\0" * 300)),
    Case("bytes after the end", DENSE, r"index/index: [\d,]+ bytes", add("index/index", b"\0" * 64)),
    Case("header: another count", DENSE, r"index/index: |index/docid", header(8, "<q", 3)),
    Case("header: no dimension", DENSE, r"index/index: ", header(4, "<i", 0)),
    Case("header: negative dimension", DENSE, r"index/index: ", header(4, "<i", -32)),
    Case("header: huge count", DENSE, r"index/index: ", header(8, "<q", 1 << 60)),
    Case("ids: one too few", DENSE, r"index/docid: holds 29 ids for 30 vectors;", cut("index/docid", 0.97)),
    Case("ids: one too many", DENSE, r"index/docid: holds 31 ids for 30 vectors;", add("index/docid", "more\n")),
    Case("ids: an empty one", DENSE, r"index/docid:31: empty document id", add("index/docid", "\n")),
    Case("ids: none", DENSE, r"index/docid: holds 0 ids", write("index/docid", "")),
    Case("ids: not UTF-8", DENSE, r"index/docid:1: not UTF-8", write("index/docid", b"\xff\n" * 30)),
    Case("ids: twice", DENSE, r"twice", write("index/docid", "d1\n" * 30)),
    Case("ids: a blank in one", DENSE, r"white space", write("index/docid", "".join(f"d {n}\n" for n in range(30)))),
    Case("manifest: cut", DENSE, r"sdr_index\.json:\d+: invalid JSON", cut(MANIFEST)),
    Case("manifest: list", DENSE, r"sdr_index\.json: ", write(MANIFEST, "[]")),
    Case("manifest: text", DENSE, r"sdr_index\.json: ", write(MANIFEST, '"index"')),
    Case("manifest: empty", DENSE, r"sdr_index\.json:1: invalid JSON", write(MANIFEST, "")),
    Case(
        "manifest: another count", DENSE, r"sdr_index\.json: says 7 vectors, index holds 30;", edit(MANIFEST, count=7)
    ),
    Case("manifest: no weights", DENSE, r"sdr_index\.json: ", edit(MANIFEST, weights=...)),
    Case("manifest: weights a number", DENSE, r"sdr_index\.json: ", edit(MANIFEST, weights=3)),
    Case("manifest: no encoder", DENSE, r"index: does not tell its encoder;", edit(MANIFEST, encoder=...)),
    Case("manifest: encoder a list", DENSE, r"sdr_index\.json: ", edit(MANIFEST, encoder=["x"])),
    Case(
        "manifest: encoder gone",
        DENSE,
        r"index: was made by the checkpoint /nowhere/at/all, which is not there.*;",
        edit(MANIFEST, encoder="/nowhere/at/all"),
    ),
    Case("manifest: spec a list", DENSE, r"sdr_index\.json: spec is \[\], expected dict;", edit(MANIFEST, spec=[])),
    Case(
        "manifest: spec unknown",
        DENSE,
        r"sdr_index\.json: .*unknown keys",
        edit(MANIFEST, spec={"pooling": "mean", "similarity": "cosine", "dimension": 32, "x": 1}),
    ),
    Case("manifest: unknown class", DENSE, r"sdr_index\.json: ", edit(MANIFEST, spec={"encoder_class": "oracle"})),
    Case("manifest: shard a list", f"{MERGE}", r"sdr_index\.json: ", copy_with(shard=[1])),
    Case("manifest: shard without numbers", f"{MERGE}", r"sdr_index\.json: ", copy_with(shard={"num": 2})),
    Case(
        "manifest: corpus a text",
        f"{VERIFY} --corpus collection",
        r"sdr_index\.json: ",
        edit(MANIFEST, corpus="collection"),
    ),
    Case(
        "manifest: reading unknown",
        f"{VERIFY} --corpus collection",
        r"sdr_index\.json: ",
        edit(MANIFEST, corpus={"reading": {"fields": 1}}),
    ),
    Case(
        "manifest: files elsewhere",
        VERIFY,
        r"sdr_index\.json: ",
        edit(MANIFEST, files={"../qrels.txt": {"sha256": "x"}}),
    ),
    Case("manifest: files a list", VERIFY, r"sdr_index\.json: ", edit(MANIFEST, files=["index"])),
    Case(
        "another encoder",
        f"{DENSE} --encoder checkpoint",
        r"index: was made by an encoder .* that differs from this one in weights .*;",
        other_weights,
        status=2,
    ),
    Case(
        "another pooling",
        f"{DENSE} --encoder checkpoint --pooling cls",
        r"index: was made by an encoder .* in pooling 'mean' ≠ 'cls';",
        status=2,
    ),
    Case(
        "another similarity",
        f"{DENSE} --encoder checkpoint --no-l2-norm",
        r"index: was made by an encoder .* in similarity 'cosine' ≠ 'dot';",
        status=2,
    ),
    Case(
        "dimension",
        DENSE,
        r"dimension",
        all_of(edit(MANIFEST, count=15), cut("index/docid", 0.5), header(4, "<i", 64), header(8, "<q", 15)),
        status=2,
    ),
    Case("L2", DENSE, r"index: an L2 index", header(33, "<i", 1), status=2),
    Case("verify: cut", VERIFY, r"index/index: ", cut("index/index")),
    Case("verify: corpus absent", f"{VERIFY} --corpus none", r"none: no such corpus"),
    Case("info: absent", "index info --index none", r"none: no such"),
    Case("info: nothing there", "index info --index collection", r"collection: holds no index"),
    Case("info: manifest a list", INFO, r"sdr_index\.json: ", write(MANIFEST, "[]")),
    Case("build: cut", BUILD, r"index/index: ", cut("index/index")),
    Case("build: nothing there", "index build --input collection/corpus/none --output out", r"none: no such"),
    Case(
        "build: embeddings: no list",
        EMBEDDED,
        r"e/x\.jsonl:1: vector: expected a list of numbers",
        write("e/x.jsonl", '{"id": "a", "vector": "x"}\n'),
    ),
    Case(
        "build: embeddings: NaN",
        EMBEDDED,
        r"e/x\.jsonl:1: vector: NaN",
        write("e/x.jsonl", '{"id": "a", "vector": [NaN, 1]}\n'),
    ),
    Case(
        "build: embeddings: nested",
        EMBEDDED,
        r"e/x\.jsonl:1: vector: expected",
        write("e/x.jsonl", '{"id": "a", "vector": [[1], [2, 3]]}\n'),
    ),
    Case(
        "build: embeddings: huge number",
        EMBEDDED,
        r"e/x\.jsonl:1: vector: ",
        write("e/x.jsonl", f'{{"id": "a", "vector": [{"9" * 400}]}}\n'),
    ),
    Case(
        "build: embeddings: another dimension",
        EMBEDDED,
        r"e/x\.jsonl:2: vector of dimension 1 after ones of 2",
        write("e/x.jsonl", '{"id": "a", "vector": [1, 2]}\n{"id": "b", "vector": [1]}\n'),
    ),
    Case("build: embeddings: no id", EMBEDDED, r"e/x\.jsonl:1: document id", write("e/x.jsonl", '{"vector": [1]}\n')),
    Case(
        "build: embeddings: id twice",
        EMBEDDED,
        r"e/x\.jsonl:2: .*'a'",
        write("e/x.jsonl", '{"id": "a", "vector": [1]}\n' * 2),
    ),
    Case("build: embeddings: empty", EMBEDDED, r"e: holds no vectors", write("e/x.jsonl", "\n")),
    Case("build: PQ does not divide", f"{BUILD} --type pq --pq-m 7", r"pq", status=2),
    Case("build: too few to train", f"{BUILD} --type ivf --nlist 500", r"nlist|vectors", status=2),
    Case("merge: absent", MERGE, r"other: no such"),
    Case(
        "merge: other weights",
        MERGE,
        r"other: was made by another encoder than index: weights.*;",
        copy_with(weights="0" * 64),
    ),
    Case("merge: ids again", MERGE, r"d000", copy_with()),
    Case("append: cut", APPEND, r"sq8/index: ", cut("sq8/index")),
    Case("append: ids again", APPEND, r"d000"),
    Case("append: to nothing", APPEND, r"index: is not an index directory", remove("index/docid")),
    Case("delete: unknown", DELETE.replace("d000", "d999"), r"index: holds no document 'd999'"),
    Case(
        "delete: two ids in a line",
        DELETE.replace("d000", "ids.txt"),
        r"ids\.txt:1: expected one document id",
        write("ids.txt", "d1 d2\n"),
    ),
    Case(
        "export: not unit vectors",
        "index export --index index --output out",
        r"length 1",
        vectors(lambda table: 3 * table),
    ),
    Case("export: absent", "index export --index none --output out", r"none: no such"),
    Case(
        "mine: cut",
        "mine --collection collection --index index --output out.jsonl",
        r"index/index: ",
        cut("index/index"),
    ),
    Case(
        "hybrid: no BM25 index",
        "search hybrid --index index --topics topics.tsv --output out.trec --bm25-index none",
        r"none",
    ),
    Case("nprobe of a flat index", f"{DENSE} --nprobe 3", r"--nprobe 3: .*'flat'", status=2),
    Case("sq8: cut", DENSE.replace("--index index", "--index sq8"), r"sq8/index: ", cut("sq8/index")),
]

FINDINGS = [
    ("NaN", vectors(lambda table: np.where(np.arange(32) == 3, np.nan, table)), "30 vectors have NaN"),
    (
        "zero",
        vectors(lambda table: np.where(np.arange(30)[:, None] == 3, 0, table)),
        "1 vectors are zero (first: 'd003')",
    ),
    ("not of length 1", vectors(lambda table: 3 * table), "30 vectors are not of length 1"),
    ("collapsed", vectors(lambda table: np.tile(table[:1], (30, 1))), "all vectors are nearly the same"),
    ("ids twice", write("index/docid", "d1\n" * 30), "duplicate document ids, 'd1' occurs 30 times"),
    ("another type", edit(MANIFEST, type="hnsw"), "says type 'hnsw'"),
    ("another checksum", edit(MANIFEST, files={"docid": {"sha256": "0"}}), "docid does not match its checksum"),
]


@pytest.mark.parametrize("case", INDEXES, ids=lambda case: case.name)
def test_indexes(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize(("damage", "says"), [f[1:] for f in FINDINGS], ids=[f[0] for f in FINDINGS])
def test_what_verify_finds(damage: Damage, says: str, place, run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    damage()
    from pyserini_sdr.index.__main__ import COMMAND

    assert COMMAND.execute("index", ["verify", "--index", "index"]) == 1
    assert says in capfd.readouterr().out
