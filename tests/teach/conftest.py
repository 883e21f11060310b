"""A tiny cross-encoder, a bi-encoder and groups."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from ..encode.make import make_checkpoint
from .make import make_cross_encoder


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny matrices are not worth the wait for other threads on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cross_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random cross-encoder; do not write into it."""
    return make_cross_encoder(tmp_path_factory.mktemp("teach") / "cross", tiny_encoder)


@pytest.fixture(scope="session")
def bi_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder checkpoint of ours; do not write into it."""
    return make_checkpoint(tmp_path_factory.mktemp("teach") / "bi", tiny_encoder)


@pytest.fixture(scope="session")
def groups(tiny_collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A group of one positive and eight negatives for each training query; do not change it."""
    rng = random.Random(1)
    path = tmp_path_factory.mktemp("teach") / "groups.jsonl"
    with path.open("w", encoding="utf-8") as handle:
        for line in (tiny_collection / "topics.train.tsv").read_text("utf-8").splitlines():
            qid, query = line.split("\t")
            positive = f"d{qid[1:]}"
            others = [f"d{number:03d}" for number in range(60) if f"d{number:03d}" != positive]
            record = {
                "query_id": qid,
                "query": query,
                "positives": [{"id": positive}],
                "negatives": [{"id": docid} for docid in rng.sample(others, 8)],
            }
            handle.write(json.dumps(record) + "\n")
    return path
