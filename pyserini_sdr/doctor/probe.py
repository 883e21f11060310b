"""The process that makes one group of checks: `python -m pyserini_sdr.doctor.probe GROUP [PATH ...]`; see `groups`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..core.command import load
from .finding import Check, Teller
from .groups import CHECKS, GROUPS, PATH, PATHS, Entry

_DISTRIBUTIONS = {"faiss": "faiss-cpu", "yaml": "pyyaml", "huggingface_hub": "transformers"}
"""Module → by what it is installed, where the names differ."""


def main(group: str, paths: list[str]) -> None:
    """Makes the checks of a group and tells each on standard output; what libraries print goes to standard error."""
    teller = Teller(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    if group == PATHS:
        from .paths import check_path

        for path in paths:
            _make(path, lambda teller, path=path: check_path(Path(path), teller), teller, PATH)
        return
    for name in GROUPS[group]:
        _make(name, load(CHECKS[name].run), teller, CHECKS[name])


def _make(name: str, check: Callable[[Teller], Check], teller: Teller, entry: Entry) -> None:
    """One that breaks is a failure with its error, not the end of the others."""
    try:
        found = check(teller)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        remedy = f"run `pip install {_DISTRIBUTIONS.get(missing, missing)}`"
        found = Check(name, entry.status, f"{missing} is not installed", remedy)
    except Exception as error:  # whatever a broken installation raises is what the user wants to know
        first = next(iter(str(error).strip().splitlines()), "")
        found = Check(name, entry.status, f"does not work ({type(error).__name__}: {first})", entry.broken)
    teller.tell(found)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main(sys.argv[1], sys.argv[2:])
