"""The flags of `mine`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import at_least, option

Sampling = Literal["uniform", "top", "simans"]

_DEPTH = 50
_SOURCE, _FILTER, _DRAW, _ENCODER = "source, one or several", "filters", "draw", "encoder of --index"


def _finite(value: Any) -> str | None:
    return None if math.isfinite(value) else "must be a finite number"


def _finite_from_zero(value: Any) -> str | None:
    return at_least(0)(value) or _finite(value)


@dataclass
class MineOptions:
    """From a collection and a source of rankings to training groups."""

    collection: Path = option(help="collection directory with topics and training pairs", metavar="DIR")
    output: Path = option(help="training groups to write (.jsonl or .jsonl.gz)", metavar="FILE")
    split: str = option("train", help="split whose queries are trained on")
    runs: list[Path] | None = option(None, help="TREC runs to take negatives from", group=_SOURCE)
    index: Path | None = option(
        None, help="index to search with its encoder; made with --encoder if not there", group=_SOURCE
    )
    bm25_index: Path | None = option(None, help="Lucene index to search with BM25 (needs Java)", group=_SOURCE)
    groups: Path | None = option(
        None, help="groups to filter and draw from again; a source of its own, with none beside it", group=_SOURCE
    )
    first_rank: int = option(
        1, help="first rank of the window negatives are drawn from, in each source", check=at_least(1), group=_DRAW
    )
    last_rank: int | None = option(
        None, help=f"last rank of the window (default: {_DEPTH}; of --groups, the last)", check=at_least(1), group=_DRAW
    )
    negatives: int = option(8, help="negatives kept per query", check=at_least(1), group=_DRAW)
    sampling: Sampling = option(
        "uniform",
        help="uniform: at random; top: the hardest; simans: at random by exp(-a(s - s+ - b)^2), s the score of a "
        "document, s+ that of the positive",
        group=_DRAW,
    )
    simans_a: float = option(
        0.5,
        help="a of simans: sharpness; 0.5 suits inner products, cosines need hundreds",
        check=_finite_from_zero,
        group=_DRAW,
    )
    simans_b: float = option(
        0.0, help="b of simans: how far above the positive's score the mode lies", check=_finite, group=_DRAW
    )
    seed: int = option(0, help="of the draw", check=at_least(0), group=_DRAW)
    drop_duplicates: bool = option(
        True,
        help="drop documents with the text of a positive or of a better ranked one, but for case and white space",
        group=_FILTER,
    )
    max_score: float | None = option(
        None, help="drop documents with a score above X", metavar="X", check=_finite, group=_FILTER
    )
    margin: float | None = option(
        None,
        help="drop documents with a score above s+ - M, s+ the source's score of the best positive",
        metavar="M",
        check=_finite,
        group=_FILTER,
    )
    relative_margin: float | None = option(
        None,
        help="drop documents with a score above s+ - |s+| * M",
        metavar="M",
        check=_finite_from_zero,
        group=_FILTER,
    )
    unscored_positive: Literal["keep", "drop"] = option(
        "keep", help="queries whose s+ no source knows: kept without the filters by margin, or dropped", group=_FILTER
    )
    teacher_scores: str | None = option(
        None, help="scores in --groups, by `teach`, that --teacher-margin goes by", metavar="NAME", group=_FILTER
    )
    teacher_margin: float | None = option(
        None,
        help="drop documents that the teacher scores above t+ - M, t+ its score of the best positive",
        metavar="M",
        check=_finite,
        group=_FILTER,
    )
    group_scores: str | None = option(
        None,
        help="scores in --groups that stand for a source's (default: --teacher-scores)",
        metavar="NAME",
        group=_FILTER,
    )
    keep_scores: bool = option(
        False, help="write the scores of the sources into the groups, where they can serve as a teacher's"
    )
    encoder: str | None = option(None, help="encoder for --index (default: the one that made it)", group=_ENCODER)
    device: str = option("auto", help="cpu, cuda, cuda:N or auto", group=_ENCODER)
    query_prefix: str | None = option(None, help="default: the encoder's", group=_ENCODER)
    query_max_length: int | None = option(None, help="default: the encoder's", check=at_least(2), group=_ENCODER)
    max_length: int | None = option(
        None, help="of documents (default: the encoder's)", check=at_least(2), group=_ENCODER
    )
    max_queries: int | None = option(None, help="use only this many queries, drawn at random", check=at_least(1))
    overwrite: bool = option(False, help="replace an existing output")

    def __post_init__(self) -> None:
        others = [
            flag
            for flag, value in (("--runs", self.runs), ("--index", self.index), ("--bm25-index", self.bm25_index))
            if value
        ]
        if not others and not self.groups:
            raise UsageError("a source is required: --runs, --index, --bm25-index or --groups")
        if others and self.groups:
            raise UsageError(f"--groups: is a source of its own; give it without {others[0]}")
        if self.depth is not None and self.first_rank > self.depth:
            raise UsageError(f"--first-rank {self.first_rank}: must not be above --last-rank {self.depth}")
        if self.encoder and not self.index:
            raise UsageError("--encoder: needs --index, the directory of its index")
        if self.sampling == "simans" and len(others) - bool(self.runs) + len(self.runs or ()) > 1:
            raise UsageError(
                "--sampling simans: needs one source, for it compares scores; fuse runs first with "
                "python -m pyserini_sdr.run fuse"
            )
        self._check_groups()
        self._check_encoder_flags()

    def _check_groups(self) -> None:
        if not self.groups:
            for flag, value in (("--teacher-scores", self.teacher_scores), ("--group-scores", self.group_scores)):
                if value is not None:
                    raise UsageError(f"{flag} {value}: needs --groups, which hold scores")
        elif self.keep_scores:
            raise UsageError("--keep-scores: not with --groups, whose scores stay with their documents anyway")
        if self.teacher_margin is not None and self.teacher_scores is None:
            raise UsageError(f"--teacher-margin {self.teacher_margin}: needs --teacher-scores")
        flag = self._by_score()
        if self.groups and flag and self.stored_scores is None:
            raise UsageError(f"{flag}: goes by scores; name those in --groups with --group-scores or --teacher-scores")

    def _check_encoder_flags(self) -> None:
        given = {
            "--device": None if self.device == "auto" else self.device,
            "--query-prefix": self.query_prefix,
            "--query-max-length": self.query_max_length,
            "--max-length": self.max_length,
        }
        flag = next((flag for flag, value in given.items() if value is not None), None)
        if flag and not self.index:
            raise UsageError(f"{flag}: concerns the encoder of --index, which is not given")

    def _by_score(self) -> str | None:
        """The first flag that goes by a source's scores."""
        given = {"--max-score": self.max_score, "--margin": self.margin, "--relative-margin": self.relative_margin}
        flags = [flag for flag, value in given.items() if value is not None]
        return next(iter([*flags, *(["--sampling simans"] if self.sampling == "simans" else [])]), None)

    @property
    def depth(self) -> int | None:
        """Last rank that is of any use; None for all of a group."""
        return self.last_rank if self.last_rank is not None or self.groups else _DEPTH

    @property
    def stored_scores(self) -> str | None:
        """Name of the scores in `groups` that stand for a source's."""
        return self.group_scores or self.teacher_scores

    @property
    def by_margin(self) -> bool:
        """Whether a filter goes by the scores that sources give the positives."""
        return self.margin is not None or self.relative_margin is not None

    @property
    def by_positive(self) -> bool:
        """Whether a filter or the draw goes by the scores that sources give the positives."""
        return self.by_margin or self.sampling == "simans"

    @property
    def needs_positive(self) -> bool:
        """Whether the scores that sources give the positives are looked up below the window."""
        return self.by_positive or self.keep_scores
