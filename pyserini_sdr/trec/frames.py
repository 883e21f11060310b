"""Runs and qrels as pandas frames and trectools objects, for pooling and plots; ids stay strings.

trectools' own readers parse ids as numbers (`007` becomes `7`) and its measures order ties the other way round; so
read files here, and take numbers from `trec.measures`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .qrels import read_qrels
from .run import iter_run, rank

if TYPE_CHECKING:
    import pandas as pd
    import trectools


def run_frame(path: str | os.PathLike[str], system: str = "pyserini_sdr", depth: int | None = None) -> pd.DataFrame:
    """A run as trectools lays it out: columns query, q0, docid, rank, score, system, in trec_eval's order.

    Args:
        path: the run.
        system: what the last column says.
        depth: documents kept per topic (all if None).
    """
    import pandas as pd

    rows = [
        (qid, "Q0", docid, position, score, system)
        for qid, ranking in iter_run(path)
        for position, (docid, score) in enumerate(rank(*zip(*ranking, strict=True), depth), start=1)
    ]
    return pd.DataFrame(rows, columns=["query", "q0", "docid", "rank", "score", "system"])


def qrels_frame(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Qrels as trectools lays them out: columns query, q0, docid, rel."""
    import pandas as pd

    rows = [(qid, "0", docid, grade) for qid, judged in read_qrels(path).items() for docid, grade in judged.items()]
    return pd.DataFrame(rows, columns=["query", "q0", "docid", "rel"])


def trectools_run(
    path: str | os.PathLike[str], system: str = "pyserini_sdr", depth: int | None = None
) -> trectools.TrecRun:
    """A `trectools.TrecRun` with string ids; arguments as of `run_frame`."""
    import trectools

    run = trectools.TrecRun()
    run.run_data, run.filename = run_frame(path, system, depth), os.fspath(path)
    return run


def trectools_qrels(path: str | os.PathLike[str]) -> trectools.TrecQrel:
    """A `trectools.TrecQrel` with string ids."""
    import trectools

    qrels = trectools.TrecQrel()
    qrels.qrels_data, qrels.filename = qrels_frame(path), os.fspath(path)
    return qrels
