"""Training groups of the tiny collection."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.mine.__main__ import COMMAND as MINE


@pytest.fixture(scope="session")
def groups(tiny_collection, tiny_encoder, tmp_path_factory) -> Path:
    """Negatives of the tiny collection, from a run with every other document."""
    folder = tmp_path_factory.mktemp("mined")
    topics = (tiny_collection / "topics.train.tsv").read_text().splitlines()
    docids = [json.loads(line)["id"] for line in next((tiny_collection / "corpus").glob("*")).read_text().splitlines()]
    rng = np.random.default_rng(0)
    with (folder / "run.trec").open("w") as run:
        for line in topics:
            for place, i in enumerate(rng.permutation(len(docids))[:20]):
                run.write(f"{line.split(chr(9))[0]} Q0 {docids[i]} {place + 1} {20 - place} x\n")
    MINE.execute("mine", ["--collection", str(tiny_collection), "--runs", str(folder / "run.trec"),
                          "--output", str(folder / "groups.jsonl")])  # fmt: skip
    return folder / "groups.jsonl"
