"""An encoder without a model: vectors are made of the text's digest, at once and the same everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyserini_sdr.encode.options import EncodeOptions, EncoderOptions, InputOptions, OutputOptions


class FakeEncoder:
    """As `encode.pipeline.DocumentEncoder` wants it; counts what it encodes."""

    token_budget, max_batch = 100, None

    def __init__(self, weights: str = "w", dimension: int = 8) -> None:
        self.weights, self.dimension, self.encoded = weights, dimension, 0

    def encode_documents(
        self,
        documents: Sequence[str],
        *,
        titles: Sequence[str] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        self.encoded += len(documents)
        rows = [hashlib.sha256(f"{self.weights}{text}".encode()).digest()[: self.dimension] for text in documents]
        if on_batch is not None:
            on_batch(len(documents))
        return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, self.dimension).astype(np.float32)

    def identity(self) -> dict[str, Any]:
        spec = {"dimension": self.dimension}
        return {"encoder": "fake", "weights": self.weights, "spec": spec, "precision": "float32", "device": "cpu"}


class TwoPartEncoder(FakeEncoder):
    """One that tokenises apart from computing."""

    def prepare_documents(self, documents: Sequence[str], *, titles: Sequence[str] | None = None) -> Any:
        return Words(documents)

    def encode_prepared(self, prepared: Any, *, on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        return self.encode_documents(prepared.documents, on_batch=on_batch)


class Words:
    """Texts and how many words they have."""

    def __init__(self, documents: Sequence[str]) -> None:
        self.documents, self.tokens = documents, sum(len(text.split()) for text in documents)


def make_options(
    corpus: Path,
    output: Path,
    *,
    chunk: int | None = 4,
    overwrite: bool = False,
    faiss: bool = True,
    dtype: Any = "float32",
    **source: Any,
) -> EncodeOptions:
    """Options for `engine.encode_corpus`."""
    out = OutputOptions(embeddings=output, to_faiss=faiss, overwrite=overwrite, chunk_size=chunk, chunk_dtype=dtype)
    return EncodeOptions(InputOptions(corpus=corpus, **source), out, EncoderOptions(encoder="fake"))
