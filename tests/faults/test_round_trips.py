"""What is written is read back as it was, for the pairs of writer and reader that have no such test of their own.

Topics, judgements and runs have theirs in `trec/`, groups, documents in any JSON and the text store in `data/`, ids of
an index and its header in `index/`, the files of a spec in `model/`, JSON lines in `core/`.
"""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.core.manifest import read_manifest, write_manifest
from pyserini_sdr.core.options import build, dump_config, option, read_config
from pyserini_sdr.core.plan import hold_to_plan
from pyserini_sdr.data.collection import read_pairs
from pyserini_sdr.data.corpus import Document, iter_documents
from pyserini_sdr.data.group import Candidate, Group
from pyserini_sdr.data.material import write_documents
from pyserini_sdr.data.sources import read_teacher_tsv
from pyserini_sdr.data.views import QueriesOf
from pyserini_sdr.encode.chunks import ChunkStore
from pyserini_sdr.index.manifest import read_index_manifest
from pyserini_sdr.index.sources import EmbeddingSource
from pyserini_sdr.teach.layouts import write_teacher_tsv
from pyserini_sdr.trec.run import RunWriter, read_run

ids = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8).filter(lambda s: s.split() == [s])
texts = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30).filter(lambda s: s.strip())
finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | finite
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ids, inner, max_size=3),
    max_leaves=8,
)
quick = settings(max_examples=20, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("round-trips")


@quick
@given(st.dictionaries(ids, st.tuples(texts, st.none() | texts), min_size=1, max_size=6), st.sampled_from(["", ".gz"]))
def test_documents(folder: Path, documents: dict[str, tuple[str, str | None]], packed: str) -> None:
    made = [Document(id, contents, title) for id, (contents, title) in documents.items()]
    path = folder / f"corpus.jsonl{packed}"
    write_documents(path, made)
    assert list(iter_documents(path)) == made


@quick
@given(st.lists(st.tuples(ids, ids), min_size=1, max_size=8))
def test_pairs(folder: Path, pairs: list[tuple[str, str]]) -> None:
    path = folder / "pairs.tsv"
    path.write_text("".join(f"{qid}\t{docid}\n" for qid, docid in pairs), "utf-8")
    assert [(qid, docid) for _, qid, docid in read_pairs(path)] == pairs


@quick
@given(st.dictionaries(ids, st.lists(texts, max_size=3), min_size=1, max_size=6), st.randoms())
def test_queries_of_documents(folder: Path, queries: dict[str, list[str]], random: Any) -> None:
    path = folder / "queries.jsonl"
    lines = [json.dumps({"id": id, "queries": own}, ensure_ascii=False) + "\n" for id, own in queries.items()]
    random.shuffle(lines)
    path.write_text("".join(lines), "utf-8")
    asked = QueriesOf(path)
    assert {id: asked(id) for id in queries} == queries


@quick
@given(st.dictionaries(ids, st.lists(ids, min_size=1, max_size=6, unique=True), min_size=1, max_size=4))
def test_rankings_of_ms_marco(folder: Path, rankings: dict[str, list[str]]) -> None:
    path = folder / "run.tsv"
    with RunWriter(path, format="msmarco") as run:
        for qid, docids in rankings.items():
            run.write(qid, docids, np.arange(len(docids), 0, -1))
    found = read_run(path)
    assert {qid: list(table) for qid, table in found.items()} == rankings
    assert all(score == 1 / rank for table in found.values() for rank, score in enumerate(table.values(), start=1))


@quick
@given(
    st.dictionaries(
        ids,
        st.dictionaries(ids, st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_scores_of_a_teacher(folder: Path, scores: dict[str, dict[str, float]]) -> None:
    """Those that float32 holds, as float32; others are refused, not written as infinite."""
    path = folder / "teacher.tsv"
    groups = []
    for qid, table in scores.items():
        first, *rest = table
        groups.append(Group(qid, "q", [Candidate(first)], [Candidate(id) for id in rest], {"t": table}))
    with np.errstate(over="ignore"):
        stored = {qid: {id: float(np.float32(x)) for id, x in table.items()} for qid, table in scores.items()}
    if not all(math.isfinite(value) for table in stored.values() for value in table.values()):
        with pytest.raises(DataError, match="float32"):
            write_teacher_tsv(path, groups, "t")
        return
    write_teacher_tsv(path, groups, "t")
    groups = read_teacher_tsv(path, dict.fromkeys(scores, "q"))
    found = {g.query_id: {id: float(np.float32(x)) for id, x in g.scores["teacher"].items()} for g in groups}
    assert found == stored


@quick
@given(st.dictionaries(ids, json_values, max_size=4))
def test_manifests(folder: Path, config: dict[str, Any]) -> None:
    written = write_manifest(folder / "m.json", "thing", config=config, count=3)
    assert read_manifest(folder / "m.json") == written
    assert written["config"] == config


@quick
@given(st.dictionaries(ids, json_values, max_size=4))
def test_plans(folder: Path, plan: dict[str, Any]) -> None:
    path = folder / "plan.json"
    path.unlink(missing_ok=True)
    hold_to_plan(path, plan, output=folder, what="a test")
    hold_to_plan(path, plan, output=folder, what="a test")  # the same one is not taken for another
    with pytest.raises(DataError, match="another"):
        hold_to_plan(path, {**plan, "more": "x"}, output=folder, what="a test")


@pytest.mark.parametrize("shard", [None, {"id": 1, "num": 3, "start": 20}])
def test_manifests_of_indexes(folder: Path, shard: dict[str, int] | None) -> None:
    facts = {"count": 3, "dimension": 2, "type": "flat", "encoder": "e", "weights": "f", "spec": {"pooling": "mean"}}
    write_manifest(folder / "sdr_index.json", "index", config={}, **facts, **({"shard": shard} if shard else {}))
    found = read_index_manifest(folder)
    assert found is not None and facts.items() <= found.items() and found.get("shard") == shard


@dataclasses.dataclass
class Options:
    """One field of each kind that commands have."""

    path: Path = option(help="x")
    text: str | None = option(None, help="x")
    number: int = option(1, help="x")
    rate: float = option(0.5, help="x")
    several: list[str] | None = option(None, help="x")
    paths: list[Path] | None = option(None, help="x")
    on: bool = option(False, help="x")
    kind: Literal["a", "b"] = option("a", help="x")


plain = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12)


@quick
@given(
    st.builds(
        Options,
        path=plain.map(Path),
        text=st.none() | plain,
        number=st.integers(-(10**15), 10**15),
        rate=finite,
        several=st.none() | st.lists(plain, min_size=1, max_size=3),
        paths=st.none() | st.lists(plain.map(Path), min_size=1, max_size=3),
        on=st.booleans(),
        kind=st.sampled_from(["a", "b"]),
    )
)
def test_configurations(folder: Path, options: Options) -> None:
    """`--print-config` gives what `--config` takes, whatever looks like a number or a date."""
    path = folder / "config.yaml"
    path.write_text(dump_config(options), "utf-8")
    assert build(Options, read_config(path), source=str(path)) == options


@quick
@given(
    st.lists(
        st.dictionaries(ids, st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=5), min_size=1, max_size=3
    )
)
def test_chunks(tmp_path_factory: pytest.TempPathFactory, chunks: list[dict[str, list[float]]]) -> None:
    store = ChunkStore(tmp_path_factory.mktemp("chunks"), 3)
    store.folder.mkdir()
    for number, chunk in enumerate(chunks):
        store.write(number, list(chunk), np.array(list(chunk.values()), np.float32), tokens=number)
    counts = [len(chunk) for chunk in chunks]
    assert store.settle(counts) == [True] * len(chunks)
    for (vectors, names), chunk in zip(store.read_all(counts), chunks, strict=True):
        assert names.decode().split("\n")[:-1] == list(chunk)
        assert np.frombuffer(vectors, "<f4").tolist() == [x for row in chunk.values() for x in row]
    assert store.tokens(range(len(chunks))) == sum(range(len(chunks)))


@quick
@given(st.dictionaries(ids, st.lists(finite, min_size=2, max_size=2), min_size=1, max_size=6))
def test_embeddings(tmp_path_factory: pytest.TempPathFactory, vectors: dict[str, list[float]]) -> None:
    folder = tmp_path_factory.mktemp("embeddings")
    lines = [json.dumps({"id": id, "contents": "x", "vector": row}, ensure_ascii=False) for id, row in vectors.items()]
    (folder / "embeddings.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    found = {
        id: row.tolist()
        for names, rows in EmbeddingSource(folder).blocks()
        for id, row in zip(names, rows, strict=True)
    }
    assert found == vectors
