"""Measures and flags under which results on well-known collections are published."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """Args:
    task: what is evaluated.
    measures: canonical names, each with its own relevance level.
    topics: judged topics of the official qrels; None where the preset is for many collections.
    """

    task: str
    measures: tuple[str, ...]
    topics: int | None = None


_DEEP_LEARNING = ("ndcg_cut_10", "map(rel=2)", "recall_1000(rel=2)", "recip_rank(rel=2)")

PRESETS = {
    "msmarco-dev": Preset("MS MARCO passage ranking, dev (small)", ("recip_rank_cut_10", "recall_1000"), 6980),
    "dl19": Preset("TREC 2019 Deep Learning track, passage ranking", _DEEP_LEARNING, 43),
    "dl20": Preset("TREC 2020 Deep Learning track, passage ranking", _DEEP_LEARNING, 54),
    "beir": Preset("BEIR", ("ndcg_cut_10", "recall_100")),
}
"""As Pyserini's and Anserini's reproductions compute them, and the Deep Learning track's own reciprocal rank."""
