"""`run check`, `fuse`, `pool` and `correlate`: their flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.command import Command, CommandGroup
from ..core.errors import UsageError
from ..core.options import at_least, option
from ..trec.fusion_options import FusionOptions


@dataclass
class CheckOptions:
    run: Path = option(help="TREC run (six columns) or MS MARCO run (three), plain or .gz", metavar="FILE")
    topics: Path | None = option(None, help="topics the run should answer", metavar="FILE")
    qrels: Path | None = option(None, help="judgements the run is meant for", metavar="FILE")
    collection: Path | None = option(
        None, help="collection directory that was searched", metavar="DIR", group="documents (one of them)"
    )
    corpus: Path | None = option(None, help="corpus that was searched", group="documents (one of them)")
    index: list[Path] | None = option(
        None, help="index or shards that were searched", metavar="DIR", group="documents (one of them)"
    )
    depth: int | None = option(
        None, help="documents allowed per topic; topics with more are errors, with fewer noted", check=at_least(1)
    )
    tag_length: int = option(20, help="characters allowed in a tag", check=at_least(1))
    strict: bool = option(False, help="warnings are errors too, as for a submission to TREC")
    show: int = option(3, help="faults of each kind that are listed; the others are counted", check=at_least(1))
    output: Path | None = option(None, help="write the repaired run here", metavar="FILE")
    tag: str | None = option(None, help="tag of the repaired run, if not its own")

    def __post_init__(self) -> None:
        given = [name for name in ("collection", "corpus", "index") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"give one of {' and '.join(f'--{name}' for name in given)}")
        if self.tag is not None and self.output is None:
            raise UsageError(f"--tag {self.tag}: needs --output, the repaired run that gets it")


@dataclass(kw_only=True)
class FuseOptions(FusionOptions):
    runs: list[Path] = option(help="runs to fuse; for stock-hybrid the dense one, then the sparse one", metavar="RUN")
    output: Path = option(help="the fused run")
    method: (
        Literal["rrf", "linear", "combsum", "combmnz", "stock-hybrid", "stock-fusion", "interpolation", "average"]
        | None
    ) = option(None, help="fusion rule (default: rrf)")
    depth: int | None = option(None, help="documents of each run that take part (default: all)", check=at_least(1))
    hits: int = option(1000, help="documents per topic in the fused run", check=at_least(1))
    output_format: Literal["trec", "msmarco"] = option("trec", help="format of the fused run")
    tag: str | None = option(None, help="tag of the fused run (default: names rule and parameters)")


@dataclass
class PoolOptions:
    runs: list[Path] = option(help="runs to pool", metavar="RUN")
    output: Path = option(help="the pool, as judgements: topic, 0, document, grade", metavar="FILE")
    depth: int = option(100, help="documents of each run and topic", check=at_least(1))
    qrels: Path | None = option(None, help="judgements there are already", metavar="FILE")
    relevance_level: int = option(1, help="lowest grade that counts as relevant", check=at_least(1))
    holes_only: bool = option(False, help="write only what --qrels does not judge")

    def __post_init__(self) -> None:
        if self.holes_only and self.qrels is None:
            raise UsageError("--holes-only: needs --qrels")


@dataclass
class CorrelateOptions:
    runs: list[Path] = option(help="runs: the systems that are ranked, or the rankings compared", metavar="RUN")
    qrels: list[Path] | None = option(
        None, help="rank systems: one or several sets of judgements", metavar="FILE", group="of systems"
    )
    metrics: list[str] | None = option(
        None, help="measures that rank them (default: ndcg_cut_10 map)", metavar="METRIC", group="of systems"
    )
    relevance_level: int = option(
        1, help="lowest grade that counts as relevant (trec_eval -l)", check=at_least(1), group="of systems"
    )
    p: float | None = option(
        None, help="patience of rank-biased overlap, between 0 and 1 (default: 0.9)", group="of rankings"
    )
    depth: int | None = option(
        None, help="documents compared per topic (default: all)", check=at_least(1), group="of rankings"
    )
    per_topic: bool = option(False, help="give every topic's values too", group="of rankings")
    output: Path | None = option(None, help="write all as JSON too", metavar="FILE")

    def __post_init__(self) -> None:
        if len(self.runs) < 2:
            raise UsageError(f"--runs {self.runs[0]}: give at least two")
        ranking = {"--p": self.p, "--depth": self.depth, "--per-topic": self.per_topic or None}
        wrong = {"--metrics": self.metrics} if self.qrels is None else ranking
        for flag, value in wrong.items():
            if value is not None:
                what = (
                    "compares rankings; measures need --qrels" if self.qrels is None else "with --qrels ranks systems"
                )
                raise UsageError(f"{flag}: has no meaning here: correlate {what}")
        if self.p is not None and not 0 < self.p < 1:
            raise UsageError(f"--p {self.p}: must lie between 0 and 1")


COMMAND = CommandGroup(
    summary="Validates, repairs, fuses, pools and compares TREC runs.",
    commands={
        "check": Command(
            summary="Validates a run and writes a repaired one.",
            options=CheckOptions,
            run="pyserini_sdr.run.check:run_check",
            details="""
