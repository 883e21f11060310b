"""`index info` tells what a directory holds, finished or not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.index.store import open_index

from ..encode.make import run_encode
from .make import build, clustered, index, names, spec, write_index


def facts(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, Any]:
    capsys.readouterr()
    assert index("info", "--index", folder, "--json") == 0
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str], folder: Path) -> dict[str, str]:
    capsys.readouterr()
    assert index("info", "--index", folder) == 0
    lines = capsys.readouterr().out.splitlines()
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines)


def test_finished(tiny_collection: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = run_encode(tiny_collection, tmp_path / "index", checkpoint)
    found = facts(capsys, folder)
    assert (found["state"], found["type"], found["count"], found["dimension"]) == ("finished", "flat", 60, 32)
    assert found["bytes"]["index"] == 45 + 60 * 32 * 4 == (folder / "index").stat().st_size
    assert found["stock"] and found["exact"] and found["encoder"] == str(checkpoint)
    assert found["spec"]["document_prefix"] == "in:" and "created" in found and "command" in found
    lines = text(capsys, folder)
    assert lines["type"] == "flat: every vector as it is; exact search" and lines["size of index"] == "7.7 kB"
    assert lines["stock Pyserini"] == "reads it" and lines["encoder"] == str(checkpoint)


def test_embeddings(
    tiny_collection: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = facts(capsys, run_encode(tiny_collection, tmp_path / "e", checkpoint, out=()))
    assert found["state"] == "embeddings" and found["count"] == 60 and list(found["bytes"]) == ["embeddings.jsonl"]


def test_unfinished_encoding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunks = tmp_path / "index" / ".encode"
    chunks.mkdir(parents=True)
    for name in ("plan.json", "corpus.json", "00000.json", "00001.json", "00001.f32", "00002.f32"):
        (chunks / name).write_text("{}")
    assert facts(capsys, tmp_path / "index") == {
        "directory": str(tmp_path / "index"),
        "state": "unfinished encoding",
        "chunks": 2,
    }
    assert text(capsys, tmp_path / "index")["state"] == "unfinished encoding (2 chunks are there)"
    for command in (("verify", "--index"), ("build", "--output", tmp_path / "out", "--input")):
        with pytest.raises(
            DataError, match=r"index: holds an unfinished encoding \(2 chunks are there\); give the enc"
        ):
            index(*command, tmp_path / "index")
    assert not (tmp_path / "out").exists()


def test_of_stock(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No manifest, classes and metrics that we do not make."""
    folder = write_index(tmp_path / "ip", clustered(50))
    assert facts(capsys, folder)["state"] == "no manifest: not made by pyserini_sdr"
    for name, made in {
        "IndexLSH": faiss.IndexLSH(32, 64),
        "hnsw": faiss.IndexHNSWFlat(32, 8, faiss.METRIC_L2),
    }.items():
        made.add(clustered(50))
        faiss.write_index(made, str(folder / "index"))
        found = facts(capsys, folder)
        assert found["type"] == name and found["metric"] == "L2 distance (cannot be searched here)"


def test_ids_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_index(tmp_path / "index", clustered(50), names(49))
    assert text(capsys, folder)["ids"].startswith("49: not one per vector")


def test_changes_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = build(write_index(tmp_path / "flat", clustered(50), **spec()), tmp_path / "index")
    more = write_index(tmp_path / "more", clustered(5, seed=1), names(5, start=50), **spec())
    index("append", "--index", folder, "--input", more)
    index("delete", "--index", folder, "--ids", *names(2, start=10))
    found = facts(capsys, folder)
    assert [change.get("added", change.get("removed")) for change in found["changes"]] == [5, 2]
    assert found["count"] == 53 and found["sources"] == [str(tmp_path / "flat")]
    assert "2 removed by" in text(capsys, folder)["changed"]


def test_no_vectors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As stock leaves it behind after a wrong `--dimension`."""
    folder = write_index(tmp_path / "index", np.empty((0, 32), np.float32))
    assert open_index(folder).search(clustered(3), 5)[1].shape == (3, 0)
    assert index("verify", "--index", folder) == 1
    assert "holds no vectors" in capsys.readouterr().out
    with pytest.raises(DataError, match="index: holds no vectors"):
        build(folder, tmp_path / "out")


def test_what_is_no_index(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no index"):
        index("info", "--index", tmp_path)
    with pytest.raises(DataError, match="nowhere: no such index directory"):
        index("info", "--index", tmp_path / "nowhere")


def test_vectors_that_a_type_does_not_give_back(tmp_path: Path) -> None:
    folder = write_index(tmp_path / "index", clustered(50))
    made = faiss.IndexPreTransform(faiss.PCAMatrix(32, 8), faiss.IndexFlatIP(8))
    made.train(clustered(50))
    made.add(clustered(50))
    faiss.write_index(made, str(folder / "index"))
    opened = open_index(folder)
    assert opened.type == "IndexPreTransform" and not opened.exact
    assert opened.search(clustered(3), 5)[1].shape == (3, 5) and np.isfinite(opened.vectors(0, 3)).all()
