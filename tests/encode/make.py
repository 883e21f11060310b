"""Checkpoints and indexes for the tests of encoding, indexing and searching."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyserini_sdr.encode.__main__ import COMMAND
from pyserini_sdr.model.checkpoint import save_checkpoint
from pyserini_sdr.model.encoder import BiEncoder

torch.set_num_threads(1)  # tiny matrices are not worth the wait for other threads on a busy machine

SPEC = {
    "pooling": "mean",
    "similarity": "cosine",
    "query_prefix": "what:",
    "document_prefix": "in:",
    "query_max_length": 16,
    "document_max_length": 40,
}


def make_checkpoint(folder: Path, backbone: Path, **changes: Any) -> Path:
    """A checkpoint of ours with `SPEC`, changed."""
    encoder = BiEncoder.load(backbone, device="cpu", precision="fp32", **{**SPEC, **changes})
    save_checkpoint(folder, encoder.backbone, encoder.tokenizer, encoder.spec)
    return folder


def argv(
    corpus: Path | str,
    output: Path | str,
    encoder: Path | str,
    *,
    input: Iterable[object] = (),
    out: Iterable[object] = ("--to-faiss", "--chunk-size", 16),
    model: Iterable[object] = ("--precision", "fp32"),
) -> list[str]:
    """A command line of `encode`."""
    parts = ["input", "--corpus", corpus, *input, "output", "--embeddings", output, *out]
    return [str(part) for part in [*parts, "encoder", "--encoder", encoder, *model]]


def run_encode(*args: Any, **kwargs: Any) -> Path:
    """Encodes in this process; returns the output directory."""
    words = argv(*args, **kwargs)
    assert COMMAND.execute("python -m pyserini_sdr.encode", words) == 0
    return Path(words[words.index("--embeddings") + 1])


def read_index(folder: Path) -> tuple[list[str], np.ndarray]:
    """Ids and vectors of an index directory, read without our code."""
    import faiss

    index = faiss.read_index(str(folder / "index"))
    assert index.metric_type == faiss.METRIC_INNER_PRODUCT
    return (folder / "docid").read_text("utf-8").splitlines(), index.reconstruct_n(0, index.ntotal)
