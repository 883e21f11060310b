"""`run check` and `run fuse`: their flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.command import Command, CommandGroup
from ..core.options import at_least, option


@dataclass
class CheckOptions:
    run: Path = option(help="TREC run (six columns) or MS MARCO run (three), plain or .gz")
    topics: Path | None = option(None, help="topics the run should answer")
    qrels: Path | None = option(None, help="judgements the run is meant for")
    depth: int | None = option(None, help="most documents allowed per topic", check=at_least(1))
    output: Path | None = option(None, help="write the repaired run here")
    tag: str | None = option(None, help="tag of the repaired run, if not its own")


@dataclass
class FuseOptions:
    runs: list[Path] = option(help="runs to fuse; for stock-hybrid the dense one, then the sparse one", metavar="RUN")
    output: Path = option(help="the fused run")
    method: Literal["rrf", "linear", "stock-hybrid", "stock-fusion", "interpolation", "average"] = option(
        "rrf", help="fusion rule"
    )
    rrf_k: float | None = option(None, help="k of rrf (default: 60)", check=at_least(0))
    alpha: float | None = option(None, help="α of stock-hybrid (default: 0.1) or stock-fusion (default: 0.5)")
    weights: list[float] | None = option(None, help="weight per run for linear (default: 1 each)", metavar="W")
    normalization: Literal["none", "min-max", "z-score"] | None = option(
        None, help="of scores per topic, for linear (default: min-max) and stock-hybrid (default: none)"
    )
    weight_on_dense: bool = option(False, help="stock-hybrid: α multiplies the dense score")
    depth: int | None = option(None, help="documents of each run that take part (default: all)", check=at_least(1))
    hits: int = option(1000, help="documents per topic in the fused run", check=at_least(1))
    output_format: Literal["trec", "msmarco"] = option("trec", help="format of the fused run")
    tag: str | None = option(None, help="tag of the fused run (default: names rule and parameters)")


COMMAND = CommandGroup(
    summary="Validates, repairs and fuses TREC runs.",
    commands={
        "check": Command(
            summary="Validates a run and writes a repaired one.",
            options=CheckOptions,
            run="pyserini_sdr.run.check:run_check",
            details="""
Looks at columns, scores, duplicate documents, scattered topics, ranks against scores, ties, tags and depth; with
--topics and --qrels also at topics that are unknown or missing. The repaired run is sorted as trec_eval sorts (score
descending, then document id descending), ranked from 1, free of duplicates and unknown topics, and cut to --depth.
Exit status 1 if errors remain.""",
            examples="""
  python -m pyserini_sdr.run check --run run.txt
  python -m pyserini_sdr.run check --run run.txt --topics topics.tsv --depth 1000 --output fixed.txt""",
        ),
        "fuse": Command(
            summary="Fuses two or more runs into one.",
            options=FuseOptions,
            run="pyserini_sdr.run.fuse:run_fuse",
            details="""
rules (d: document, s: its score in a run, r: its rank from 1):
  rrf            sum of 1 / (k + r) over the runs that hold d
  linear         sum of weight * normalised s; missing = 0 after normalisation
  stock-hybrid   alpha * sparse + dense, as pyserini.search.hybrid; missing = that run's lowest score of the topic
  stock-fusion   alpha * first + (1 - alpha) * second, as pyserini.fusion (also called interpolation); missing = 0
  average        mean of raw scores; missing = 0""",
            examples="""
  python -m pyserini_sdr.run fuse --runs bm25.txt dense.txt --output rrf.txt
  python -m pyserini_sdr.run fuse --runs dense.txt bm25.txt --method stock-hybrid --alpha 0.1 --output hybrid.txt
  python -m pyserini_sdr.run fuse --runs a.txt b.txt --method linear --weights 0.3 0.7 --output linear.txt""",
        ),
    },
    examples="""
  python -m pyserini_sdr.run check --run run.txt --output fixed.txt
  python -m pyserini_sdr.run fuse --runs bm25.txt dense.txt --output rrf.txt""",
)
