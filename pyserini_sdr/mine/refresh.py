"""Negatives by an encoder that is being trained: its weights are in memory and in no file."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.files import read_object
from ..data.collection import Collection
from ..data.store import DocumentStore
from ..encode.engine import MANIFEST, encode_corpus
from ..encode.options import EncodeOptions, EncoderOptions, InputOptions, OutputOptions
from ..encode.ranks import ALONE, Rank
from ..model.encoder import BiEncoder
from ..search.searcher import Searcher
from .engine import mine_with
from .options import MineOptions

IN_MEMORY = "(weights in memory)"
"""What the manifest of such an index says instead of an encoder's name."""


class LiveEncoder(BiEncoder):
    """The encoder as its weights are now; it shares them with `encoder`, and shall not outlive a training step."""

    def __init__(self, encoder: BiEncoder) -> None:
        place = next(encoder.backbone.parameters()).device  # a trainer may have moved them
        super().__init__(encoder.backbone, encoder.tokenizer, encoder.spec, device=place)
        self.document_dtype = self.query_dtype = encoder.document_dtype
        self.token_budget, self.max_batch = encoder.token_budget, encoder.max_batch

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash over names and values of the weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.backbone.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """As `BiEncoder.identity`, without a name."""
        return {
            "encoder": IN_MEMORY,
            "weights": self.fingerprint,
            "spec": self.spec.to_dict(),
            "precision": str(self.document_dtype).removeprefix("torch."),
            "device": self.device.type,
        }


def refresh_groups(
    collection: Collection,
    split: str,
    encoder: BiEncoder,
    *,
    index: Path,
    output: Path,
    texts: DocumentStore | None = None,
    rank: Rank = ALONE,
    **options: Any,
) -> Path:
    """Mines groups with an encoder in memory: encodes the corpus into `index`, writes `output` and returns it.

    The encoder's weights, the modes of its modules and torch's random state are as before afterwards. An index that
    these very weights have made is used again; any other at that place is replaced, and so is `output`. The same seed
    gives the same queries at every refresh (`max_queries`), the draws change with the rankings.

    Args:
        collection: the collection.
        split: of the queries.
        encoder: the encoder; its backbone is the module itself, not a wrapper of it.
        index: directory for the index.
        output: groups to write.
        texts: open store of the corpus, which saves a pass over it.
        rank: under several processes: all of them call this and encode their share, the first one mines.
        options: other fields of `MineOptions`: `negatives`, `first_rank`, `last_rank`, `max_queries`, `seed`,
            `sampling`, `margin`, `drop_duplicates`, …
    """
    settings = MineOptions(
        collection=collection.path, output=output, split=split, index=index, overwrite=True, **options
    )
    with _modes_kept(encoder.backbone):
        live = LiveEncoder(encoder)
        usable = _made_by(index, live)
        rank.barrier()  # nobody writes before everybody has looked
        if not usable:
            plan = EncodeOptions(
                InputOptions(corpus=collection.corpus),
                OutputOptions(embeddings=index, to_faiss=True, overwrite=True),
                EncoderOptions(encoder=IN_MEMORY, batch_size=live.max_batch),
            )
            encode_corpus(live, plan, rank)
        if rank.index == 0:
            mine_with(settings, collection, Searcher(index, live), texts)
        rank.barrier()
    return output


def _made_by(index: Path, encoder: LiveEncoder) -> bool:
    if not (index / MANIFEST).exists():
        return False
    manifest = read_object(index / MANIFEST)
    return all(manifest.get(key) == value for key, value in encoder.identity().items())


@contextmanager
def _modes_kept(module: nn.Module) -> Iterator[None]:
    """Leaves every part of a module in training or evaluation mode, as it was."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
