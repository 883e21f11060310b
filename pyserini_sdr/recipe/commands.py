"""The commands that stages run, and what each makes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from ..core.errors import UsageError, unknown
from ..core.options import flag_of, option_fields


@dataclass(frozen=True)
class Made:
    """What a command makes.

    Args:
        name: of the file or folder within the stage's own.
        manifest: that the command writes last, within the stage's folder.
        flag: that names what it makes.
        group: word of the group of flags that `flag` stands in, or none.
        parallel: `torchrun` may start it.
        model: it makes a model, which a name of the hub can stand for.
    """

    name: str
    manifest: str
    flag: str = "output"
    group: str = ""
    parallel: bool = False
    model: bool = False


COMMANDS = {
    "mine": Made("groups.jsonl", "groups.jsonl.json"),
    "teach": Made("groups.jsonl", "groups.jsonl.json"),
    "teach --train": Made("cross-encoder", "cross-encoder/sdr_teach.json", model=True),
    "train": Made("checkpoint", "checkpoint/sdr_train.json", parallel=True, model=True),
    "pretrain": Made("checkpoint", "checkpoint/sdr_pretrain.json", parallel=True, model=True),
    "encode": Made("index", "index/sdr_index.json", flag="embeddings", group="output", parallel=True),
    "index bm25": Made("index", "index/sdr_bm25.json", flag="index"),
    "search dense": Made("run.trec", "run.trec.json"),
    "search bm25": Made("run.trec", "run.trec.json"),
    "collection pseudo-queries": Made("collection", "collection/collection.json"),
    "collection passages": Made("collection", "collection/collection.json"),
    "collection views": Made("queries.jsonl", "queries.jsonl.json"),
    "collection views --output-collection": Made("collection", "collection/collection.json", flag="output-collection"),
}
"""Command as typed after `python -m pyserini_sdr.` → what it makes."""

CHECKPOINTS = ("train", "pretrain")
"""Commands that make what a recipe can result in."""

_NAMED = {
    "--encoder",
    "--teacher",
    "--collection",
    "--document-tower",
    "--cluster-encoder",
    "--generator",
    "--tokenizer",
}
"""Flags whose texts may be paths."""


def check(command: str, argv: Sequence[str]) -> None:
    """Parses a stage's words as the command itself will; `UsageError` for what it would refuse."""
    module = import_module(f"pyserini_sdr.{command.split()[0]}.__main__")
    with contextlib.redirect_stdout(io.StringIO()):
        module.COMMAND.execute(f"python -m pyserini_sdr.{command.split()[0]}", [*argv, "--print-config"])


@cache
def flags_of(command: str) -> Mapping[str, Any]:
    """Flag without dashes → annotation, of all flags of a command; those of all groups of `encode`."""
    words = [word for word in command.split() if not word.startswith("--")]
    if words[0] == "anserini":  # its flags are those of stock modules
        return {}
    module = import_module(f"pyserini_sdr.{words[0]}.__main__")
    if words[0] == "encode":
        classes = list(module.GROUPS.values())
    elif len(words) > 1:
        classes = [module.COMMAND.commands[words[1]].options]
    else:
        classes = [module.COMMAND.options]
    return {flag_of(field).removeprefix("--"): kind for options in classes for field, kind in option_fields(options)}


def paths_among(command: str, words: Sequence[str]) -> set[int]:
    """Places of the words that are paths by their flag, or because they stand before all flags."""
    kinds = flags_of(command)
    places: set[int] = set()
    flag = ""
    for place, word in enumerate(words):
        if word.startswith("--"):
            flag = word
        elif not flag or flag in _NAMED or Path.__name__ in str(kinds.get(flag.removeprefix("--"), "")):
            places.add(place)
    return places


def refuse_flags(command: str, flags: Mapping[str, Any]) -> None:
    """`UsageError` for a flag that a stage may not have: one that the command lacks, or that is not the recipe's."""
    known, made = flags_of(command), COMMANDS[command]
    for flag, value in flags.items():
        if isinstance(value, Mapping):
            refuse_flags(command, value)
        elif flag in ("overwrite", "config", "print-config", "help", made.flag):
            raise UsageError(f"--{flag}: is not for stages of a recipe")
        elif flag not in known:
            raise UsageError(unknown(f"flag of {command}", flag, known))
