"""`index bm25`: a Lucene index through stock Pyserini."""

from __future__ import annotations

from ..anserini.bm25 import build_bm25_index
from ..core.runtime import available_cores
from .options import BM25Options


def build(options: BM25Options) -> None:
    """Builds the Lucene index."""
    build_bm25_index(
        options.input, options.index, threads=options.threads or available_cores(), overwrite=options.overwrite
    )
