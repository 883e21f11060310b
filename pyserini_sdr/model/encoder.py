"""`BiEncoder`: a transformer, its tokenizer and its spec; texts in, float32 vectors out."""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import file_sha256
from ..core.runtime import keep_memory
from .batching import by_token_budget, default_budget, pad, pad_id_of
from .cores import on_all_cores
from .names import ResolvedEncoder, resolve_encoder
from .packed import PackedEncoder, batches_of_tokens
from .pooling import pool
from .spec import SPEC_FILE, EncoderSpec, read_spec

RAW_BACKBONE = {"pooling": "mean", "similarity": "cosine"}
"""What `train` makes of a backbone that says nothing about pooling."""

HEADS = (  # of pre-training and classification, which AutoModel leaves out: BERT, RoBERTa, DistilBERT, ModernBERT, ...
    *("cls.", "lm_head.", "vocab_", "classifier.", "qa_outputs.", "generator_", "discriminator_"),
    *("head.", "decoder.", "lm_predictions.", "mask_predictions."),
)
"""Beginnings of names of weights that a transformer without a head may leave unused."""


def resolve_device(device: str | None) -> torch.device:
    """`auto`/None → a GPU if there is one (under `torchrun` each process its own), else the CPU.

    A device that is named and does not exist is an error, never a silent CPU.
    """
    if device in (None, "auto"):
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if device == "cuda" and torch.cuda.is_available() and "LOCAL_RANK" in os.environ:  # not the first GPU for all
        return resolve_device("auto")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {device}: {str(error).splitlines()[0]}") from error
    return chosen


@functools.cache
def has_bf16(kind: str) -> bool:
    """Whether bf16 is faster than float32 on this machine's `cpu` or `cuda` device."""
    if kind == "cuda":
        return torch.cuda.get_device_capability() >= (8, 0)
    if kind == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def document_dtype(precision: str, device: torch.device) -> torch.dtype:
    """`auto` → bf16 where the hardware has it, else float32; or the one named (`fp32`, `bf16`, `fp16`)."""
    if precision == "auto":
        return torch.bfloat16 if has_bf16(device.type) else torch.float32
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


