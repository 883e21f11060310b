"""`CrossEncoder`: a sequence classifier over (query, document) pairs; texts in, float32 scores out."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import atomic_directory
from ..core.runtime import keep_memory
from .batching import default_budget, pad, pad_id_of
from .checkpoint import save_model
from .device import document_dtype, resolve_device
from .fingerprint import weights_fingerprint
from .names import ResolvedEncoder, resolve_encoder
from .pretrained import check_report, load_pretrained
from .spec import position_limit, tokenizer_limit
from .token_budget import by_token_budget

AUTO_CLASS = "AutoModelForSequenceClassification"
LONGEST = 512
"""Tokens of a pair by default at most, also where the model has positions for more."""

_SLICE = 1 << 14
"""Pairs tokenised at a time: their token ids are Python lists, some 10 kB a pair."""

TokenizedPair = tuple[list[int], list[int] | None]
"""Token ids of a pair, and its token types where the tokenizer makes them."""


class CrossEncoder:
    """Scores pairs of query and document: a logit, not a probability, so that margins keep their size.

    Make one with `CrossEncoder.load`. With one label the score is its logit, with two the second's minus the first's.

    Attributes:
        model: the sequence classifier, float32, in evaluation mode.
        tokenizer: its fast tokenizer.
        max_length: tokens of a pair, special tokens included; the document is cut, the query only beyond half of them.
        resolved: where it was loaded from, or None.
        device: where it runs.
        dtype: of the computation up to the head, which is float32.
        token_budget: padded tokens per batch.
        max_batch: pairs per batch at most, None for no limit.
        pad_id: token id used for padding.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        max_length: int,
        *,
        resolved: ResolvedEncoder | None = None,
        device: torch.device | None = None,
        precision: str = "auto",
    ) -> None:
        self.device = device or torch.device("cpu")
        self.model = model.to(self.device).eval()
        self.tokenizer, self.max_length, self.resolved = tokenizer, max_length, resolved
        self.dtype = document_dtype(precision, self.device)
        self.pad_id = pad_id_of(tokenizer)
        self._copy: nn.Module | None = None
        self.token_budget = default_budget(self.device)
        self.max_batch: int | None = None
        self._typed = "token_type_ids" in tokenizer.model_input_names
        if model.config.pad_token_id is None:  # decoders look for the last token that is not padding
            model.config.pad_token_id = self.pad_id

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        device: str | None = None,
        precision: str = "auto",
        max_length: int | None = None,
        revision: str | None = None,
    ) -> CrossEncoder:
        """Loads a checkpoint directory or a model from the hub.

        Args:
            name: see `names.resolve_encoder`.
            device: `cpu`, `cuda`, `cuda:N`; None or `auto` picks a GPU if there is one.
            precision: `auto` (bf16 where the hardware has it), `fp32`, `bf16`, `fp16`.
            max_length: tokens of a pair (default: what tokenizer and model allow, 512 at most).
            revision: branch, tag or commit on the hub.

        Raises:
            UsageError: a device that is not there, more tokens than the model has positions for.
            DataError: not a sequence classifier of one or two labels, or weights missing or unexpected.
        """
        keep_memory()
        resolved = resolve_encoder(str(name), revision)
        limit = pair_length(resolved.directory, max_length)
        model, tokenizer, report = load_pretrained(resolved.directory, AUTO_CLASS, "a cross-encoder")
        try:
            check_report(resolved.directory, report)
        except DataError as error:
            remedy = "not a cross-encoder? `python -m pyserini_sdr.teach --train` makes one of any transformer"
            raise DataError(error.path, error.problem, remedy=remedy) from error
        if model.config.num_labels not in (1, 2):
            raise DataError(
                resolved.directory / "config.json",
                f"has {model.config.num_labels} labels, a cross-encoder for ranking has 1 or 2",
                remedy="`python -m pyserini_sdr.teach --train` gives it a new head",
            )
        return cls(model, tokenizer, limit, resolved=resolved, device=resolve_device(device), precision=precision)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Identity of the weights: a hash over the checkpoint's weight files."""
        if self.resolved is None:
            raise SdrError("a cross-encoder that was not loaded from files has no fingerprint; save it first")
        return weights_fingerprint(self.resolved.directory)

    def identity(self) -> dict[str, Any]:
        """What decides a pair's score, JSON-ready."""
        weights, found = self.fingerprint, self.resolved
        assert found is not None
        return {
            "cross_encoder": found.reference,
            "weights": weights,
            "max_length": self.max_length,
            "precision": str(self.dtype).removeprefix("torch."),
            "device": self.device.type,
        }

    def score(self, pairs: Sequence[tuple[str, str]], on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        """Scores of (query, document) pairs, (n,) float32; their order changes nothing but the last bits.

        Pairs are tokenised and batched in slices, so that memory does not grow with their number.

        Args:
            pairs: texts.
            on_batch: called with the number of pairs of every batch that is done.
        """
        scores = np.empty(len(pairs), dtype=np.float32)
        for start in range(0, len(pairs), _SLICE):
            part = scores[start : start + _SLICE]
            self._score_slice(pairs[start : start + _SLICE], part, on_batch)
        return scores

    def _score_slice(
        self, pairs: Sequence[tuple[str, str]], scores: np.ndarray, on_batch: Callable[[int], None] | None
    ) -> None:
        """Fills `scores` (n,), a view."""
        tokens, model = self.tokenize(pairs), self._model()
        with torch.inference_mode():
            for rows in by_token_budget([len(ids) for ids, _ in tokens], self.token_budget, self.max_batch):
                inputs = self.inputs([tokens[row] for row in rows])
                scores[rows] = logits(model, inputs).cpu().numpy()
                if on_batch is not None:
                    on_batch(len(rows))

    def tokenize(self, pairs: Sequence[tuple[str, str]]) -> list[TokenizedPair]:
        """Token ids and types of pairs, truncated, with special tokens, unpadded."""
        short = self._short_queries([query for query, _ in pairs])
        encoded = self.tokenizer(
            [short[query] for query, _ in pairs],
            [document for _, document in pairs],
            truncation="only_second",
            max_length=self.max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=self._typed,
        )
        types = encoded["token_type_ids"] if self._typed else [None] * len(pairs)
        return list(zip(encoded["input_ids"], types, strict=True))

    def inputs(self, tokens: Sequence[TokenizedPair]) -> dict[str, Tensor]:
        """Padded pairs as the model takes them, (n, longest) each, on its device."""
        ids, mask = pad([ids for ids, _ in tokens], self.pad_id)
        found = {"input_ids": ids, "attention_mask": mask}
        if self._typed:
            found["token_type_ids"] = pad([types or [] for _, types in tokens], self.tokenizer.pad_token_type_id)[0]
        return {name: value.to(self.device) for name, value in found.items()}

    def save(self, directory: str | Path) -> None:
        """Writes an ordinary sequence classification checkpoint; the directory appears whole or not at all.

        `max_length` becomes the tokenizer's `model_max_length`.
        """
        with atomic_directory(directory) as folder:
            save_model(folder, self.model, self.tokenizer, self.max_length)

    def _short_queries(self, queries: Sequence[str]) -> Mapping[str, str]:
        """Query → itself, or what of it fits into half of a pair: a document must have room beside it."""
        short = {query: query for query in queries}
        most = self.max_length // 2
        suspects = [query for query in short if len(query.encode()) > most]  # a token takes a byte at least
        if suspects:
            encoded = self.tokenizer(
                suspects, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False
            )
            for query, offsets in zip(suspects, encoded["offset_mapping"], strict=True):
                if len(offsets) > most:
                    short[query] = query[: offsets[most - 1][1]]
        return short

    def _model(self) -> nn.Module:
        if self.dtype == torch.float32:
            return self.model
        if self._copy is None:  # cast weights once; autocast would cast them for every batch
            self._copy = _with_float_head(self.model, self.dtype)
        return self._copy


def pair_length(directory: Path, wanted: int | None, most: int = LONGEST) -> int:
    """Tokens of a pair: those wanted, if the model has positions for them, or its and its tokenizer's, `most` at most.

    Raises:
        UsageError: more are wanted than the model has positions for.
    """
    positions = position_limit(directory)
    if wanted is None:
        return min(filter(None, (positions, tokenizer_limit(directory), most)))
    if positions is not None and wanted > positions:
        raise UsageError(f"maximum length {wanted}: the model has positions for {positions} tokens")
    return wanted


def logits(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Scores of padded pairs, (n,) float32: the logit of one label, or that of the second of two minus the first's."""
    values = model(**inputs).logits.float()
    return values[:, 0] if values.shape[1] == 1 else values[:, 1] - values[:, 0]


def _with_float_head(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy in `dtype` but for pooler and head: a bf16 logit has eight bits, and the best documents would tie."""
    copied = copy.deepcopy(model).to(dtype).eval()
    for own, head in zip(_heads(model), _heads(copied), strict=True):
        head.float().load_state_dict(own.state_dict())
        head.register_forward_pre_hook(_to_float, with_kwargs=True)
    return copied


def _heads(model: nn.Module) -> list[nn.Module]:
    body = model.base_model
    pooler = getattr(body, "pooler", None)
    children = [child for child in model.children() if child is not body]
    return [*children, pooler] if isinstance(pooler, nn.Module) else children


def _to_float(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    def cast(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value

    return tuple(map(cast, args)), {name: cast(value) for name, value in kwargs.items()}
