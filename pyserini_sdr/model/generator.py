"""A sequence-to-sequence model that writes queries for documents, as doc2query does (arXiv 1904.08375)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.errors import DataError, UsageError
from ..core.runtime import keep_memory
from .batching import pad
from .device import document_dtype, resolve_device
from .fingerprint import weights_fingerprint
from .names import resolve_encoder
from .pretrained import quiet_transformers
from .spec import position_limit
from .token_budget import by_token_budget


class QueryGenerator:
    """Samples queries; the same texts with the same seed give the same queries on the same machine.

    Args:
        name: checkpoint directory or model on the hub, any `AutoModelForSeq2SeqLM`.
        device: `cpu`, `cuda`, `cuda:N` or `auto`.
        prefix: text put before every document.
        max_length: tokens of a document that are read.
        max_query_length: tokens of a query at most; no more than the model has positions for.
        top_k: words sampled from at each step.
        batch_tokens: padded tokens per batch, times the queries per document.

    Attributes:
        fingerprint: identity of the weights.

    Raises:
        UsageError: a device that is not there, more tokens of a document than the model has positions for.
        DataError: a checkpoint that cannot be loaded.
    """

    def __init__(
        self,
        name: str,
        *,
        device: str = "auto",
        prefix: str = "",
        max_length: int = 384,
        max_query_length: int = 64,
        top_k: int = 10,
        batch_tokens: int = 4096,
    ) -> None:
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        keep_memory()
        self.resolved = resolve_encoder(name)
        self.device = resolve_device(device)
        directory = self.resolved.directory
        positions = position_limit(directory)
        if positions is not None:
            if max_length > positions:
                raise UsageError(f"--max-length {max_length}: {name} has positions for {positions} tokens")
            max_query_length = min(max_query_length, positions - 1)  # the decoder begins with a token of its own
        self.prefix, self.max_length, self.max_query_length = prefix, max_length, max_query_length
        self.top_k, self.batch_tokens = top_k, batch_tokens
        with quiet_transformers():
            try:
                self.tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
                model = AutoModelForSeq2SeqLM.from_pretrained(
                    directory, dtype=document_dtype("auto", self.device), local_files_only=True
                )
            except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
                cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
                raise DataError(
                    directory, f"cannot be loaded as a query generator (AutoModelForSeq2SeqLM): {cause}"
                ) from error
        self.model = model.to(self.device).eval()
        self.fingerprint = weights_fingerprint(directory)

    def generate(self, texts: Sequence[str], count: int, seed: int) -> list[list[str]]:
        """`count` sampled queries for each text, stripped; equal ones may occur.

        Args:
            texts: documents.
            count: queries per document.
            seed: of the sampling; torch's own generators are left as they were.
        """
        if not texts:
            return []
        tokens = self.tokenizer([self.prefix + text for text in texts], truncation=True, max_length=self.max_length)
        found: list[list[str]] = [[] for _ in texts]
        pad_id = self.tokenizer.pad_token_id or 0
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            budget = max(1, self.batch_tokens // count)
            for rows in by_token_budget([len(ids) for ids in tokens["input_ids"]], budget):
                ids, mask = pad([tokens["input_ids"][row] for row in rows], pad_id)
                output = self.model.generate(
                    input_ids=ids.to(self.device),
                    attention_mask=mask.to(self.device),
                    do_sample=True,
                    top_k=self.top_k,
                    num_beams=1,
                    num_return_sequences=count,
                    max_new_tokens=self.max_query_length,
                )
                queries = self.tokenizer.batch_decode(output, skip_special_tokens=True)
                for number, row in enumerate(rows):
                    own = queries[number * count : (number + 1) * count]
                    found[row] = [" ".join(query.split()) for query in own]
        return found
