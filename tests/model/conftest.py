"""A checkpoint of ours, and texts of many lengths."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from pyserini_sdr.model.checkpoint import save_checkpoint
from pyserini_sdr.model.encoder import BiEncoder

from ..tiny import vocabulary

SPECS = {
    "mean-cosine": {"pooling": "mean", "similarity": "cosine"},
    "cls-dot-prefixes": {
        "pooling": "cls",
        "similarity": "dot",
        "query_prefix": "what:",
        "document_prefix": "in the",
        "query_max_length": 9,
        "document_max_length": 31,
    },
}


def make_texts(count: int, seed: int = 0, longest: int = 40) -> list[str]:
    """Texts of 1 to `longest` words, one of them empty."""
    rng, words = random.Random(seed), vocabulary()
    return ["", *(" ".join(rng.choices(words, k=rng.randint(1, longest))) for _ in range(count - 1))]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny matrices are not worth the wait for other threads on a busy machine."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return make_texts(24)


@pytest.fixture(scope="session")
def encoder(tiny_encoder: Path) -> BiEncoder:
    return BiEncoder.load(tiny_encoder, device="cpu", precision="fp32", pooling="mean", similarity="cosine")


@pytest.fixture(scope="session", params=SPECS)
def checkpoint(request: pytest.FixtureRequest, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved checkpoint, once per spec; do not write into it."""
    loaded = BiEncoder.load(tiny_encoder, device="cpu", precision="fp32", **SPECS[request.param])
    path = tmp_path_factory.mktemp("checkpoint") / request.param
    save_checkpoint(path, loaded.backbone, loaded.tokenizer, loaded.spec)
    return path
