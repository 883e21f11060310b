"""The commands that stages run, and what each makes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from ..core.errors import UsageError


@dataclass(frozen=True)
class Made:
    """What a command makes.

    Args:
        name: of the file or folder within the stage's own.
        flag: that names it.
        group: word of the group of flags that `flag` stands in, or none.
        parallel: `torchrun` may start it.
    """

    name: str
    flag: str = "output"
    group: str = ""
    parallel: bool = False


COMMANDS = {
    "mine": Made("groups.jsonl"),
    "teach": Made("groups.jsonl"),
    "teach --train": Made("cross-encoder"),
    "train": Made("checkpoint", parallel=True),
    "pretrain": Made("checkpoint", parallel=True),
    "encode": Made("index", flag="embeddings", group="output", parallel=True),
    "index bm25": Made("index", flag="index"),
    "search dense": Made("run.trec"),
    "search bm25": Made("run.trec"),
    "collection pseudo-queries": Made("collection"),
    "collection passages": Made("collection"),
    "collection views": Made("queries.jsonl"),
    "collection views --output-collection": Made("collection", flag="output-collection"),
}
"""Command as typed after `python -m pyserini_sdr.` → what it makes."""


def check(command: str, argv: Sequence[str]) -> None:
    """Parses a stage's words as the command itself will; `UsageError` for what it would refuse."""
    module = import_module(f"pyserini_sdr.{command.split()[0]}.__main__")
    with contextlib.redirect_stdout(io.StringIO()):
        if module.COMMAND.execute(f"python -m pyserini_sdr.{command.split()[0]}", [*argv, "--print-config"]) != 0:
            raise UsageError(f"{command}: cannot be run with {' '.join(argv)}")
