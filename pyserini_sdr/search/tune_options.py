"""The flags of `search tune`, and the settings that they span."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Literal

from ..core.errors import UsageError
from ..core.options import at_least, option
from ..trec.fusion_options import rule_normalization

_DIGITS = 10  # of grid values: 0.1 + 0.2 is 0.3
_MOST = 10_000
_RATIOS = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10)
_SHARES = tuple(round(0.05 * n, 2) for n in range(21))
_NEAR = (0.002, 0.005, 0.01, 0.02, 0.03)
_RAW_SHARES = tuple(sorted({*_SHARES, *_NEAR, *(round(1 - share, 3) for share in _NEAR)}))
"""Of raw scores: cosines weigh nothing beside BM25's unless the share is near an end."""
_RANKS = (0, 1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 500, 1000)


@dataclass(kw_only=True)
class TuneOptions:
    """`search tune`."""

    runs: list[Path] = option(
        help="runs over the dev topics, in the order in which they will be fused (dense before sparse)", metavar="RUN"
    )
    output: Path = option(help="JSON file to write: the best setting and the whole curve", metavar="FILE")
    qrels: Path | None = option(None, help="dev judgements", metavar="FILE", group="judgements (one of them)")
    collection: Path | None = option(
        None, help="collection directory, for its dev judgements", metavar="DIR", group="judgements (one of them)"
    )
    dev_split: str | None = option(
        None, help="split of the collection (default: dev)", metavar="SPLIT", group="judgements (one of them)"
    )
    allow_test: bool = option(False, help="take files of a split called test (what is reported on it then is no test)")
    rule: Literal["linear", "stock-hybrid", "interpolation", "rrf"] = option(
        "linear", help="fusion rule, as of run fuse", group="settings"
    )
    grid: list[str] | None = option(
        None,
        help="values tried, each a number or START:STOP:STEP: the k of rrf, the α of stock-hybrid and interpolation; "
        "for linear the weights of every run but the last, which gets what is missing to 1",
        metavar="VALUE",
        group="settings",
    )
    normalization: list[Literal["none", "min-max", "z-score"]] | None = option(
        None,
        help="of scores, tried in turn: linear (default: min-max), stock-hybrid (default: none)",
        metavar="NAME",
        group="settings",
    )
    weight_on_dense: bool = option(False, help="stock-hybrid: α multiplies the first run's score", group="settings")
    depth: int | None = option(
        None, help="documents of each run that take part (default: all)", check=at_least(1), group="settings"
    )
    hits: int = option(1000, help="documents per topic of the fused ranking", check=at_least(1), group="settings")
    metric: str = option("ndcg_cut_10", help="what is to be highest: trec_eval's names, or nDCG@10, RR@10, R@100, AP …")
    relevance_level: int = option(1, help="lowest grade that counts as relevant (trec_eval -l)", check=at_least(1))
    plot: Path | None = option(None, help="PNG of the curve (default: --output with .png)", metavar="FILE")
    seed: int = option(0, help="of the bootstrap", check=at_least(0))

    def __post_init__(self) -> None:
        if (self.qrels is None) == (self.collection is None):
            raise UsageError("give one of --qrels and --collection")
        if self.dev_split is not None and self.collection is None:
            raise UsageError(f"--dev-split {self.dev_split}: needs --collection")
        if len(self.runs) < 2:
            raise UsageError(f"--runs {self.runs[0]}: fusion needs at least two runs")
        if len(self.runs) > 2 and self.rule in ("stock-hybrid", "interpolation"):
            raise UsageError(f"--rule {self.rule}: takes two runs, got {len(self.runs)}")
        if self.normalization and self.rule not in ("linear", "stock-hybrid"):
            raise UsageError(f"--normalization {self.normalization[0]}: not used by --rule {self.rule}")
        if self.weight_on_dense and self.rule != "stock-hybrid":
            raise UsageError(f"--weight-on-dense: not used by --rule {self.rule}")

        if self.picture() == Path(self.output):
            raise UsageError(f"--output {self.output}: is where the plot goes; call it .json, or give --plot")

    def picture(self) -> Path:
        """Where the plot goes."""
        return Path(self.plot or Path(self.output).with_suffix(".png"))

    def settings(self) -> list[dict[str, Any]]:
        """The options of the rule to try, in grid order, normalisation by normalisation, each once."""
        default = {"linear": ["min-max"], "stock-hybrid": ["none"]}.get(self.rule, [None])
        names = list(dict.fromkeys(self.normalization or default))
        settings = [
            options
            | ({"normalization": rule_normalization(self.rule, name)} if name else {})
            | ({"weight_on_dense": True} if self.weight_on_dense else {})
            for name in names
            for options in self._points()
        ]
        if len(settings) > _MOST:
            raise UsageError(f"--grid: {len(settings):,} settings, more than {_MOST:,}; take a coarser one")
        return settings

    def _points(self) -> Iterator[dict[str, Any]]:
        if self.rule == "linear":
            yield from ({"weights": weights} for weights in self._weights())
            return
        default = {"rrf": _RANKS, "stock-hybrid": _RATIOS, "interpolation": _RAW_SHARES}[self.rule]
        name = "k" if self.rule == "rrf" else "alpha"
        yield from ({name: value} for value in (parse_grid(self.grid) if self.grid else default))

    def _weights(self) -> Iterator[list[float]]:
        """Weights that sum to 1: only their ratios matter to a ranking."""
        values = parse_grid(self.grid) if self.grid else list(_SHARES if len(self.runs) == 2 else _SHARES[::2])
        if values[-1] > 1:
            raise UsageError(f"--grid {values[-1]:g}: weights of linear sum to 1, so none is above it")
        if len(values) ** (len(self.runs) - 1) > 100 * _MOST:
            raise UsageError(f"--grid: {len(values)} values for {len(self.runs)} runs are too many; take fewer")
        for first in product(values, repeat=len(self.runs) - 1):
            rest = round(1 - math.fsum(first), _DIGITS)
            if rest >= 0:
                yield [*first, rest + 0.0]


def parse_grid(words: list[str]) -> list[float]:
    """The numbers that `--grid` names, ascending, each once.

    Raises:
        UsageError: a word that is neither a number from 0 nor `START:STOP:STEP` (STOP included).
    """
    values: set[float] = set()
    for word in words:
        try:
            numbers = [float(part) for part in word.split(":")]
        except ValueError:
            numbers = []
        if not all(math.isfinite(number) and number >= 0 for number in numbers) or len(numbers) not in (1, 3):
            raise UsageError(f"--grid {word}: expected a number from 0, or START:STOP:STEP")
        if len(numbers) == 1:
            values.add(round(numbers[0], _DIGITS))
            continue
        start, stop, step = numbers
        if step <= 0 or stop < start:
            raise UsageError(f"--grid {word}: STOP must not be below START, and STEP above 0")
        count = (stop - start) / step
        if count > _MOST:
            raise UsageError(f"--grid {word}: more than {_MOST:,} values; take a larger step")
        values |= {round(start + n * step, _DIGITS) for n in range(math.floor(count + 1e-9) + 1)}
    return sorted(values)


def of_test_split(path: Path) -> bool:
    """Whether a file's name says that it belongs to a test split: `topics.test.tsv`, `qrels.dpr-nq-test.txt`."""
    return any(re.fullmatch(r"test\d*", word) for word in re.split(r"[^a-z0-9]+", path.name.lower()))
