"""The flags of fusion, which `run fuse` and `search hybrid` share, and the file in which `search tune` leaves them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DataError, UsageError
from ..core.files import read_object, require_file
from ..core.options import at_least, option
from ..core.progress import note

TUNED = "tuned-fusion"
"""`kind` of the file."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "rrf": {"k": 60.0},
    "linear": {"normalization": "min-max"},
    "combsum": {"normalization": "min-max"},
    "combmnz": {"normalization": "min-max"},
    "stock-hybrid": {"alpha": 0.1},
    "stock-fusion": {"alpha": 0.5},
    "interpolation": {"alpha": 0.5},
}
"""What the rules' functions do where nothing is said; stated in tags."""


@dataclass(frozen=True)
class Fusion:
    """How runs are fused: a rule, its options that were set, and how deep each run is read (None: all of it)."""

    rule: str
    options: dict[str, Any] = field(default_factory=dict)
    depth: int | None = None


@dataclass(kw_only=True)
class FusionOptions:
    """What a rule may take."""

    rrf_k: float | None = option(None, help="rrf: 1/(k + rank) (default: 60)", check=at_least(0), group="fusion")
    alpha: float | None = option(
        None,
        help="stock-hybrid: α·second + first (default: 0.1); interpolation: α·first + (1−α)·second (default: 0.5)",
        group="fusion",
    )
    weights: list[float] | None = option(
        None, help="linear: a weight per run (default: 1 each)", metavar="W", group="fusion"
    )
    normalization: Literal["none", "min-max", "z-score"] | None = option(
        None,
        help="scores per topic, of linear, combsum, combmnz (default: min-max), stock-hybrid (default: none)",
        group="fusion",
    )
    weight_on_dense: bool | None = option(None, help="stock-hybrid: α multiplies the first run's score", group="fusion")
    tuned: Path | None = option(
        None, help="rule and settings from what search tune wrote, instead of the flags", metavar="FILE", group="fusion"
    )

    def fusion(self, rule: str | None, flag: str, runs: int) -> Fusion:
        """What the flags say, or the tuned file.

        Args:
            rule: as given, None if it was not (then rrf).
            flag: how the user writes the rule, as `--method`.
            runs: how many are fused.

        Raises:
            UsageError: an option that the rule does not take, or a number that is not finite; a flag beside `--tuned`;
                the wrong number of runs.
            DataError: a tuned file that cannot be read, or is for another number of runs.
        """
        from .fuse import RULE_OPTIONS, fuse  # here, as `--help` needs no numpy

        given = {
            "k": ("--rrf-k", self.rrf_k),
            "alpha": ("--alpha", self.alpha),
            "weights": ("--weights", self.weights),
            "normalization": ("--normalization", self.normalization),
            "weight_on_dense": ("--weight-on-dense", self.weight_on_dense),
        }
        if self.tuned is not None:
            for name, value in {"rule": (flag, rule), **given}.values():
                if value is not None:
                    raise UsageError(f"{name} {value}: {self.tuned} (--tuned) sets the fusion; give one of the two")
            return read_tuned(self.tuned, runs)
        rule = rule or "rrf"
        chosen = {}
        for name, (option_flag, value) in given.items():
            if value is None:
                continue
            if name not in RULE_OPTIONS[rule]:
                users = ", ".join(known for known, takes in RULE_OPTIONS.items() if name in takes)
                raise UsageError(f"{option_flag} {value}: not used by {flag} {rule} (it belongs to {users})")
            numbers = value if isinstance(value, list) else [value]
            if not all(math.isfinite(number) for number in numbers if isinstance(number, float)):
                raise UsageError(f"{option_flag} {value}: must be finite")
            chosen[name] = rule_normalization(rule, value) if name == "normalization" else value
        fuse([{}] * runs, rule, **chosen)  # the number of runs and weights
        return Fusion(rule, chosen)


def rule_normalization(rule: str, name: str) -> str | bool:
    """A normalisation as the rule takes it: stock-hybrid's is there or not."""
    if rule != "stock-hybrid":
        return name
    if name == "z-score":
        raise UsageError("--normalization z-score: stock-hybrid knows none and min-max")
    return name == "min-max"


def read_tuned(path: Path, runs: int) -> Fusion:
    """The best setting that `search tune` found, for `runs` runs.

    Raises:
        DataError: no such file, not one of `search tune`, or tuned for another number of runs.
    """
    from .fuse import fuse

    remedy = "give the JSON file that python -m pyserini_sdr.search tune wrote"
    value = read_object(require_file(path, "tuned file"), remedy=remedy)
    rule, options, depth, tuned = (value.get(key) for key in ("rule", "options", "depth", "runs"))
    known = isinstance(rule, str) and isinstance(options, dict)
    known = known and isinstance(tuned, list) and all(isinstance(run, dict) and "path" in run for run in tuned)
    if value.get("kind") != TUNED or not known or not (depth is None or isinstance(depth, int)):
        raise DataError(path, "is no tuned fusion", remedy=remedy)
    if len(tuned) != runs:
        raise DataError(path, f"was tuned for {len(tuned)} runs, here are {runs}", remedy="give them in its order")
    try:
        fuse([{}] * runs, rule, **options)
    except (UsageError, TypeError, ValueError) as error:
        raise DataError(path, f"holds no usable setting ({error})", remedy=remedy) from error
    names = ", ".join(str(run["path"]) for run in tuned)
    note(f"{path}: {rule}, tuned on {names}; the runs here are taken in this order")
    return Fusion(rule, options, depth)
