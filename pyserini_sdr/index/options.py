"""The flags of `index`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.options import at_least, between, option

TypeName = Literal["flat", "hnsw", "hnsw-pq", "ivf", "ivf-pq", "opq", "pq", "sq8", "binary"]


@dataclass
class BuildOptions:
    """`index build`."""

    input: list[Path] = option(
        help="index directories, finished encodings, or directories with embedding .jsonl files; shards of one "
        "encoding in any order",
        metavar="DIR",
    )
    output: Path = option(help="index directory to make", metavar="DIR")
    type: TypeName = option("flat", help="kind of index")
    overwrite: bool = option(False, help="replace an existing index")
    threads: int = option(0, help="threads; 0 is one per core", check=at_least(0))
    check_size: bool = option(True, help="refuse to start where disk or memory will not do")
    M: int | None = option(
        None, flag="--M", help="links per vector (default: 32)", group="graph", check=between(2, 1024)
    )
    efC: int | None = option(
        None, flag="--efC", help="candidates for links while building (default: 200)", group="graph", check=at_least(1)
    )
    ef_search: int | None = option(
        None, help="candidates while searching, kept in the file (default: 128)", group="graph", check=at_least(1)
    )
    nlist: int | None = option(
        None, help="lists (default: 4·√n, at least 39 training vectors for each)", group="lists", check=at_least(1)
    )
    nprobe: int | None = option(
        None,
        help="lists searched, kept in the file (default: 4·√nlist, at most half of them)",
        group="lists",
        check=at_least(1),
    )
    pq_m: int | None = option(
        None, help="parts of a vector, each with a code (default: dimension / 8)", group="codes", check=at_least(1)
    )
    pq_nbits: int | None = option(
        None, help="bits of a code (default: 8, or 4 of few vectors)", group="codes", check=between(1, 16)
    )
    train_size: int | None = option(
        None,
        help="vectors to learn from, drawn at random (default: 50 per list, at least 100000)",
        group="training",
        check=at_least(1),
    )
    train_from: Path | None = option(
        None,
        help="take what this index of the same type has learned: shards made so can be merged",
        metavar="DIR",
        group="training",
    )
    seed: int = option(
        0, help="of the sample, the training and the graph", group="training", check=between(0, 2**31 - 2)
    )
    eval_queries: int = option(
        200, help="queries to measure recall and speed with; 0 measures nothing", group="measuring", check=at_least(0)
    )
    queries: str | None = option(
        None,
        help="topics to measure with, encoded as the index tells (default: stored vectors)",
        metavar="TOPICS",
        group="measuring",
    )


@dataclass
class BM25Options:
    """`index bm25`."""

    input: Path = option(help="corpus directory, file, or collection directory", metavar="PATH")
    index: Path = option(help="Lucene index to make", metavar="DIR")
    threads: int = option(0, help="indexing threads; 0 is one per core", check=at_least(0))
    overwrite: bool = option(False, help="replace an existing index")


@dataclass
class MergeOptions:
    """`index merge`."""

    inputs: list[Path] = option(help="index directories, of one type", metavar="DIR")
    output: Path = option(help="index directory to make", metavar="DIR")
    overwrite: bool = option(False, help="replace an existing index")
    check_size: bool = option(True, help="refuse to start where disk or memory will not do")


@dataclass
class AppendOptions:
    """`index append`."""

    index: Path = option(help="index directory to change", metavar="DIR")
    input: list[Path] = option(help="as of index build", metavar="DIR")
    threads: int = option(0, help="threads; 0 is one per core", check=at_least(0))
    check_size: bool = option(True, help="refuse to start where disk or memory will not do")


@dataclass
class DeleteOptions:
    """`index delete`."""

    index: Path = option(help="index directory to change", metavar="DIR")
    ids: list[str] = option(help="document ids, or files with one per line", metavar="FILE|ID")
    check_size: bool = option(True, help="refuse to start where disk or memory will not do")


@dataclass
class VerifyOptions:
    """`index verify`."""

    index: Path = option(help="index directory", metavar="DIR")
    corpus: Path | None = option(None, help="corpus to compare ids with and to re-encode a sample of")
    encoder: str | None = option(None, help="encoder for the sample (default: the one that made the index)")
    sample: int = option(32, help="documents of the corpus to encode again", check=at_least(0))
    device: str = option("auto", help="cpu, cuda, cuda:N or auto")


@dataclass
class InfoOptions:
    """`index info`."""

    index: Path = option(help="index directory, finished or not", metavar="DIR")
    json: bool = option(False, help="print JSON")


@dataclass
class ExportOptions:
    """`index export`."""

    index: Path = option(help="index directory", metavar="DIR")
    output: Path = option(help="directory to make, for Anserini's -input", metavar="DIR")
    to: Literal["lucene"] = option("lucene", help="what to write for")
    format: Literal["parquet", "jsonl"] = option("parquet", help="parquet needs pyarrow")
    rows: int = option(100_000, help="vectors per file", check=at_least(1))
    overwrite: bool = option(False, help="replace an existing export")
