"""`lucene_dense.sh` at tiny size: export, Anserini's indexer, stock search, and the comparison with FAISS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..encode.make import run_encode
from .make import clustered, write_index

ENVIRONMENT = os.environ | {
    "VENV": "none",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


def script(folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "run_scripts" / "lucene_dense.sh"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT, check=False)


def test_lucene_gives_what_faiss_gives(
    tiny_collection: Path, checkpoint: Path, tmp_path: Path, stock_tables: None
) -> None:
    """In a folder whose name stock Pyserini would read a meaning into; a second run does nothing but compare.

    Where Pyserini brings no tables, Anserini's search of vectors fetches them, also for an index that is a folder.
    """
    folder = tmp_path / "my cacm"
    run_encode(tiny_collection, folder / "index", checkpoint)
    words = ("index", tiny_collection / "topics.test.tsv", "--hits", 20, "--format", "jsonl")
    done = script(folder, *words)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    expected = "Lucene (Flat) and FAISS, 12 topics, depth 20: the same documents for 12 topics"
    assert done.stdout.splitlines()[-1].startswith(expected)
    again = script(folder, *words)
    assert again.returncode == 0 and again.stdout.count("done before") == 5
    assert again.stdout.splitlines()[-1] == done.stdout.splitlines()[-1]
    run = folder / "lucene-dense" / "lucene.trec"
    lines = run.read_text().splitlines()
    run.write_text("\n".join(line.replace(" d0", " x0", 1) for line in lines) + "\n")
    assert script(folder, *words).returncode == 1
    other = script(folder, *words, "--kind", "hnsw")
    assert other.returncode == 2 and "was made with other options or inputs" in other.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("index",), "an index and topics are required"),
        (("index", "topics.tsv", "--kind", "tree"), "--kind tree: expected flat or hnsw"),
        (("index", "topics.tsv", "--format", "csv"), "--format csv: expected parquet or jsonl"),
        (("index", "topics.tsv", "--hits", "0"), "--hits 0: expected a number of at least 1"),
        (("nowhere", "topics.tsv"), "nowhere: no such index directory"),
        (("index", "topics.tsv", "--fast"), "unknown option --fast"),
    ],
)
def test_refusals(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    write_index(tmp_path / "index", clustered(5))
    done = script(tmp_path, *words)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]
