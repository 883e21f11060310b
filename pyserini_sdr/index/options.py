"""The flags of `index`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.options import at_least, option


@dataclass
class BuildOptions:
    """`index build`."""

    input: Path = option(help="index directory, or directory with embedding .jsonl files", metavar="DIR")
    output: Path = option(help="index directory to make", metavar="DIR")
    type: Literal["flat"] = option("flat", help="kind of index")
    overwrite: bool = option(False, help="replace an existing index")


@dataclass
class BM25Options:
    """`index bm25`."""

    input: Path = option(help="corpus directory, file, or collection directory", metavar="PATH")
    index: Path = option(help="Lucene index to make", metavar="DIR")
    threads: int = option(0, help="indexing threads; 0 is one per core", check=at_least(0))
    overwrite: bool = option(False, help="replace an existing index")


@dataclass
class VerifyOptions:
    """`index verify`."""

    index: Path = option(help="index directory", metavar="DIR")
    corpus: Path | None = option(None, help="corpus to compare ids with and to re-encode a sample of")
    encoder: str | None = option(None, help="encoder for the sample (default: the one that made the index)")
    sample: int = option(32, help="documents of the corpus to encode again", check=at_least(0))
    device: str = option("auto", help="cpu, cuda, cuda:N or auto")