class BiEncoder:
    """One encoder for queries and documents.

    Make one with `BiEncoder.load`. Queries are encoded in float32, documents in `precision`.

    Attributes:
        backbone: the transformer, float32, in evaluation mode.
        tokenizer: its fast tokenizer.
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
        backbone: nn.Module,
        tokenizer: Any,
        spec: EncoderSpec,
        *,
        resolved: ResolvedEncoder | None = None,
        device: torch.device | None = None,
        precision: str = "auto",
    ) -> None:
        self.device = device or torch.device("cpu")
        self.backbone = backbone.to(self.device).eval()
        self.tokenizer, self.spec, self.resolved = tokenizer, spec, resolved
        self.document_dtype = document_dtype(precision, self.device)
        self.query_dtype = torch.float32
        self._copies: dict[torch.dtype, nn.Module] = {}
        self._packed: dict[torch.dtype, PackedEncoder | None] = {}
        self.token_budget = default_budget(self.device)
        self.pad_id = pad_id_of(tokenizer)
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
        **overrides: Any,
    ) -> BiEncoder:
        """Loads a checkpoint directory, the bundled `all-MiniLM-L6-v2`, or a model from the hub.

        Args:
            name: see `names.resolve_encoder`.
            device: `cpu`, `cuda`, `cuda:N`; None or `auto` picks a GPU if there is one.
            precision: of documents: `auto`, `fp32`, `bf16`, `fp16`.
            raw_backbone: accept a backbone that says nothing about pooling (mean, cosine); else that is an error.
            revision: branch, tag or commit on the hub.
            overrides: `EncoderSpec` fields that win over the checkpoint's; a smaller `dimension` keeps the first ones
                only (of an encoder trained for it).

        Raises:
            UsageError: unknown pooling, a device that is not there.
            DataError: weights missing or unexpected, or a dimension that differs from the spec.
        """
        keep_memory()
        resolved = resolve_encoder(str(name), revision)
        spec = read_spec(resolved.directory, overrides, fallback=RAW_BACKBONE if raw_backbone else None)
        if not spec.backbone or resolved.source != "path":
            spec = EncoderSpec(**{**spec.to_dict(), "backbone": resolved.name})
        backbone, tokenizer = load_weights(resolved.directory)
        hidden, wanted = backbone.config.hidden_size, overrides.get("dimension")
        if wanted is not None and wanted > hidden:
            raise UsageError(f"dimension {wanted}: the embeddings of {name} have {hidden}")
        if wanted is None and hidden != spec.dimension:
            raise DataError(
                resolved.directory / SPEC_FILE,
                f"says dimension {spec.dimension}, the model has {hidden}",
            )
        return cls(backbone, tokenizer, spec, resolved=resolved, device=resolve_device(device), precision=precision)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Identity of the weights: a hash over the checkpoint's weight files."""
        if self.resolved is None:
            raise SdrError("an encoder that was not loaded from files has no fingerprint; save it first")
        return weights_fingerprint(self.resolved.directory)

    @property
    def truncated(self) -> bool:
        """Whether vectors are the first dimensions of the embeddings only."""
        return self.spec.dimension < self.backbone.config.hidden_size

    def encode_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Vectors of queries, (n, dim) float32, computed in `query_dtype`."""
        texts = [self.spec.query_text(text) for text in queries]
        return self._encode(self.tokenize(texts, self.spec.query_max_length), self.query_dtype)

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
        if self.spec.queries_only:
            raise UsageError(
                f"{self.resolved or 'this encoder'}: encodes queries only; encode documents with "
                f"{self.spec.document_encoder}"
            )
        if titles is not None:
            firsts = [self.spec.document_text(title) for title in titles]
            tokens = self.tokenize(firsts, self.spec.document_max_length, documents)
        else:
            tokens = self.tokenize([self.spec.document_text(text) for text in documents], self.spec.document_max_length)
        packed = self._packed_pass
        if packed is None:
            return self._encode(tokens, self.document_dtype, on_batch)
        return self._encode_packed(packed, tokens, on_batch)

    def identity(self) -> dict[str, Any]:
        """What decides a document's vector, JSON-ready: kept with an index and held against a query encoder."""
        return identity_of(self, self.document_dtype)

    def tokenize(self, texts: Sequence[str], max_length: int, seconds: Sequence[str] | None = None) -> list[list[int]]:
        """Token ids of texts that already carry their prefix, truncated, with special tokens, unpadded."""
        if not texts:
            return []
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if hasattr(backend, "encode_batch_fast"):  # no offsets, no Python object per token: a quarter faster
            backend.no_padding()
            backend.enable_truncation(max_length, direction=self.tokenizer.truncation_side)
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

    def _encode(
        self, tokens: Sequence[Sequence[int]], dtype: torch.dtype, on_batch: Callable[[int], None] | None = None
    ) -> np.ndarray:
        vectors = np.empty((len(tokens), self.spec.dimension), dtype=np.float32)
        model = self._model(dtype) if len(tokens) else None
        with torch.inference_mode():
            for rows in by_token_budget([len(ids) for ids in tokens], self.token_budget, self.max_batch):
                ids, mask = pad([tokens[row] for row in rows], self.pad_id)
                vectors[rows] = self._finished(
                    forward(model, ids.to(self.device), mask.to(self.device), self.spec.pooling)
                )
                if on_batch is not None:
                    on_batch(len(rows))
        return vectors

    def _encode_packed(
        self,
        packed: PackedEncoder,
        tokens: Sequence[Sequence[int]],
        on_batch: Callable[[int], None] | None,
    ) -> np.ndarray:
        vectors = np.empty((len(tokens), self.spec.dimension), dtype=np.float32)

        def work(rows: np.ndarray) -> None:
            vectors[rows] = self._finished(packed.pooled([tokens[row] for row in rows], self.spec.pooling))

        on_all_cores(
            batches_of_tokens([len(ids) for ids in tokens], self.token_budget, self.max_batch),
            work,
            None if on_batch is None else lambda rows: on_batch(len(rows)),
        )
        return vectors

    def _finished(self, pooled: Tensor) -> np.ndarray:
        """Embeddings as vectors: cut to the dimensions wanted, normalised where the similarity is cosine."""
        pooled = pooled[:, : self.spec.dimension]
        return (nn.functional.normalize(pooled, dim=1) if self.spec.normalize else pooled).cpu().numpy()

    @property
    def _packed_pass(self) -> PackedEncoder | None:
        """The pass for documents in bulk, None where there is none for this model and device."""
        dtype = self.document_dtype
        if self.device.type != "cpu" or dtype == torch.float16:
            return None
        if dtype not in self._packed:
            self._packed[dtype] = PackedEncoder.of(self.backbone, dtype)
        return self._packed[dtype]

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


