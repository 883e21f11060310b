"""Encoders of other classes than ours, by the names of stock Pyserini's `--encoder-class`. Imports no pyserini."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DataError, UsageError, unknown

OURS = "auto"
"""The class that `model.encoder.BiEncoder` is: any transformer with CLS or mean pooling."""


@dataclass(frozen=True)
class EncoderClass:
    """A pair of classes in `pyserini.encode`.

    Args:
        document, query: their names.
        search_name: what `pyserini.search.faiss --encoder-class` calls it.
        arguments: with which stock builds both.
        titles: whether a title is joined with its text, encoded as the first of a pair, or either (`--add-sep`).
        one_checkpoint: False if queries and documents have a checkpoint each.
        own_model: whether Pyserini defines the model too, where for others transformers does.
    """

    document: str
    query: str
    search_name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    titles: Literal["joined", "pair", "either"] = "joined"
    one_checkpoint: bool = True
    own_model: bool = False


ENCODER_CLASSES: Mapping[str, EncoderClass] = {
    "ance": EncoderClass("AnceDocumentEncoder", "AnceQueryEncoder", "ance", own_model=True),
    "contriever": EncoderClass(
        *("AutoDocumentEncoder", "AutoQueryEncoder", "contriever"),
        arguments={"pooling": "mean", "l2_norm": False},
        titles="either",
    ),
    "dpr": EncoderClass("DprDocumentEncoder", "DprQueryEncoder", "dpr", titles="pair", one_checkpoint=False),
    "sentence-transformers": EncoderClass(
        *("AutoDocumentEncoder", "AutoQueryEncoder", "sentence"),
        arguments={"pooling": "mean", "l2_norm": True},
        titles="either",
    ),
    "tct_colbert": EncoderClass("TctColBertDocumentEncoder", "TctColBertQueryEncoder", "tct_colbert"),
}
"""Stock's classes for text with one dense vector."""

_ALIASES = {"sentence": "sentence-transformers"}  # stock's encode has the one name, its search the other

_FIXED = {
    "pooling": "--pooling",
    "similarity": "--l2-norm",
    "query_prefix": "--query-prefix",
    "document_prefix": "--prefix",
    "query_max_length": "the length of a query",
}


def class_name(name: str | None) -> str:
    """A class by one name: `auto` for None, `sentence-transformers` for search's `sentence`.

    Raises:
        UsageError: no such class.
    """
    if name is None:
        return OURS
    name = _ALIASES.get(name, name)
    if name != OURS and name not in ENCODER_CLASSES:
        raise UsageError(unknown("encoder class", name, {OURS, *ENCODER_CLASSES, *_ALIASES}))
    return name


def problem_with(name: str) -> str | None:
    """What is wrong with the name of a class, None if nothing: the check of `--encoder-class`."""
    try:
        class_name(name)
    except UsageError as error:
        return f"{error}; others run through python -m pyserini_sdr.anserini pyserini.encode"
    return None


def refuse_fixed(name: str, overrides: Mapping[str, Any]) -> None:
    """Refuses settings that a class fixes itself, where stock drops them without a word.

    Args:
        name: a stock class.
        overrides: `EncoderSpec` field → value from a flag, None if it was not given.
    """
    for key, value in overrides.items():
        if value is not None:
            raise UsageError(
                f"{_FIXED.get(key, key)}: encoder class {name!r} fixes it; leave it out, or use --encoder-class {OURS}"
            )


@dataclass(frozen=True)
class StockSpec:
    """What stands in the place of an `EncoderSpec` for an encoder of a stock class, in manifests too.

    Args:
        encoder_class: key of `ENCODER_CLASSES`.
        dimension: size of a vector.
        document_max_length: tokens kept of a document.
    """

    encoder_class: str
    dimension: int
    document_max_length: int

    normalize = False
    """Whether vectors are known to have length 1: what the class does is its own affair."""

    def document_side(self) -> dict[str, Any]:
        """What decides a document's vector, besides the weights."""
        return self.to_dict()

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: Path | str) -> StockSpec:
        """A spec from its JSON form; `DataError` naming `source` if it is not one."""
        names = {entry.name for entry in dataclasses.fields(cls)}
        if values.keys() != names or values["encoder_class"] not in ENCODER_CLASSES:
            problem = f"the encoder spec {dict(values)!r} is not of a known encoder class"
            raise DataError(source, problem, remedy="was it written by another version?")
        return cls(**values)
