"""The flags of `mine`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from ..core.options import at_least, option


@dataclass
class MineOptions:
    """From a collection and a source of rankings to training groups."""

    collection: Path = option(help="collection directory with topics and training pairs", metavar="DIR")
    output: Path = option(help="training groups to write (.jsonl or .jsonl.gz)", metavar="FILE")
    split: str = option("train", help="split whose queries are trained on")
    runs: list[Path] | None = option(None, help="TREC runs to take negatives from", group="source, one or several")
    index: Path | None = option(
        None, help="index to search with its encoder; made with --encoder if not there", group="source, one or several"
    )
    bm25_index: Path | None = option(
        None, help="Lucene index to search with BM25 (needs Java)", group="source, one or several"
    )
    encoder: str | None = option(None, help="encoder for --index (default: the one that made it)")
    device: str = option("auto", help="cpu, cuda, cuda:N or auto")
    query_prefix: str | None = option(None, help="default: the encoder's")
    query_max_length: int | None = option(None, help="default: the encoder's", check=at_least(2))
    max_length: int | None = option(None, help="of documents (default: the encoder's)", check=at_least(2))
    negatives: int = option(8, help="negatives kept per query", check=at_least(1))
    first_rank: int = option(1, help="first rank of the window negatives are drawn from", check=at_least(1))
    last_rank: int = option(50, help="last rank of the window", check=at_least(1))
    max_queries: int | None = option(None, help="use only this many queries, drawn at random", check=at_least(1))
    seed: int = option(0, help="of the draw", check=at_least(0))
    overwrite: bool = option(False, help="replace an existing output")

    def __post_init__(self) -> None:
        if not (self.runs or self.index or self.bm25_index):
            raise UsageError("a source is required: --runs, --index or --bm25-index")
        if self.first_rank > self.last_rank:
            raise UsageError(f"--first-rank {self.first_rank}: must not be above --last-rank {self.last_rank}")
        if self.encoder and not self.index:
            raise UsageError("--encoder: needs --index, the directory of its index")
