"""The flags of `mine`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import at_least, option
from .ranks import RankWindow, parse_named

Sampling = Literal["uniform", "top", "simans"]

_DEPTH = 50
_SOURCE, _FILTER, _DRAW, _ENCODER = "source, one or several", "filters", "draw", "encoder of --index"
_PASSAGE, _DARK = "groups of passages", "dark examples"


def _finite(value: Any) -> str | None:
    return None if math.isfinite(value) else "must be a finite number"


def _finite_from_zero(value: Any) -> str | None:
    return at_least(0)(value) or _finite(value)


def _share(value: Any) -> str | None:
    return None if 0 < value < 1 else "must be above 0 and below 1"


def _rank(value: str) -> str | None:
    return _problem(lambda: RankWindow.parse(value))


def _named_ranks(values: list[str]) -> str | None:
    return next((problem for value in values if (problem := _problem(lambda v=value: parse_named(v)))), None)


def _problem(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except ValueError as error:
        return str(error)
    return None


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
    teacher_rank: list[str] | None = option(
        None,
        help="keep only queries whose best positive has the ranks A to B among the documents of their group, by the "
        "scores NAME in --groups; NAME=A is NAME=A-A",
        metavar="NAME=A-B",
        check=_named_ranks,
        group=_FILTER,
    )
    positive_rank: str | None = option(
        None,
        help="keep only queries whose best positive has the ranks A to B in the ranking of every source",
        metavar="A-B",
        check=_rank,
        group=_FILTER,
    )
    documents_of: str | None = option(
        None,
        help="make groups of documents of --groups of passages DOCID#0, DOCID#1, …: a document scores as its best one",
        metavar="'#'",
        group=_PASSAGE,
    )
    best_passage: str | None = option(
        None,
        help="keep of each positive document of --groups of passages only the one with the best score of NAME",
        metavar="NAME",
        group=_PASSAGE,
    )
    passage_delimiter: str = option("#", help="what --best-passage cuts ids at", metavar="TEXT", group=_PASSAGE)
    dark_negatives: int = option(
        0, help="texts per query of a negative with sentences of the positive", check=at_least(0), group=_DARK
    )
    dark_positives: int = option(
        0, help="texts per query of the positive with words masked", check=at_least(0), group=_DARK
    )
    mix_share: float | None = option(
        None,
        help="share of a negative's sentences that the positive's replace (default: 0.5)",
        check=_share,
        group=_DARK,
    )
    mask_share: float | None = option(
        None, help="share of the positive's words that is masked (default: 0.3)", check=_share, group=_DARK
    )
    mask_token: str | None = option(
        None, help="what stands for a masked word, as [MASK] (default: nothing, it is left out)", group=_DARK
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
        self._check_passages()
        self._check_dark()
        self._check_encoder_flags()

    def _check_groups(self) -> None:
        if not self.groups:
            ranks = " ".join(self.teacher_rank) if self.teacher_rank else None
            for flag, value in (
                ("--teacher-scores", self.teacher_scores),
                ("--group-scores", self.group_scores),
                ("--teacher-rank", ranks),
                ("--documents-of", self.documents_of),
                ("--best-passage", self.best_passage),
            ):
                if value is not None:
                    raise UsageError(f"{flag} {value}: needs --groups, which hold scores")
        elif self.positive_rank is not None:
            raise UsageError(
                f"--positive-rank {self.positive_rank}: is of the rankings of sources; of --groups give --teacher-rank"
            )
        elif self.keep_scores:
            raise UsageError("--keep-scores: not with --groups, whose scores stay with their documents anyway")
        if self.teacher_margin is not None and self.teacher_scores is None:
            raise UsageError(f"--teacher-margin {self.teacher_margin}: needs --teacher-scores")
        flag = self._by_score()
        if self.groups and flag and self.stored_scores is None:
            raise UsageError(f"{flag}: goes by scores; name those in --groups with --group-scores or --teacher-scores")

        names = [parse_named(text)[0] for text in self.teacher_rank or ()]
        if len(set(names)) < len(names):
            raise UsageError(f"--teacher-rank {' '.join(self.teacher_rank or ())}: names the same scores twice")

    def _check_passages(self) -> None:
        if self.documents_of is not None and self.best_passage is not None:
            raise UsageError(
                f"--best-passage {self.best_passage}: gives groups of passages, --documents-of groups of documents; "
                "give one of the two"
            )
        for flag, value in (("--documents-of", self.documents_of), ("--passage-delimiter", self.passage_delimiter)):
            if value == "":
                raise UsageError(f"{flag} '': must not be empty")

    def _check_dark(self) -> None:
        needed = (
            ("--mix-share", self.mix_share, "--dark-negatives", self.dark_negatives),
            ("--mask-share", self.mask_share, "--dark-positives", self.dark_positives),
            ("--mask-token", self.mask_token, "--dark-positives", self.dark_positives),
        )
        for flag, value, other, number in needed:
            if value is not None and not number:
                raise UsageError(f"{flag} {value}: needs {other}")

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
    def teacher_ranks(self) -> dict[str, RankWindow]:
        """Name of scores in `groups` → the ranks that a query's best positive must have by them."""
        return dict(parse_named(text) for text in self.teacher_rank or ())

    @property
    def source_rank(self) -> RankWindow | None:
        """The ranks that a query's best positive must have in the sources."""
        return None if self.positive_rank is None else RankWindow.parse(self.positive_rank)

    @property
    def looked_at(self) -> int | None:
        """Last rank of a source that is looked at; deeper than `depth` where positives are to be found further down."""
        if self.depth is None or self.source_rank is None:
            return self.depth
        return max(self.depth, self.source_rank.last)

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
