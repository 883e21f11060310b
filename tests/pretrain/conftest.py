"""The tiny encoder's parts, for tests of what is put around them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.pretrain.masking import Masker
from pyserini_sdr.trec.topics import read_topics


@pytest.fixture(scope="session")
def loaded(tiny_encoder) -> BiEncoder:
    """The tiny encoder, loaded; do not train it."""
    return BiEncoder.load(tiny_encoder, device="cpu", raw_backbone=True)


@pytest.fixture(scope="session")
def masker(loaded) -> Masker:
    """Of the tiny encoder's tokenizer."""
    return Masker(loaded.tokenizer)


@pytest.fixture(scope="session")
def groups(tiny_collection, tmp_path_factory) -> Path:
    """Training groups of the tiny collection, with a negative each."""
    path = tmp_path_factory.mktemp("groups") / "groups.jsonl"
    with path.open("w") as handle:
        for number, (qid, query) in enumerate(read_topics(tiny_collection / "topics.train.tsv").items()):
            negative = [{"id": f"d{(number + 1) % 60:03d}"}]
            group = {"query_id": qid, "query": query, "positives": [{"id": f"d{number:03d}"}], "negatives": negative}
            handle.write(json.dumps(group) + "\n")
    return path
