"""`BiEncoder`: a transformer, its tokenizer and its spec; texts in, float32 vectors out."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import SdrError, UsageError
from ..core.runtime import keep_memory
from .batching import default_budget, pad, pad_id_of
from .cores import on_all_cores
from .device import document_dtype, resolve_device
from .fingerprint import weights_fingerprint
from .fitted import fitted_spec
from .names import ResolvedEncoder, resolve_encoder
from .packed import PackedEncoder
from .plain import Plain, note_plain, open_plain
from .pooling import pool
from .pretrained import load_weights
from .seen import Seen
from .spec import EncoderSpec, read_spec
from .token_budget import Prepared, batches_of_tokens, by_token_budget

RAW_BACKBONE = {"pooling": "mean", "similarity": "cosine"}
"""What `train` makes of a backbone that says nothing about pooling."""


class BiEncoder:
    """One encoder for queries and documents.

    Make one with `BiEncoder.load`. Queries are encoded in float32, documents in `precision`.

    Attributes:
        backbone: the transformer, float32, in evaluation mode; of a plain checkpoint loaded when it is first asked for.
        tokenizer: its fast tokenizer, likewise.
        spec: pooling, similarity, prefixes and lengths.
        resolved: where it was loaded from, or None.
        device: where it runs.
        document_dtype: of the computation for documents.
        query_dtype: for queries: float32, unless a caller that needs many, and not their last digits, sets another.
        token_budget: tokens per batch, padding included where there is any.
        max_batch: texts per batch at most, None for no limit.
        pad_id: token id used for padding.
    """

    def __init__(
        self,
        backbone: nn.Module | None,
        tokenizer: Any,
        spec: EncoderSpec,
        *,
        resolved: ResolvedEncoder | None = None,
        device: torch.device | None = None,
        precision: str = "auto",
        plain: Plain | None = None,
    ) -> None:
        self.device = device or torch.device("cpu")
        self.spec, self.resolved, self._plain = spec, resolved, plain
        if plain is None:
            self.backbone, self.tokenizer = backbone.to(self.device).eval(), tokenizer
            self.pad_id = pad_id_of(tokenizer)
        else:
            self.fingerprint, self.pad_id = plain.fingerprint, plain.pad_id
        self.document_dtype = document_dtype(precision, self.device)
        self.query_dtype = torch.float32
        self._copies: dict[torch.dtype, nn.Module] = {}
        self._packed: dict[torch.dtype, PackedEncoder | None] = {}
        self.token_budget = default_budget(self.device)
        self.max_batch: int | None = None

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        device: str | None = None,
        precision: str = "auto",
        raw_backbone: bool = False,
        revision: str | None = None,
        lazy: bool = False,
        **overrides: Any,
    ) -> BiEncoder:
        """Loads a checkpoint directory, the bundled `all-MiniLM-L6-v2`, or a model from the hub.

        Args:
            name: see `names.resolve_encoder`.
            device: `cpu`, `cuda`, `cuda:N`; None or `auto` picks a GPU if there is one.
            precision: of documents: `auto`, `fp32`, `bf16`, `fp16`.
            raw_backbone: accept a backbone that says nothing about pooling (mean, cosine); else that is an error.
            revision: branch, tag or commit on the hub.
            lazy: for encoding only: without transformers where that is possible (on a CPU), see `plain`.
            overrides: `EncoderSpec` fields that win over the checkpoint's; a smaller `dimension` keeps the first ones
                only (of an encoder trained for it).

        Raises:
            UsageError: unknown pooling, a device that is not there.
            DataError: weights missing or unexpected, or a dimension that differs from the spec.
        """
        keep_memory()
        resolved = resolve_encoder(str(name), revision)
        spec = read_spec(resolved.directory, overrides, fallback=RAW_BACKBONE if raw_backbone else None)
        place = resolve_device(device)
        packs = place.type == "cpu" and document_dtype(precision, place) != torch.float16  # see `_packed_pass`
        plain = open_plain(resolved.directory) if lazy and packs else None
        backbone, tokenizer = load_weights(resolved.directory) if plain is None else (None, None)
        if lazy and packs and backbone is not None:
            note_plain(resolved.directory, backbone, tokenizer)
        hidden = plain.hidden_size if backbone is None else backbone.config.hidden_size
        spec = fitted_spec(resolved, spec, overrides, hidden)
        return cls(backbone, tokenizer, spec, resolved=resolved, device=place, precision=precision, plain=plain)

    @functools.cached_property
    def backbone(self) -> nn.Module:
        return self._loaded[0].to(self.device).eval()

    @functools.cached_property
    def tokenizer(self) -> Any:
        return self._loaded[1]

    @functools.cached_property
    def _loaded(self) -> tuple[nn.Module, Any]:
        return load_weights(self.resolved.directory)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Identity of the weights: a hash over the checkpoint's weight files."""
        if self.resolved is None:
            raise SdrError("an encoder that was not loaded from files has no fingerprint; save it first")
        return weights_fingerprint(self.resolved.directory)

    @property
    def truncated(self) -> bool:
        """Whether vectors are the first dimensions of the embeddings only."""
        hidden = self.backbone.config.hidden_size if self._plain is None else self._plain.hidden_size
        return self.spec.dimension < hidden

    def encode_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Vectors of queries, (n, dim) float32, computed in `query_dtype`."""
        texts = [self.spec.query_text(text) for text in queries]
        tokens = self.tokenize(texts, self.spec.query_max_length)
        if len(set(queries)) == len(queries):
            self.seen("queries").add(tokens)
        return self._vectors(tokens, self.query_dtype, self._packed_pass(self.query_dtype) if tokens else None)

    def encode_documents(
        self,
        documents: Sequence[str],
        *,
        titles: Sequence[str] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Vectors of documents, (n, dim) float32, computed in the chosen precision.

        Args:
            documents: contents, which begin with the title where there is one.
            titles: to be encoded as the first text of a pair with each document (stock's `--add-sep`).
            on_batch: called with the number of texts of every batch that is done.

        Raises:
            UsageError: an encoder of queries only.
        """
        return self.encode_prepared(self.prepare_documents(documents, titles=titles), on_batch=on_batch)

    def prepare_documents(self, documents: Sequence[str], *, titles: Sequence[str] | None = None) -> Prepared:
        """The first part of `encode_documents`: prefixes and tokens. It may run while other documents are encoded."""
        if self.spec.queries_only:
            raise UsageError(
                f"{self.resolved or 'this encoder'}: encodes queries only; encode documents with "
                f"{self.spec.document_encoder}"
            )
        length = self.spec.document_max_length
        if titles is not None:
            counting = self.tokenizer if self._plain is None else self._plain.tokenizer
            special = counting.num_special_tokens_to_add(True)
            if length < special:  # the tokenizer would not truncate at all
                raise UsageError(f"document_max_length {length}: pairs of title and text have {special} special tokens")
            return Prepared(self.tokenize([self.spec.document_text(title) for title in titles], length, documents))
        return Prepared(self.tokenize([self.spec.document_text(text) for text in documents], length))

    def encode_prepared(self, prepared: Prepared, *, on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        """The second part of `encode_documents`: vectors (n, dim) float32."""
        dtype = self.document_dtype
        return self._vectors(prepared.ids, dtype, self._packed_pass(dtype), on_batch)

    def identity(self) -> dict[str, Any]:
        """What decides a document's vector, JSON-ready: kept with an index and held against a query encoder."""
        return identity_of(self, self.document_dtype)

    def seen(self, what: Literal["documents", "queries"]) -> Seen:
        """A fresh count of what is seen of texts; `add` takes their tokens."""
        backend = (
            self._plain.tokenizer if self._plain is not None else getattr(self.tokenizer, "backend_tokenizer", None)
        )
        spec = self.spec
        return Seen(what, backend, spec.document_max_length if what == "documents" else spec.query_max_length)

    def tokenize(self, texts: Sequence[str], max_length: int, seconds: Sequence[str] | None = None) -> list[list[int]]:
        """Token ids of texts that already carry their prefix, truncated, with special tokens, unpadded."""
        if not texts:
            return []
        if self._plain is not None:
            backend, side = self._plain.tokenizer, self._plain.truncation_side
        else:
            backend, side = getattr(self.tokenizer, "backend_tokenizer", None), self.tokenizer.truncation_side
        if hasattr(backend, "encode_batch_fast"):  # no offsets, no Python object per token: a quarter faster
            backend.no_padding()
            backend.enable_truncation(max_length, direction=side)
            inputs = list(texts) if seconds is None else list(zip(texts, seconds, strict=True))
            return [encoding.ids for encoding in backend.encode_batch_fast(inputs)]
        return self.tokenizer(
            list(texts),
            None if seconds is None else list(seconds),
            truncation=True,
            max_length=max_length,
            padding=False,
            add_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]

    def _vectors(
        self,
        tokens: Sequence[Sequence[int]],
        dtype: torch.dtype,
        packed: PackedEncoder | None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Vectors (n, dim) float32 of token ids, by the packed pass where there is one."""
        vectors = np.empty((len(tokens), self.spec.dimension), dtype=np.float32)
        lengths = [len(ids) for ids in tokens]
        if packed is not None:

            def work(rows: np.ndarray) -> None:
                vectors[rows] = self._finished(packed.pooled([tokens[row] for row in rows], self.spec.pooling))

            counted = None if on_batch is None else lambda rows: on_batch(len(rows))
            on_all_cores(batches_of_tokens(lengths, self.token_budget, self.max_batch), work, counted)
            return vectors
        model = self._model(dtype) if len(tokens) else None
        with torch.inference_mode():
            for rows in by_token_budget(lengths, self.token_budget, self.max_batch):
                ids, mask = pad([tokens[row] for row in rows], self.pad_id)
                pooled = forward(model, ids.to(self.device), mask.to(self.device), self.spec.pooling)
                vectors[rows] = self._finished(pooled)
                if on_batch is not None:
                    on_batch(len(rows))
        return vectors

    def _finished(self, pooled: Tensor) -> np.ndarray:
        """Embeddings as vectors: cut to the dimensions wanted, normalised where the similarity is cosine."""
        pooled = pooled[:, : self.spec.dimension]
        return (nn.functional.normalize(pooled, dim=1) if self.spec.normalize else pooled).cpu().numpy()

    def _packed_pass(self, dtype: torch.dtype) -> PackedEncoder | None:
        """The pass for many texts, None where there is none for this model and device."""
        if self.device.type != "cpu" or dtype == torch.float16:
            return None
        if dtype not in self._packed:
            plain = None if "backbone" in vars(self) else self._plain  # a caller may have trained the one it has
            found = PackedEncoder.of(self.backbone, dtype) if plain is None else PackedEncoder(plain.weights, dtype)
            self._packed[dtype] = found
        return self._packed[dtype]

    def weights_changed(self) -> None:
        """To be called after the backbone's weights were changed: what was made of them is made anew."""
        self._copies.clear()
        self._packed.clear()

    def _model(self, dtype: torch.dtype) -> nn.Module:
        if dtype == torch.float32:
            return self.backbone
        if dtype not in self._copies:  # cast weights once; autocast would cast them for every batch
            self._copies[dtype] = copy.deepcopy(self.backbone).to(dtype).eval()
        return self._copies[dtype]


def forward(model: nn.Module, ids: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Pooled, unnormalised float32 embeddings (n, dim) of padded token ids (n, length)."""
    return pool(model(input_ids=ids, attention_mask=mask)[0], mask, pooling)


def identity_of(encoder: Any, dtype: torch.dtype) -> dict[str, Any]:
    """Name, weights, spec, precision and device of an encoder of any class, JSON-ready."""
    found = encoder.resolved
    return {
        "encoder": found.reference,
        "weights": encoder.fingerprint,
        "spec": encoder.spec.to_dict(),
        "precision": str(dtype).removeprefix("torch."),
        "device": encoder.device.type,
    }
