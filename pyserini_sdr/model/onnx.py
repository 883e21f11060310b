"""`OnnxEncoder`: an exported encoder run by onnxruntime. Neither torch nor transformers is imported here.

CHECKPOINT/onnx/model.onnx       token ids and mask → last hidden states, float32
CHECKPOINT/onnx/tokenizer.json   for the `tokenizers` library
CHECKPOINT/onnx/sdr_onnx.json    fingerprint of the weights it was exported from; written with the others or not at all

Pooling and normalising are done here in NumPy, so that the files serve any pooling, prefix and length.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import cache_folder, read_object
from ..core.progress import note
from ..core.runtime import available_cores, keep_memory
from .fingerprint import tokens_fingerprint, weight_files, weights_fingerprint
from .fitted import fitted_spec
from .names import ResolvedEncoder, resolve_encoder
from .spec import EncoderSpec, read_spec
from .token_budget import Prepared, by_token_budget

FOLDER, MODEL, TOKENIZER, RECORD = "onnx", "model.onnx", "tokenizer.json", "sdr_onnx.json"
_BUDGET = {"cpu": 4096, "cuda": 65536}


@dataclass(frozen=True)
class Device:
    """Where it runs: `cpu` or `cuda`, as `torch.device.type`."""

    type: str

    def __str__(self) -> str:
        return self.type


class OnnxEncoder:
    """One encoder for queries and documents, float32 throughout; to callers it is a `BiEncoder`.

    Make one with `OnnxEncoder.load`.

    Attributes:
        spec: pooling, similarity, prefixes and lengths.
        resolved: where it was loaded from.
        device: where it runs.
        token_budget: padded tokens per batch.
        max_batch: texts per batch at most, None for no limit.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], spec: EncoderSpec, resolved: ResolvedEncoder, device: Device
    ) -> None:
        import tokenizers

        self.spec, self.resolved, self.device = spec, resolved, device
        self.fingerprint: str = record["weights"]
        self.token_budget, self.max_batch = _BUDGET[device.type], None
        self._hidden, self._pad_id = record["hidden_size"], record["pad_id"]
        self._truncation_side = record["truncation_side"]
        self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
        self._session = _open_session(folder / MODEL, device)

    @classmethod
    def load(
        cls, name: str | Path, *, device: str | None = None, precision: str = "auto", **overrides: Any
    ) -> OnnxEncoder:
        """Loads an encoder, exporting it first where that has not been done (which takes torch, once).

        Args:
            name: see `names.resolve_encoder`.
            device: `cpu`, `cuda`; None or `auto` picks a GPU if this onnxruntime can use one.
            precision: `auto` or `fp32`.
            overrides: `EncoderSpec` fields that win over the checkpoint's.

        Raises:
            UsageError: another precision, unknown pooling, a device that is not there.
            SdrError: a package is missing.
            DataError: the checkpoint cannot be loaded, or a dimension differs from the spec.
        """
        if precision not in ("auto", "fp32"):
            raise UsageError(f"--precision {precision}: --backend onnx computes in fp32")
        if importlib.util.find_spec("onnxruntime") is None:
            raise SdrError("--backend onnx needs onnxruntime; pip install 'pyserini_sdr[onnx]'")
        keep_memory()
        place = _device(device)
        resolved = resolve_encoder(str(name))
        folder, record = exported(resolved)
        return cls(
            folder,
            record,
            fitted_spec(resolved, read_spec(resolved.directory, overrides), overrides, record["hidden_size"]),
            resolved,
            place,
        )

    @property
    def truncated(self) -> bool:
        """Whether vectors are the first dimensions of the embeddings only."""
        return self.spec.dimension < self._hidden

    def identity(self) -> dict[str, Any]:
        """What decides a document's vector, JSON-ready, as `BiEncoder.identity`, and the back end."""
        return {
            "encoder": self.resolved.reference,
            "weights": self.fingerprint,
            "spec": self.spec.to_dict(),
            "precision": "float32",
            "device": self.device.type,
            "backend": "onnx",
        }

    def encode_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Vectors of queries, (n, dim) float32."""
        texts = [self.spec.query_text(text) for text in queries]
        return self._encode(self._tokenize(texts, self.spec.query_max_length))

    def encode_documents(
        self,
        documents: Sequence[str],
        *,
        titles: Sequence[str] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Vectors of documents, (n, dim) float32; see `BiEncoder.encode_documents`."""
        return self.encode_prepared(self.prepare_documents(documents, titles=titles), on_batch=on_batch)

    def prepare_documents(self, documents: Sequence[str], *, titles: Sequence[str] | None = None) -> Prepared:
        """The part of `encode_documents` that needs no model; may run in another thread than `encode_prepared`."""
        if self.spec.queries_only:
            raise UsageError(
                f"{self.resolved}: encodes queries only; encode documents with {self.spec.document_encoder}"
            )
        texts: list[Any] = [self.spec.document_text(text) for text in (documents if titles is None else titles)]
        if titles is not None:
            texts = list(zip(texts, documents, strict=True))
        return Prepared(self._tokenize(texts, self.spec.document_max_length))

    def encode_prepared(self, prepared: Prepared, *, on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        """The other part: vectors (n, dim) float32."""
        return self._encode(prepared.ids, on_batch)

    def _tokenize(self, texts: Sequence[Any], max_length: int) -> list[list[int]]:
        self._tokenizer.enable_truncation(max_length, direction=self._truncation_side)
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def _encode(self, tokens: Sequence[Sequence[int]], on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        vectors = np.empty((len(tokens), self.spec.dimension), dtype=np.float32)
        for rows in by_token_budget([len(ids) for ids in tokens], self.token_budget, self.max_batch):
            batch = [tokens[row] for row in rows]
            width = max(map(len, batch))
            ids = np.array([[*row, *[self._pad_id] * (width - len(row))] for row in batch], dtype=np.int64)
            mask = (np.arange(width) < np.array([[len(row)] for row in batch])).astype(np.int64)
            states = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            pooled = pool(states, mask, self.spec.pooling)[:, : self.spec.dimension]
            if self.spec.normalize:
                pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
            vectors[rows] = pooled
            if on_batch is not None:
                on_batch(len(rows))
        return vectors


def pool(states: np.ndarray, mask: np.ndarray, pooling: str) -> np.ndarray:
    """As `pooling.pool`: (n, length, dim) float32 states and (n, length) mask → (n, dim) float32, not normalised."""
    if pooling == "cls":
        return states[:, 0]
    weights = mask.astype(np.float32)
    return (weights[:, None] @ states)[:, 0] / weights.sum(axis=1, keepdims=True)


def exported(resolved: ResolvedEncoder) -> tuple[Path, dict[str, Any]]:
    """The folder with an encoder's exported files and their record; exports it if there is none for these weights."""
    has_weights = bool(weight_files(resolved.directory))
    weights = weights_fingerprint(resolved.directory) if has_weights else None
    tokens = tokens_fingerprint(resolved.directory)
    folder = export_folder(resolved, weights)
    record = _record(folder, weights, tokens)
    if record is None:
        if not has_weights:
            raise DataError(resolved.directory, f"holds neither weights nor an export of them ({FOLDER}/{RECORD})")
        note(f"exporting {resolved} to {folder / MODEL}")
        from .onnx_export import export

        try:
            export(resolved.directory, folder, weights, tokens)
        except DataError:  # another process may have been quicker
            if _record(folder, weights, tokens) is None:
                raise
        record = _record(folder, weights, tokens)
        assert record is not None
    return folder, record


def export_folder(resolved: ResolvedEncoder, weights: str | None) -> Path:
    """`CHECKPOINT/onnx` for a directory of the user's where one can write and nobody else's export lies; else a cache.

    The cache is `$XDG_CACHE_HOME` (or `~/.cache`) + `pyserini_sdr/onnx/FINGERPRINT`.
    """
    beside = resolved.directory / FOLDER
    if (beside / RECORD).exists() and _record(beside, weights, tokens_fingerprint(resolved.directory)) is not None:
        return beside
    free = not beside.exists() or (beside / RECORD).exists()
    if weights is None or (resolved.source == "path" and free and os.access(resolved.directory, os.W_OK)):
        return beside
    both = f"{weights} {tokens_fingerprint(resolved.directory)}"
    return cache_folder(FOLDER, hashlib.sha256(both.encode()).hexdigest()[:16])


def _record(folder: Path, weights: str | None, tokens: str) -> dict[str, Any] | None:
    """What was written down with an export; None if there is none, or it is of other weights or another tokenizer."""
    path = folder / RECORD
    if not path.exists():
        return None
    record = read_object(path, remedy=f"delete {folder}")
    if not {"weights", "tokens", "hidden_size", "pad_id", "truncation_side"} <= record.keys():
        raise DataError(path, "is not the record of an export", remedy=f"delete {folder}")
    missing = [name for name in (MODEL, TOKENIZER) if not (folder / name).exists()]
    return None if missing or weights not in (None, record["weights"]) or record["tokens"] != tokens else record


def _device(name: str | None) -> Device:
    import onnxruntime

    has_gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if name in (None, "auto"):
        return Device("cuda" if has_gpu else "cpu")
    if name == "cpu":
        return Device("cpu")
    if name == "cuda" and has_gpu:
        return Device("cuda")
    if name == "cuda":
        raise UsageError("--device cuda: this onnxruntime has no CUDA; pip install onnxruntime-gpu, or --backend torch")
    raise UsageError(f"--device {name}: --backend onnx knows cpu and cuda")


def _open_session(path: Path, device: Device) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # OpenMP takes a list, by nesting
    options.intra_op_num_threads = int(wanted) if wanted.isdigit() else available_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see `core.runtime.share_cores`
    options.log_severity_level = 3
    gpu = ("CUDAExecutionProvider", {"device_id": int(os.environ.get("LOCAL_RANK", "0"))})
    providers = ["CPUExecutionProvider"] if device.type == "cpu" else [gpu, "CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # onnxruntime has types of its own for a damaged file
        cause = str(error).strip().splitlines()[0]
        raise DataError(path, f"cannot be loaded by onnxruntime: {cause}", remedy=f"delete {path.parent}") from error
    if device.type == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":  # it only logs that
        raise UsageError("--device cuda: onnxruntime cannot use the GPU; give --device cpu, or --backend torch")
    return session
