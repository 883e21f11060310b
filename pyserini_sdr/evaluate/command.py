"""`evaluate`: its flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.command import Command
from ..core.options import at_least, option
from ..trec.names import DEFAULT_MEASURES

Format = Literal["markdown", "csv", "json", "latex"]


def _above_zero(value: float) -> str | None:
    return None if 0 < value < float("inf") else "must be above 0"


@dataclass
class EvaluateOptions:
    qrels: Path = option(help="judgements: TREC's four columns, or BEIR's tsv with its header")
    runs: list[Path] | None = option(None, help="TREC or MS MARCO runs", metavar="RUN")
    names: list[str] | None = option(None, help="a name per run (default: the file names)", metavar="NAME")
    seeds: list[str] | None = option(
        None,
        help="systems of several seeds, after the runs in the table: a topic's value is its mean over the seeds",
        metavar="NAME=RUN,RUN,...",
    )
    baseline: list[str] | None = option(
        None, help="runs (name or path) to compare the others with (default: the first run)", metavar="RUN"
    )
    preset: Literal["msmarco-dev", "dl19", "dl20", "beir"] | None = option(
        None, help="measures and relevance levels with which results on this collection are published"
    )
    metrics: list[str] | None = option(
        None,
        help="trec_eval's or ir_measures' names: ndcg_cut_10, nDCG@10, AP(rel=2), RR@10, R@1000 ...; beside --preset, "
        f"more of them (default: the preset's, or {' '.join(DEFAULT_MEASURES)})",
        metavar="METRIC",
    )
    relevance_level: int = option(
        1,
        help="lowest grade that is relevant for metrics that know no grades and name no rel= (trec_eval -l)",
        check=at_least(1),
    )
    test: Literal["t-test", "randomization"] = option("t-test", help="paired significance test")
    correction: Literal["holm", "bonferroni", "none"] = option(
        "holm", help="for multiple comparisons; the family is all comparisons of one metric"
    )
    equivalence_margin: float | None = option(
        None,
        help="also test whether differences lie within ± this (two one-sided t-tests), e.g. 0.01",
        check=_above_zero,
    )
    seed: int = option(0, help="of bootstrap and randomisation", check=at_least(0))
    topics: Path | None = option(None, help="topics, to show their texts in the report")
    training: list[str] | None = option(
        None, help="trained checkpoints behind the runs, to show what they cost and how they learnt", metavar="NAME=DIR"
    )
    per_query: bool = option(False, help="give every topic's values too (--output has them in per_query.csv anyway)")
    format: Format = option("markdown", help="of the tables on standard output")
    output: Path | None = option(
        None,
        help="directory for table.md, .csv and .tex, per_query.csv, results.json (with manifest) and report.html",
        metavar="DIR",
    )
    overwrite: bool = option(False, help="replace an existing --output")


COMMAND = Command(
    summary="Evaluates runs as trec_eval -c does, with confidence intervals and significance tests.",
    options=EvaluateOptions,
    run="pyserini_sdr.evaluate.execute:execute",
    details="""
Means are over all judged topics; a topic that a run lacks counts 0. Ties are broken as trec_eval breaks them.
recip_rank_cut_K (RR@K) is the ranking cut to K, then recip_rank: MS MARCO's MRR@10 is RR@10. The output tells the
trec_eval commands that print the same means.""",
    examples="""
  python -m pyserini_sdr.evaluate --qrels qrels.txt --runs bm25.txt dense.txt
  python -m pyserini_sdr.evaluate --qrels qrels.txt --runs bm25.txt base.txt tuned.txt --baseline bm25 base \\
      --metrics nDCG@10 RR@10 R@100 --topics topics.tsv --output evaluation
  python -m pyserini_sdr.evaluate --qrels qrels.dl19-passage.txt --preset dl19 --runs bm25.txt \\
      --seeds ours=ours.0.txt,ours.1.txt,ours.2.txt --equivalence-margin 0.01
  python -m pyserini_sdr.evaluate --qrels qrels.txt --runs dense.txt --metrics 'AP(rel=2)' --per-query --format csv""",
)
