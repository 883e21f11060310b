"""Healthy material of every kind that commands read, and ways to damage it."""

from __future__ import annotations

import gzip
import json
import shlex
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..encode.make import make_checkpoint
from ..teach.make import make_cross_encoder
from ..tiny import make_tiny_collection

DOCUMENTS = 30
TRAIN = "train --collection collection --encoder checkpoint --groups groups.jsonl --output out --precision fp32"
ENCODE = "encode input --corpus collection output --embeddings out --to-faiss encoder --encoder checkpoint"
DENSE = "search dense --index index --topics collection/topics.test.tsv --output out.trec --hits 5"


def run(line: str) -> int:
    """`python -m pyserini_sdr.LINE` in this process, without the handling of errors; returns its exit status."""
    name, *words = shlex.split(line)
    return import_module(f"pyserini_sdr.{name}.__main__").COMMAND.execute(f"python -m pyserini_sdr.{name}", words)


def make_material(folder: Path, encoder: Path) -> Path:
    """Fills `folder`, the current directory, with one healthy file or directory of each kind, by short names.

    collection, encoder (a backbone), checkpoint, cross (a cross-encoder), index (flat), sq8, groups.jsonl,
    scored.jsonl, teacher.tsv, run.trec, other.trec, qrels.txt, topics.tsv, beir
    """
    collection = make_tiny_collection(folder / "collection", DOCUMENTS)
    shutil.copytree(encoder, folder / "encoder")
    make_checkpoint(folder / "checkpoint", encoder)
    make_cross_encoder(folder / "cross", encoder)
    assert run(f"{ENCODE} --precision fp32".replace("--embeddings out", "--embeddings index")) == 0
    assert run("index build --input index --output sq8 --type sq8 --eval-queries 0 --threads 1") == 0
    assert run(DENSE.replace("out.trec", "run.trec")) == 0
    assert run(DENSE.replace("out.trec", "other.trec --query-prefix other:")) == 0
    train = DENSE.replace("topics.test", "topics.train").replace("out.trec", "train.trec")
    assert run(train) == 0
    assert run("mine --collection collection --runs train.trec --negatives 3 --output groups.jsonl") == 0
    assert run("teach --groups groups.jsonl --run train.trec --missing lowest --name bm25 --output scored.jsonl") == 0
    assert run("teach --groups scored.jsonl --name bm25 --output teacher.tsv") == 0
    shutil.copyfile(collection / "qrels.test.txt", folder / "qrels.txt")
    shutil.copyfile(collection / "topics.test.tsv", folder / "topics.tsv")
    _make_beir(folder / "beir", collection)
    return folder


def _make_beir(folder: Path, collection: Path) -> None:
    (folder / "qrels").mkdir(parents=True)
    records = [json.loads(line) for line in (collection / "corpus" / "part-0.jsonl").read_text().splitlines()]
    lines = [{"_id": record["id"], "title": record["title"], "text": record["contents"]} for record in records]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    topics = [line.split("\t") for line in (collection / "topics.test.tsv").read_text().splitlines()]
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": q, "text": t}) + "\n" for q, t in topics))
    judged = [line.split() for line in (collection / "qrels.test.txt").read_text().splitlines()]
    rows = ["query-id\tcorpus-id\tscore\n", *(f"{qid}\t{docid}\t{grade}\n" for qid, _, docid, grade in judged)]
    (folder / "qrels" / "test.tsv").write_text("".join(rows))


Damage = Callable[[], None]
"""Changes the material in the current directory."""


def write(name: str, content: str | bytes) -> Damage:
    """The file then holds this."""

    def damage() -> None:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(content.encode() if isinstance(content, str) else content)

    return damage


def add(name: str, content: str | bytes) -> Damage:
    """The file then ends with this."""
    return lambda: write(name, Path(name).read_bytes() + (content.encode() if isinstance(content, str) else content))()


def cut(name: str, share: float = 0.5) -> Damage:
    """The file then is this share of what it was."""

    def damage() -> None:
        content = Path(name).read_bytes()
        Path(name).write_bytes(content[: int(len(content) * share)])

    return damage


def cut_gzip(name: str, source: str) -> Damage:
    """The packed `source`, whose end is missing."""
    return lambda: write(name, gzip.compress(Path(source).read_bytes())[:-12])()


def remove(name: str) -> Damage:
    """The file or directory is not there."""
    return lambda: shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()


def edit(name: str, **changes: Any) -> Damage:
    """Keys of the object in a JSON file have other values; without those whose value is `...`."""

    def damage() -> None:
        value = {**json.loads(Path(name).read_text()), **changes}
        Path(name).write_text(json.dumps({key: item for key, item in value.items() if item is not ...}))

    return damage


def edit_line(name: str, number: int, change: Callable[[dict[str, Any]], Any]) -> Damage:
    """The object in a line (from 1) of a JSONL file, changed in place."""

    def damage() -> None:
        lines = Path(name).read_text().splitlines()
        value = json.loads(lines[number - 1])
        change(value)
        lines[number - 1] = json.dumps(value)
        Path(name).write_text("".join(f"{line}\n" for line in lines))

    return damage


def replace(name: str, old: str, new: str) -> Damage:
    """The first occurrence of a text is another."""

    def damage() -> None:
        content = Path(name).read_text()
        assert old in content
        Path(name).write_text(content.replace(old, new, 1))

    return damage


def all_of(*damages: Damage) -> Damage:
    """One after the other."""

    def damage() -> None:
        for each in damages:
            each()

    return damage
