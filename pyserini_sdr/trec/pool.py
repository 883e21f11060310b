"""Pools: the documents that several runs rank best, and what each of the runs brings to them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.progress import bar
from .frames import trectools_run
from .qrels import Qrels

UNJUDGED = -1
"""Grade of a document that is in the pool and not judged, as trec_eval's infAP has it; others take it for not
relevant."""


@dataclass(frozen=True)
class Share:
    """What a run, or the whole pool, consists of. The last three are None without judgements.

    Attributes:
        documents: pairs of topic and document.
        alone: those that no other run brings.
        judged: those that are judged.
        relevant: those that are relevant.
        relevant_alone: relevant ones that no other run brings.
    """

    documents: int
    alone: int
    judged: int | None = None
    relevant: int | None = None
    relevant_alone: int | None = None


@dataclass(frozen=True)
class Pool:
    """A pool at some depth.

    Attributes:
        documents: query id → its documents, in the order of their ids, which says nothing of ranks.
        shares: name of a run → what it brings.
        total: of all.
    """

    documents: dict[str, list[str]]
    shares: dict[str, Share]
    total: Share

    def qrels(self, judged: Mapping[str, Mapping[str, int]] | None = None, *, holes_only: bool = False) -> Qrels:
        """The pool as judgements: grades where they are known, else `UNJUDGED`.

        Args:
            judged: query id → document id → grade.
            holes_only: leave out what is judged.
        """
        judged = judged or {}
        graded = {
            qid: {docid: judged.get(qid, {}).get(docid, UNJUDGED) for docid in docids}
            for qid, docids in self.documents.items()
        }
        if holes_only:
            graded = {
                qid: {d: g for d, g in found.items() if d not in judged.get(qid, {})} for qid, found in graded.items()
            }
        return {qid: found for qid, found in graded.items() if found}


def make_pool(
    runs: Mapping[str, str | os.PathLike[str]], depth: int, qrels: Qrels | None = None, relevance_level: int = 1
) -> Pool:
    """Pools the `depth` best documents of every run and topic, in trec_eval's order, with trectools.

    Args:
        runs: name → run file.
        depth: documents of each run and topic.
        qrels: judgements, for what of the pool is judged.
        relevance_level: lowest grade that is relevant.

    Raises:
        DataError: a run that cannot be read.
    """
    from trectools import TrecPoolMaker

    read = []
    for name, path in bar(runs.items(), unit=" runs", desc="pooling"):
        run = trectools_run(path, name, depth)
        # trectools looks each topic up in the whole column; comparing codes instead of strings is fifty times as fast
        run.run_data["query"] = run.run_data["query"].astype("category")
        read.append(run)
    maker = TrecPoolMaker()
    whole = maker.make_pool(read, strategy="topX", topX=depth).pool
    own = {
        name: _pairs(maker.make_pool([run], strategy="topX", topX=depth).pool)
        for name, run in zip(runs, read, strict=True)
    }
    order = dict.fromkeys(qid for run in read for qid in run.run_data["query"])
    holders = Counter(pair for pairs in own.values() for pair in pairs)
    shares = {name: _share(pairs, holders, qrels, relevance_level) for name, pairs in own.items()}
    total = _share(set(holders), holders, qrels, relevance_level)
    return Pool({qid: sorted(whole[qid]) for qid in order}, shares, total)


def _pairs(pool: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    return {(qid, docid) for qid, docids in pool.items() for docid in docids}


def _share(
    pairs: set[tuple[str, str]], holders: Mapping[tuple[str, str], int], qrels: Qrels | None, level: int
) -> Share:
    alone = {pair for pair in pairs if holders[pair] == 1}
    if qrels is None:
        return Share(len(pairs), len(alone))
    judged = {(qid, docid) for qid, docid in pairs if docid in qrels.get(qid, {})}
    relevant = {(qid, docid) for qid, docid in judged if qrels[qid][docid] >= level}
    return Share(len(pairs), len(alone), len(judged), len(relevant), len(relevant & alone))


def run_names(paths: Sequence[str | os.PathLike[str]]) -> list[str]:
    """A different name per run file: its own, or, where two are called alike, its path."""
    names = [Path(path).name for path in paths]
    return [os.fspath(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]
