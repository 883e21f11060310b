"""`StockEncoder`: published encoders of other classes (TCT-ColBERT, ANCE, DPR ...), with stock Pyserini's class inside.

It has the shape of `model.encoder.BiEncoder`, so that encoding, indexing and searching do not tell them apart.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ..core.errors import DataError, SdrError, UsageError
from ..core.runtime import keep_memory
from ..model.device import resolve_device
from ..model.encoder import identity_of
from ..model.fingerprint import weights_fingerprint
from ..model.names import resolve_encoder
from ..model.pretrained import quiet_transformers
from ..model.token_budget import by_token_budget
from . import compat, jvm
from .encoder_classes import ENCODER_CLASSES, OURS, StockSpec, class_name, refuse_fixed

DOCUMENT_MAX_LENGTH = 256
"""Stock's default."""

Side = Literal["document", "query"]


class StockEncoder:
    """A document or query encoder of a stock class; float32 throughout.

    Args:
        name: see `model.names.resolve_encoder`.
        encoder_class: key of `ENCODER_CLASSES`, or an alias of one.
        side: what it is for. That side is loaded at once; the other when it is first used.
        device: `cpu`, `cuda`, `cuda:N`; None or `auto` picks a GPU if there is one.
        precision: `auto` or `fp32`; a stock class knows no other.
        document_max_length: tokens kept of a document (default: stock's 256). For queries the class decides.
        overrides: other `EncoderSpec` fields; refused unless None.

    Attributes:
        token_budget: padded tokens per batch of documents.
        max_batch: documents per batch at most, None for no limit.

    Raises:
        UsageError: a class that is unknown or ours, or a setting that the class fixes.
        NoJavaError: Pyserini cannot be imported without a Java.
        DataError: weights missing, or files that the class cannot load.
    """

    def __init__(
        self,
        name: str | Path,
        encoder_class: str,
        *,
        side: Side,
        device: str | None = None,
        precision: str = "auto",
        document_max_length: int | None = None,
        **overrides: Any,
    ) -> None:
        self.encoder_class = class_name(encoder_class)
        if self.encoder_class == OURS:
            raise UsageError(f"encoder class {OURS!r} is no stock class here; load it with BiEncoder")
        refuse_fixed(self.encoder_class, overrides)
        if precision not in ("auto", "fp32"):
            raise UsageError(f"--precision {precision}: encoder class {self.encoder_class!r} computes in fp32")
        keep_memory()
        self.resolved = resolve_encoder(str(name))
        self.device = resolve_device(device)
        self.token_budget = 65536 if self.device.type == "cuda" else 4096
        self.max_batch: int | None = None
        with torch.inference_mode():
            probe = self._queries.encode("a") if side == "query" else self._documents.encode(["a"])
        self.spec = StockSpec(self.encoder_class, int(probe.shape[-1]), document_max_length or DOCUMENT_MAX_LENGTH)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the weights: a hash over the checkpoint's weight files."""
        return weights_fingerprint(self.resolved.directory)

    def identity(self) -> dict[str, Any]:
        """What decides a document's vector, JSON-ready, as `BiEncoder.identity`."""
        return identity_of(self, torch.float32)

    def encode_documents(
        self,
        documents: Sequence[str],
        *,
        titles: Sequence[str] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """Vectors of documents, (n, dim) float32, in batches of similar length and without the autograd graph.

        Args:
            documents: contents, which begin with the title where there is one.
            titles: to be encoded as the first text of a pair with each document.
            on_batch: called with the number of texts of every batch that is done.
        """
        vectors = np.empty((len(documents), self.spec.dimension), dtype=np.float32)
        longest, encoder = self.spec.document_max_length, self._documents
        with torch.inference_mode(), self._explained("document"):
            for rows in by_token_budget(self._lengths(documents, titles), self.token_budget, self.max_batch):
                firsts = None if titles is None else [titles[row] for row in rows]
                texts = [documents[row] for row in rows]
                vectors[rows] = encoder.encode(texts, titles=firsts, max_length=longest, add_sep=firsts is not None)
                if on_batch is not None:
                    on_batch(len(rows))
        return vectors

    def encode_queries(self, queries: Sequence[str]) -> np.ndarray:
        """Vectors of queries, (n, dim) float32; stock encodes them one by one, as no class has a batched way."""
        vectors = np.empty((len(queries), self.spec.dimension), dtype=np.float32)
        with torch.inference_mode(), self._explained("query"):
            for row, query in enumerate(queries):
                vectors[row] = self._queries.encode(query)
        return vectors

    def _lengths(self, documents: Sequence[str], titles: Sequence[str] | None) -> list[int]:
        """Tokens of each document, but for the few that some classes add."""
        texts = list(documents)
        if titles is not None:
            texts = [f"{title} {text}" for title, text in zip(titles, documents, strict=True)]
        if not texts:
            return []
        ids = self._documents.tokenizer(texts, truncation=True, max_length=self.spec.document_max_length)["input_ids"]
        return [len(row) for row in ids]

    @cached_property
    def _documents(self) -> Any:
        return self._load("document")

    @cached_property
    def _queries(self) -> Any:
        return self._load("query")

    def _load(self, side: Side) -> Any:
        entry, directory = ENCODER_CLASSES[self.encoder_class], self.resolved.directory
        jvm.start()
        stock = getattr(import_module("pyserini.encode"), getattr(entry, side))
        try:
            with quiet_transformers(), _whole_weights(directory, side), compat.heads_stay_as_loaded():
                return stock(str(directory), device=str(self.device), **entry.arguments)
        except SdrError:
            raise
        except Exception as error:  # stock, transformers and safetensors raise whatever they like
            cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            problem = f"cannot be loaded as a {side} encoder of class {self.encoder_class!r}: {cause}"
            raise DataError(directory, problem) from error

    @contextlib.contextmanager
    def _explained(self, side: Side) -> Iterator[None]:
        """Says in one line what stock classes, some of which do not truncate, fail with."""
        try:
            yield
        except (IndexError, RuntimeError) as error:
            raise SdrError(
                f"encoder class {self.encoder_class!r} fails on a {side} ({str(error).splitlines()[0]}): is it longer "
                "than the model has positions for?"
            ) from error


@contextlib.contextmanager
def _whole_weights(directory: Path, side: Side) -> Iterator[None]:
    """Within it, no model loads with weights missing, which transformers only logs: a DPR query encoder made from a
    checkpoint for documents has none of its weights, and gives vectors all the same.

    Pyserini's own model classes (ANCE) are filled by us. Before Pyserini 2.1 transformers 5 cannot load them, and
    where it could, it would draw their heads at random after loading them. Some classes ask for the report of what
    was loaded, and get it (Pyserini 2.4).
    """
    from transformers import PreTrainedModel

    original = PreTrainedModel.__dict__["from_pretrained"]

    def from_pretrained(
        cls: type[PreTrainedModel], *args: Any, output_loading_info: bool = False, **kwargs: Any
    ) -> Any:
        if cls.__module__.startswith("pyserini."):
            model = cls(cls.config_class.from_pretrained(directory))
            loaded = model.load_state_dict(_read_weights(directory), strict=False)
            report = {"missing_keys": loaded.missing_keys, "unexpected_keys": loaded.unexpected_keys}
            report |= {"mismatched_keys": [], "error_msgs": []}
            model.eval()
        else:
            model, report = original.__func__(cls, *args, **kwargs, output_loading_info=True)
        missing = report["missing_keys"]
        missing = sorted(k for k in missing if "pooler." not in k and not k.endswith("position_ids"))  # never used
        if missing:
            raise DataError(
                directory,
                f"lacks {len(missing)} weights of a {cls.__name__} ({missing[0]}, …)",
                remedy=f"is it the {side} encoder of this class?",
            )
        return (model, report) if output_loading_info else model

    PreTrainedModel.from_pretrained = classmethod(from_pretrained)
    try:
        yield
    finally:
        PreTrainedModel.from_pretrained = original


def _read_weights(directory: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    weights: dict[str, torch.Tensor] = {}
    for path in sorted(directory.glob("*.safetensors")):
        weights |= load_file(path)
    for path in [] if weights else sorted(directory.glob("pytorch_model*.bin")):
        weights |= torch.load(path, map_location="cpu", weights_only=True)
    return weights