Looks at columns, scores, duplicate documents, scattered topics, ranks (start, gaps, repetitions, against the scores),
ties and tags; with --topics and --qrels at topics that are unknown or missing, with --collection, --corpus or --index
at documents that do not exist, with --depth at topics that have more or fewer. Faults are listed with file and line, at
most --show of each kind, and counted. Errors are what trec_eval refuses or misreads, warnings what a submission to TREC
must not have (--strict: errors).

The repaired run is sorted as trec_eval sorts (score descending, then document id descending), ranked from 1, has one
tag, no duplicates (the best score stays), no unknown topics or documents, and --depth documents at most. What no
repair can mend (columns, scores that are not finite, topics without results) is left to you.

Exit status 1 if errors remain.""",
            examples="""
  python -m pyserini_sdr.run check --run run.txt
  python -m pyserini_sdr.run check --run run.txt --topics topics.tsv --depth 1000 --output fixed.txt
  python -m pyserini_sdr.run check --run run.txt --topics topics.tsv --corpus corpus --depth 1000 --strict \\
    --tag mygroup-dense1 --output submission.txt""",
        ),
        "fuse": Command(
            summary="Fuses two or more runs into one.",
            options=FuseOptions,
            run="pyserini_sdr.run.fuse:run_fuse",
            details="""
rules (d: document, s: its score in a run, r: its rank from 1):
  rrf            sum of 1 / (k + r) over the runs that hold d
  linear         sum of weight * normalised s; missing = 0 after normalisation
  combsum        sum of normalised s (min-max: as pyserini.fusion --method normalize)
  combmnz        combsum times the number of runs that hold d
  stock-hybrid   alpha * sparse + dense, as pyserini.search.hybrid; missing = that run's lowest score of the topic
  stock-fusion   alpha * first + (1 - alpha) * second, as pyserini.fusion (also called interpolation); missing = 0
  average        mean of raw scores; missing = 0
--tuned takes rule and settings from what python -m pyserini_sdr.search tune found on other topics, for these runs in
the same order.""",
            examples="""
  python -m pyserini_sdr.run fuse --runs bm25.txt dense.txt --output rrf.txt
  python -m pyserini_sdr.run fuse --runs dense.txt bm25.txt --method stock-hybrid --alpha 0.1 --output hybrid.txt
  python -m pyserini_sdr.run fuse --runs a.txt b.txt --method linear --weights 0.3 0.7 --output linear.txt
  python -m pyserini_sdr.run fuse --runs dense.test.txt bm25.test.txt --tuned tuned.json --output fused.test.txt""",
        ),
        "pool": Command(
            summary="Pools the best documents of several runs for judging.",
            options=PoolOptions,
            run="pyserini_sdr.run.pool:run_pool",
            details="""
Takes the --depth best documents of every run and topic (in trec_eval's order) and writes them as judgements, in the
order of their ids: with their grades where --qrels has one, else with -1 (in the pool, not judged). The table tells how
much of the pool each run brings, how much of it no other run does, and, with --qrels, how much is judged and relevant:
the rest are the holes in the judgements.""",
            examples="""
  python -m pyserini_sdr.run pool --runs bm25.txt dense.txt hybrid.txt --depth 50 --output pool.txt
  python -m pyserini_sdr.run pool --runs bm25.txt dense.txt --qrels qrels.txt --depth 10 --holes-only \\
    --output to-judge.txt""",
        ),
        "correlate": Command(
            summary="Rank correlation of systems under two measures or judgements, or of two runs' rankings.",
            options=CorrelateOptions,
            run="pyserini_sdr.run.correlate:run_correlate",
            details="""
With --qrels: the runs are systems, ranked by each measure under each of the judgements (means over all judged topics).
For every two of these rankings: Kendall's tau-b with its p-value, tau-AP (mistakes at the top cost more; the first
ranking is the truth), Spearman's rho.

Without: for every two runs, the means over the topics that both answer of the rank-biased overlap (extrapolated), of
Kendall's tau over the documents that both hold, and of the share of documents that both hold.""",
            examples="""
  python -m pyserini_sdr.run correlate --runs a.txt b.txt c.txt d.txt --qrels qrels.txt --metrics nDCG@10 map RR@10
  python -m pyserini_sdr.run correlate --runs a.txt b.txt c.txt --qrels nist.txt llm.txt --metrics nDCG@10
  python -m pyserini_sdr.run correlate --runs dense.txt dense.reencoded.txt --depth 100 --per-topic""",
        ),
    },
    examples="""
  python -m pyserini_sdr.run check --run run.txt --output fixed.txt
  python -m pyserini_sdr.run fuse --runs bm25.txt dense.txt --output rrf.txt
  python -m pyserini_sdr.run pool --runs bm25.txt dense.txt --depth 50 --output pool.txt
  python -m pyserini_sdr.run correlate --runs bm25.txt dense.txt""",
)
