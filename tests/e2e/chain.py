"""The whole chain of commands in a folder of its own, and how two such folders differ."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TRAIN = "train --collection collection --encoder encoder --groups groups.jsonl --precision fp32 --batch-size 8"
SHORT = "--max-steps 6 --eval-steps 2 --learning-rate 1e-3 --query-max-length 16 --pooling mean --similarity cosine"
ENCODE = "encode input --corpus collection output --to-faiss --embeddings"
SEARCH = "--topics collection/topics.test.tsv --hits 20 --threads 1"
CHAIN = (
    f"{ENCODE} before encoder --encoder encoder --pooling mean --l2-norm --precision fp32",
    "mine --collection collection --index before --negatives 4 --output groups.jsonl",
    # with dropout, which the tiny encoder has: the packed pass, cached gradients, adapters (the padded pass)
    f"{TRAIN} {SHORT} --output default",
    f"{TRAIN} {SHORT} --output cached --loss infonce --negatives 2 --micro-batch-size 3",
    f"{TRAIN} {SHORT} --output adapted --loss self-scaled --negatives 2 --lora-rank 2 --micro-batch-size 3",
    f"{ENCODE} flat --chunk-size 16 encoder --encoder cached --precision fp32",
    "index build --input flat --output hnsw --type hnsw --threads 1 --eval-queries 10",
    "index build --input flat --output ivf --type ivf --nlist 3 --threads 1 --eval-queries 0",
    f"search dense --index flat {SEARCH} --output dense.trec",
    f"search dense --index hnsw {SEARCH} --output hnsw.trec",
)
WITH_JAVA = (
    "index bm25 --input collection --index bm25",
    f"search bm25 --index bm25 {SEARCH} --output bm25.trec",
    f"search hybrid --index flat --bm25-index bm25 {SEARCH} --output hybrid.trec",
)
EVALUATE = "evaluate --qrels collection/qrels.test.txt --topics collection/topics.test.tsv --output evaluation --runs"
MANIFESTS = ("sdr_train.json", "sdr_index.json", ".trec.json", ".jsonl.json", "results.json", "train_log.json")
TOLD_APART = ("created", "cost", "second", "seconds", "memory", "memory_bytes")
"""Keys of manifests and logs, or ends of them, that tell when and at what cost; whatever is below them may differ."""


def run_chain(python: Path | str, folder: Path, environment: Mapping[str, str], lines: Iterable[str]) -> None:
    """Runs commands in a folder, which holds `collection` and `encoder`."""
    for line in lines:
        name, *words = shlex.split(line)
        command = [str(python), "-m", f"pyserini_sdr.{name}", *words]
        done = subprocess.run(command, cwd=folder, env=dict(environment), capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"


def without_costs(value: Any) -> Any:
    """A manifest without what tells when and at what cost."""
    if isinstance(value, dict):
        return {key: without_costs(item) for key, item in value.items() if not key.endswith(TOLD_APART)}
    return [without_costs(item) for item in value] if isinstance(value, list) else value


def differing(one: Path, other: Path, given: Iterable[str] = ()) -> list[str]:
    """Files below two folders that are not the same bytes, manifests but for their costs.

    Args:
        one, other: the folders.
        given: what is not compared, by the first part of its path.
    """
    names = [{os.fspath(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} for root in (one, other)]
    found = [f"only in one: {name}" for name in sorted(names[0] ^ names[1]) if name.split("/")[0] not in given]
    for name in sorted(names[0] & names[1]):
        if name.split("/")[0] in given:
            continue
        if name.endswith(MANIFESTS):
            same = without_costs(json.loads((one / name).read_text())) == without_costs(
                json.loads((other / name).read_text())
            )
        else:
            same = (one / name).read_bytes() == (other / name).read_bytes()
        if not same:
            found.append(name)
    return found
