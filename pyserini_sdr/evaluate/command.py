"""`evaluate`: its flags."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.command import Command
from ..core.options import at_least, option


@dataclass
class EvaluateOptions:
    qrels: Path = option(help="judgements: TREC's four columns, or BEIR's tsv with its header")
    runs: list[Path] = option(help="TREC or MS MARCO runs", metavar="RUN")
    names: list[str] | None = option(None, help="a name per run (default: the file names)", metavar="NAME")
    baseline: list[str] | None = option(
        None, help="runs (name or path) to compare the others with (default: the first run)", metavar="RUN"
    )
    metrics: list[str] = option(
        ["ndcg_cut_10", "recip_rank_cut_10", "recall_100"],
        help="trec_eval's names, or spellings such as nDCG@10, RR@10, R@100, AP",
        metavar="METRIC",
    )
    relevance_level: int = option(
        1, help="lowest grade that counts as relevant where grades do not matter (trec_eval -l)", check=at_least(1)
    )
    test: Literal["t-test", "randomization"] = option("t-test", help="paired significance test")
    correction: Literal["holm", "bonferroni", "none"] = option(
        "holm", help="for multiple comparisons; the family is all comparisons of one metric"
    )
    seed: int = option(0, help="of bootstrap and randomisation", check=at_least(0))
    topics: Path | None = option(None, help="topics, to show their texts in the report")
    training: list[str] | None = option(
        None, help="trained checkpoints behind the runs, to show what they cost and how they learnt", metavar="NAME=DIR"
    )
    per_query: bool = option(False, help="give every topic's values too")
    format: Literal["markdown", "csv", "json"] = option("markdown", help="of the table on standard output")
    output: Path | None = option(
        None, help="directory for table.md, table.csv, results.json (with manifest) and report.html", metavar="DIR"
    )
    overwrite: bool = option(False, help="replace an existing --output")


COMMAND = Command(
    summary="Evaluates runs as trec_eval -c does, with confidence intervals and significance tests.",
    options=EvaluateOptions,
    run="pyserini_sdr.evaluate.execute:execute",
    details="""
Means are over all judged topics; a topic that a run lacks counts 0. Ties are broken as trec_eval breaks them.
recip_rank_cut_K is the ranking cut to K, then recip_rank: MS MARCO's MRR@10 is recip_rank_cut_10.""",
    examples="""
  python -m pyserini_sdr.evaluate --qrels qrels.txt --runs bm25.txt dense.txt
  python -m pyserini_sdr.evaluate --qrels qrels.txt --runs bm25.txt base.txt tuned.txt --baseline bm25 base \\
      --metrics nDCG@10 RR@10 R@100 --topics topics.tsv --output evaluation
  python -m pyserini_sdr.evaluate --qrels qrels.txt --runs dense.txt --metrics map --per-query --format csv""",
)