def weights_fingerprint(directory: Path) -> str:
    """A hash over the weight files of a checkpoint directory."""
    files = sorted(directory.glob("*.safetensors")) or sorted(directory.glob("pytorch_model*.bin"))
    if not files:
        raise DataError(directory, "holds no weights (*.safetensors)")
    return hashlib.sha256("".join(file_sha256(path) for path in files).encode()).hexdigest()


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences loading bars and reports; what they would tell is checked instead."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load_weights(directory: Path) -> tuple[nn.Module, Any]:
    """The float32 transformer and the tokenizer of a checkpoint directory; no weight may be missing or unexpected."""
    backbone, tokenizer, report = load_pretrained(directory, "AutoModel", "an encoder")
    heads = () if (directory / SPEC_FILE).exists() else HEADS
    check_report(directory, report, may_lack=("pooler.",), may_have=heads)
    return backbone, tokenizer


def load_pretrained(directory: Path, auto_class: str, what: str, **options: Any) -> tuple[nn.Module, Any, Any]:
    """A float32 model, its tokenizer, and transformers' report on its weights, for `check_report`.

    Args:
        directory: local checkpoint directory.
        auto_class: name of the class of transformers that makes the model.
        what: the model in words, for the message.
        options: for `from_pretrained`.
    """
    import transformers

    with quiet_transformers():
        try:
            model, report = getattr(transformers, auto_class).from_pretrained(
                directory,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused by `check_report` with their names
                dtype=torch.float32,
                local_files_only=True,
                **options,
            )
            tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
        except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
            cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(directory, f"cannot be loaded as {what}: {cause}") from error
        except Exception as error:  # safetensors raises its own type for a damaged file
            if type(error).__module__.startswith("safetensors"):
                raise DataError(directory, f"damaged weights: {error}") from error
            raise
    return model, tokenizer, report


def check_report(
    directory: Path, report: Any, *, may_lack: tuple[str, ...] = (), may_have: tuple[str, ...] = ()
) -> None:
    """Refuses weights that are missing or unexpected: transformers only logs them and goes on with random ones.

    Args:
        directory: the checkpoint, for the message.
        report: of `load_pretrained`.
        may_lack: beginnings of names of weights that the checkpoint may lack (or have in another shape).
        may_have: beginnings of names of weights that the model need not use.
    """
    missing = [key for key in report["missing_keys"] if not key.startswith(may_lack)]
    unexpected = [
        key for key in report["unexpected_keys"] if not key.endswith("position_ids") and not key.startswith(may_have)
    ]
    names = [str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]]
    mismatched = [name for name in names if not name.startswith(may_lack)]
    for kind, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", mismatched)):
        if keys:
            raise DataError(
                directory,
                f"{len(keys)} weights are {kind} ({', '.join(sorted(keys)[:3])}{', …' if len(keys) > 3 else ''})",
                remedy="the checkpoint does not fit its config.json",
            )
