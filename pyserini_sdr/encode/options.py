"""The flags of `encode`, in stock Pyserini's three groups, and how a command line is split into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..anserini.encoder_classes import problem_with
from ..core import options as opt
from ..core.errors import UsageError
from ..core.options import at_least, option

Backend = Literal["torch", "onnx"]
ChunkDtype = Literal["float32", "float16"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass
class InputOptions:
    """What is encoded."""

    corpus: Path = option(help="collection directory, directory of .jsonl[.gz], or one such file", metavar="PATH")
    fields: list[str] | None = option(
        None, help="fields of a document, as stock reads them (default: contents, or BEIR's title and text)"
    )
    docid_field: str | None = option(None, help="key of the id (default: id, _id or docid)")
    delimiter: str = option("\\n", help="what separates the fields inside contents, with --fields")
    shard_id: int = option(0, help="this shard, from 0", check=at_least(0))
    shard_num: int = option(1, help="number of shards", check=at_least(1))

    def __post_init__(self) -> None:
        self.delimiter = self.delimiter.replace("\\n", "\n").replace("\\t", "\t")
        if self.shard_id >= self.shard_num:
            raise UsageError(f"--shard-id {self.shard_id}: must be below --shard-num {self.shard_num}")


@dataclass
class OutputOptions:
    """What is made of it."""

    embeddings: Path = option(help="directory to make", metavar="DIR")
    to_faiss: bool = option(False, help="write index and docid for FAISS, else embeddings.jsonl")
    overwrite: bool = option(False, help="replace what is there, finished or not; an old index stays until then")
    chunk_size: int | None = option(
        None,
        help="documents per resumable chunk (default: 4096 on a CPU; up to 32768 on a GPU, for a large corpus)",
        check=at_least(1),
    )
    chunk_dtype: ChunkDtype = option(
        "float32", help="of vectors in chunks; float16 halves their space and rounds them (the index is float32)"
    )


@dataclass
class EncoderOptions:
    """With what."""

    encoder: str = option(help="checkpoint directory, all-MiniLM-L6-v2 (bundled), or a model on the hub")
    encoder_class: str | None = option(
        None,
        help="a class of stock Pyserini's: tct_colbert, ance, dpr, contriever, sentence-transformers (default: auto, "
        "any transformer with CLS or mean pooling); all but auto need Java",
        check=problem_with,
    )
    fields: list[str] | None = option(
        None, help="fields to encode, among those of input (default: text, with input --fields)"
    )
    batch_size: int | None = option(
        None, help="texts per batch at most (default: by --token-budget alone)", check=at_least(1)
    )
    token_budget: int | None = option(
        None,
        help="tokens per batch, with padding where there is any (default: 4096 on a CPU, 65536 on a GPU)",
        check=at_least(1),
    )
    max_length: int | None = option(None, help="tokens kept of a document (default: the encoder's)", check=at_least(2))
    dimension: int | None = option(
        None, help="checked against the encoder's, as it finds it by itself", check=at_least(1)
    )
    truncate_dim: int | None = option(
        None,
        help="keep the first N dimensions only, of an encoder trained with --matryoshka (default: all)",
        metavar="N",
        check=at_least(1),
    )
    device: str = option("auto", help="cpu, cuda, cuda:N or auto")
    backend: Backend = option("torch", help="onnx: export the encoder once and run it by onnxruntime, in fp32")
    precision: Precision = option("auto", help="of the computation; auto is bf16 where the hardware has it")
    fp16: bool = option(False, help="the same as --precision fp16")
    pooling: Literal["cls", "mean"] | None = option(None, help="default: the encoder's")
    l2_norm: bool | None = option(None, help="normalise vectors (cosine) or not (dot); default: the encoder's")
    prefix: str | None = option(None, help="put before every document, before its title; default: the encoder's")
    add_sep: bool = option(False, help="encode title and text as a pair, with the separator between them")

    def spec_overrides(self) -> dict[str, Any]:
        """The `EncoderSpec` fields that flags override."""
        return {
            "pooling": self.pooling,
            "similarity": None if self.l2_norm is None else ("cosine" if self.l2_norm else "dot"),
            "document_prefix": self.prefix,
            "document_max_length": self.max_length,
            "dimension": self.truncate_dim,
        }


@dataclass
class EncodeOptions:
    """All of it."""

    input: InputOptions
    output: OutputOptions
    encoder: EncoderOptions


GROUPS: Mapping[str, type] = {"input": InputOptions, "output": OutputOptions, "encoder": EncoderOptions}


def split_groups(argv: Sequence[str], parsers: Mapping[str, opt.Parser]) -> dict[str, list[str]]:
    """Splits a command line at the words `input`, `output` and `encoder`.

    Unlike stock, a word that is the value of a flag (`--corpus input`) is a value.

    Args:
        argv: the arguments.
        parsers: group → its parser; tells which flags take one value.
    """
    groups: dict[str, list[str]] = {}
    current: str | None = None
    value_expected = False
    for word in argv:
        if word in parsers and not value_expected:
            if word in groups:
                raise UsageError(f"the group {word!r} occurs twice")
            current = word
            groups[word] = []
            continue
        if current is None:
            raise UsageError(f"{word!r} stands before the first of the groups input, output, encoder")
        groups[current].append(word)
        value_expected = word.startswith("--") and "=" not in word and _takes_value(parsers[current], word)
    return groups


def _takes_value(parser: opt.Parser, flag: str) -> bool:
    found = {a for name, a in parser._option_string_actions.items() if name.startswith(flag)}
    exact = parser._option_string_actions.get(flag)
    return any(action.nargs is None or action.nargs == "+" for action in ([exact] if exact else found))
