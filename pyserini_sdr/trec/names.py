"""Names of measures: trec_eval's and ir_measures' spellings, cut-offs and relevance levels."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from ..core.errors import UsageError, unknown

PLAIN = ("map", "Rprec", "bpref", "recip_rank", "11pt_avg", "ndcg", "ndcg_rel", "Rndcg", "G", "binG", "infAP")
PLAIN += ("set_P", "set_recall", "set_F", "set_map", "set_relative_P")
CUT = ("P", "recall", "success", "ndcg_cut", "map_cut", "relative_P", "recip_rank_cut", "judged")
LEVEL = ("iprec_at_recall", "Rprec_mult")
"""trec_eval's measures: without a cut-off, with one in documents, with one in recall. `recip_rank_cut` and `judged` are
ours, see `measures`."""

_GRADED = ("ndcg", "ndcg_cut", "ndcg_rel", "Rndcg", "G", "judged")
"""No relevance level changes these (trec_eval -l)."""

_NO_MEANS = (
    "num_q",
    "num_ret",
    "num_rel",
    "num_rel_ret",
    "gm_map",
    "gm_bpref",
    "numq",
    "numret",
    "numrel",
    "numrelret",
)
"""Of trec_eval (and, in lower case, ir_measures): totals and geometric means."""
_NOT_TREC = (
    "err",
    "nerr",
    "rbp",
    "nrbp",
    "alpha_ndcg",
    "infndcg",
    "inst",
    "sdcg",
    "nsdcg",
    "compat",
    "bpm",
    "accuracy",
)
"""Of others, in lower case; what trec_eval has by a name near to theirs is something else."""

_ALIASES = {  # spellings of ir_measures and papers, in lower case → trec_eval's (with or without cut)
    "ap": ("map", "map_cut"),
    "map": ("map", "map_cut"),
    "ndcg": ("ndcg", "ndcg_cut"),
    "p": (None, "P"),
    "precision": (None, "P"),
    "r": (None, "recall"),
    "recall": (None, "recall"),
    "rr": ("recip_rank", "recip_rank_cut"),
    "mrr": ("recip_rank", "recip_rank_cut"),
    "recip_rank": ("recip_rank", "recip_rank_cut"),
    "success": (None, "success"),
    "hit": (None, "success"),
    "hits": (None, "success"),
    "judged": (None, "judged"),
    "rprec": ("Rprec", None),
    "bpref": ("bpref", None),
    "infap": ("infAP", None),
    "setp": ("set_P", None),
    "setr": ("set_recall", None),
    "setf": ("set_F", None),
    "setap": ("set_map", None),
    "setrelp": ("set_relative_P", None),
    "iprec": (None, None),
}

_LABELS = {  # trec_eval's → ir_measures'
    "map": "AP",
    "map_cut": "AP",
    "ndcg": "nDCG",
    "ndcg_cut": "nDCG",
    "recall": "R",
    "recip_rank": "RR",
    "recip_rank_cut": "RR",
    "success": "Success",
    "judged": "Judged",
    "bpref": "Bpref",
    "iprec_at_recall": "IPrec",
    "set_P": "SetP",
    "set_recall": "SetR",
    "set_F": "SetF",
    "set_map": "SetAP",
    "set_relative_P": "SetRelP",
}

DEFAULT_MEASURES = ("ndcg_cut_10", "recip_rank_cut_10", "recall_100")


@dataclass(frozen=True)
class Measure:
    """A measure; as text it has its canonical name, such as `ndcg_cut_10` or `map(rel=2)`.

    Args:
        base: trec_eval's name without cut-off.
        cut: the cut-off as trec_eval writes it, empty if there is none.
        level: lowest grade that is relevant; None leaves it to the evaluation.
    """

    base: str
    cut: str = ""
    level: int | None = None

    @property
    def trec_name(self) -> str:
        """The name without relevance level, as trec_eval prints it."""
        return f"{self.base}_{self.cut}" if self.cut else self.base

    @property
    def depth(self) -> int | None:
        """The cut-off in documents."""
        return int(self.cut) if self.base in CUT else None

    @property
    def graded(self) -> bool:
        """Whether a relevance level means nothing to it."""
        return self.base in _GRADED

    @property
    def label(self) -> str:
        """ir_measures' spelling, for readers: `nDCG@10`, `AP(rel=2)`; trec_eval's where ir_measures has none."""
        level = f"(rel={self.level})" if self.level else ""
        if self.base not in _LABELS and self.base not in ("P", "Rprec", "infAP"):
            return str(self)
        cut = self.cut and f"@{self.cut if self.depth else f'{float(self.cut):g}'}"
        return f"{_LABELS.get(self.base, self.base)}{level}{cut}"

    def __str__(self) -> str:
        return self.trec_name + (f"(rel={self.level})" if self.level else "")


def parse(name: str) -> Measure:
    """The measure of that name.

    Accepts trec_eval's own spellings (`ndcg_cut_10`, `ndcg_cut.10`, `map`), `recip_rank_cut_10`, `judged_10`, and
    ir_measures' and the usual ones with `@` or `_` (`nDCG@10`, `RR@10`, `MRR_10`, `R@100`, `AP`), each with a relevance
    level in parentheses or without (`AP(rel=2)`, `RR(rel=2)@10`, `recall_1000(rel=2)`).

    Raises:
        UsageError: no such measure (the nearest names are suggested), or a cut-off or level that it cannot have.
    """
    text, level = _level(name)
    found = _find(text, name)
    if level is not None and found.graded:
        raise UsageError(f"measure {name!r}: {found.label} has no relevance level, it uses the grades themselves")
    return Measure(found.base, found.cut, level)


def _level(name: str) -> tuple[str, int | None]:
    """A name without its parentheses, and the level in them."""
    match = re.fullmatch(r"([^()]*)\(([^()]*)\)([^()]*)", name.strip())
    if not match:
        return name.strip(), None
    level = re.fullmatch(r"\s*rel\s*=\s*(\d+)\s*", match[2])
    if not level or not 1 <= int(level[1]) <= 1000:
        raise UsageError(f"measure {name!r}: in parentheses only a relevance level from 1 can stand, as in AP(rel=2)")
    return match[1] + match[3], int(level[1])


def _find(text: str, name: str) -> Measure:
    if text in PLAIN:
        return Measure(text)
    match = re.fullmatch(r"(.+?)[._@](\d+)", text)
    if match and match[1] in CUT and int(match[2]) > 0:
        return Measure(match[1], str(int(match[2])))
    level = re.fullmatch(r"(.+?)[._@](\d+\.\d+)", text)
    if level and (base := "iprec_at_recall" if level[1].lower() == "iprec" else level[1]) in LEVEL:
        return Measure(base, f"{float(level[2]):.2f}")
    base, cut = (match[1].lower(), int(match[2])) if match else (text.lower(), None)
    plain, with_cut = _ALIASES.get(base, (None, None))
    if cut is None and plain:
        return Measure(plain)
    if cut and with_cut:
        return Measure(with_cut, str(cut))
    if text in LEVEL or base == "iprec":
        raise UsageError(f"measure {name!r} needs a cut-off with a decimal point, as in {text.split('@')[0]}@0.1")
    if text in CUT or (cut is None and with_cut):
        raise UsageError(f"measure {name!r} needs a cut-off, as in {with_cut or text}_10")
    if cut == 0:
        raise UsageError(f"measure {name!r}: the cut-off must be at least 1")
    if plain:
        raise UsageError(f"measure {name!r}: {plain} has no cut-off")
    if base in _NO_MEANS:
        raise UsageError(f"measure {name!r}: totals and geometric means are no means over topics, and left out")
    if base in _NOT_TREC:
        raise UsageError(f"measure {name!r}: trec_eval, whose measures these are, has none of that name")
    at = match[2] if match else "10"
    labels = {Measure(base, at if base in CUT else "").label for base in _LABELS if base not in LEVEL}
    known = {*PLAIN, *(f"{base}_{at}" for base in CUT), *labels}
    if get_close_matches(text, known, n=1, cutoff=0.5):
        raise UsageError(unknown("measure", name, known))
    raise UsageError(
        f"unknown measure {name!r}; known are trec_eval's and ir_measures' names: {', '.join(EXAMPLES)} ..."
    )


EXAMPLES = ("nDCG@10", "AP", "AP(rel=2)", "RR@10", "R@1000", "P@10", "Success@5", "Rprec", "Bpref", "Judged@10")


def canonical(name: str) -> str:
    """The canonical name of a measure; names and errors as for `parse`."""
    return str(parse(name))


def canonical_all(names: Iterable[str]) -> list[str]:
    """`canonical` of every name, without repetitions, in the given order; trec_eval's `P.5,10` stands for both."""
    found: dict[str, None] = {}
    for name in names:
        several = re.fullmatch(r"(.+[._@])(\d+(?:,\d+)+)(\(.*\))?", name.strip())
        cuts = several[2].split(",") if several else []
        each = [f"{several[1]}{cut}{several[3] or ''}" for cut in cuts] if several else [name]
        found |= dict.fromkeys(map(canonical, each))
    return list(found)
