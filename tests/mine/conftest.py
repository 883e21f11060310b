"""A small collection, runs over it and the command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.mine.__main__ import COMMAND


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    folder = tmp_path / "collection"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": f"d{i}", "contents": f"text {i}"}) + "\n" for i in range(12))
    )
    (folder / "topics.train.tsv").write_text("a\tfirst\nb\tsecond\nc\tthird\n")
    (folder / "train.pairs.tsv").write_text("a\td0\nb\td1\nb\td2\nc\td3\n")
    (folder / "qrels.train.txt").write_text("a 0 d0 1\na 0 d5 1\na 0 d6 0\n")
    (folder / "topics.other.tsv").write_text("z\tlast\n")
    (folder / "qrels.other.txt").write_text("z 0 d9 1\n")
    return folder


def write_run(path: Path, rankings: Mapping[str, list[str] | Mapping[str, float]]) -> Path:
    """A run; documents without given scores have 99, 98, …"""
    lines = []
    for qid, documents in rankings.items():
        scores = documents if isinstance(documents, Mapping) else {d: 99 - i for i, d in enumerate(documents)}
        lines += [f"{qid} Q0 {d} {i} {s} x\n" for i, (d, s) in enumerate(scores.items(), start=1)]
    path.write_text("".join(lines))
    return path


def mine(collection: Path, output: Path, *more: object) -> dict[str, list[str | None]]:
    """Runs the command; query id → ids of its negatives."""
    words = ["--collection", collection, "--output", output, *more]
    COMMAND.execute("mine", [str(word) for word in words])
    return {group.query_id: [c.id for c in group.negatives] for group in read_groups(output)}


def manifest(output: Path) -> dict:
    """What lies beside the groups."""
    return json.loads(output.with_name(output.name + ".json").read_text())
