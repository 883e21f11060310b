"""From a recipe and the user's settings to the exact commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import DataError, UsageError, shorten, unknown
from .commands import COMMANDS
from .definition import Recipe, Repeat, Stage

_NAME = re.compile(r"\{([A-Za-z0-9_-]+)(/[^{}]+)?\}")


@dataclass(frozen=True)
class Step:
    """A stage with everything filled in.

    Args:
        number: from 1.
        name: of the stage.
        command: key of `commands.COMMANDS`.
        argv: words after `python -m`.
        folder: the stage's own.
        made: what it makes, in the folder.
        uses: numbers of the steps whose results are among the words.
    """

    number: int
    name: str
    command: str
    argv: Sequence[str]
    folder: Path
    made: Path
    uses: Sequence[int]

    @property
    def text(self) -> str:
        """The command as one types it."""
        return shlex.join(["python", "-m", *self.argv])


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        steps: in order.
        result: where the checkpoint will be.
        settings: name → value.
        given: words of the user's own.
    """

    steps: Sequence[Step]
    result: Path
    settings: Mapping[str, Any]
    given: frozenset[str]


def parse_settings(recipe: Recipe, given: Sequence[str]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """`["steps=200", "train.dropout=0"]` → the settings, and flags by command or stage that win over the recipe's.

    Raises:
        UsageError: not NAME=VALUE, or an unknown name.
    """
    settings = dict(recipe.settings)
    flags: dict[str, dict[str, Any]] = {}
    stages = {stage.name: stage.command for entry in recipe.stages for stage in _inner(entry)}
    owners = {*stages, *stages.values()}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: expected NAME=VALUE, COMMAND.flag=VALUE or STAGE.flag=VALUE")
        try:
            parsed = yaml.safe_load(value) if value else None
        except yaml.YAMLError:
            parsed = value
        parsed = parsed if isinstance(parsed, int | float | list | None) else value  # a date stays as it is written
        owner, dot, flag = name.partition(".")
        if dot:
            if owner not in owners:
                raise UsageError(f"--set {text}: {unknown('command or stage', owner, owners)}")
            flags.setdefault(owner, {})[flag] = parsed
        elif name in settings:
            settings[name] = parsed
        else:
            raise UsageError(f"--set {text}: {unknown('setting', name, settings)}")
    return settings, flags


def resolve(
    recipe: Recipe, *, collection: str, encoder: str, output: Path, settings: Sequence[str] = (), processes: int = 1
) -> Plan:
    """The commands of a recipe, in order.

    Args:
        recipe: as declared.
        collection, encoder: what it is done to.
        output: folder of the whole; each stage has a numbered one in it.
        settings: `--set`, see `parse_settings`.
        processes: of the stages that `torchrun` may start.

    Raises:
        UsageError: a setting that is unknown, or a recipe's need that is not met.
        DataError: the recipe names what is not there.
    """
    values, given = parse_settings(recipe, settings)
    for name in given:
        if name in COMMANDS and name in {stage.name for entry in recipe.stages for stage in _inner(entry)}:
            raise UsageError(f"--set {name}.…: is a command and a stage; the recipe should name the stage otherwise")
    names: dict[str, Any] = {"collection": collection, "encoder": encoder, "output": str(output)}
    for name, value in values.items():  # a setting may stand for the encoder, as `"{encoder}"`
        names[name] = names.get(value[1:-1], value) if isinstance(value, str) and _NAME.fullmatch(value) else value
    origin: dict[str, int] = {}
    folders: dict[str, Path] = {}
    steps: list[Step] = []
    for stage in _unrolled(recipe, values):
        if stage.unless is not None and names[stage.unless] is not None:
            names[stage.name] = names[stage.unless]
            origin.pop(stage.name, None)
            folders.pop(stage.name, None)
            continue
        number = len(steps) + 1
        folder = output / f"{number:02d}-{stage.name}"
        what = COMMANDS[stage.command]
        made = folder / what.name
        filler = _Filler(recipe, stage, {**names, "here": str(folder)}, folders)
        flags = {**recipe.defaults.get(stage.command, {}), **stage.flags}
        flags |= {**given.get(stage.command, {}), **given.get(stage.name, {})}
        if what.group:
            flags = {**flags, what.group: {what.flag: str(made), **(flags.get(what.group) or {})}}
        else:
            flags = {**flags, what.flag: str(made)}
        module, *sub = (word for word in stage.command.split() if word != f"--{what.flag}")
        words = [f"pyserini_sdr.{module}", *sub, *filler.words(stage.arguments), *filler.flags(flags)]
        if processes > 1 and what.parallel:
            words = ["torch.distributed.run", "--nproc-per-node", str(processes), "-m", *words]
        uses = sorted({origin[name] for name in filler.used if name in origin})
        steps.append(Step(number, stage.name, stage.command, words, folder, made, uses))
        names[stage.name], origin[stage.name], folders[stage.name] = str(made), number, folder
    own = {collection, encoder, *(text.partition("=")[2] for text in settings)}
    return Plan(steps, Path(names[recipe.result]), values, frozenset(own))


def _inner(entry: Stage | Repeat) -> Sequence[Stage]:
    return entry.stages if isinstance(entry, Repeat) else [entry]


def _unrolled(recipe: Recipe, settings: Mapping[str, Any]) -> Iterator[Stage]:
    for entry in recipe.stages:
        if isinstance(entry, Stage):
            yield entry
            continue
        times = settings.get(entry.times, entry.times) if isinstance(entry.times, str) else entry.times
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise UsageError(f"recipe {recipe.name}: {entry.times} must be a whole number from 1, not {shorten(times)}")
        for _ in range(times):
            yield from entry.stages


class _Filler:
    """Fills the names in a stage's flags, and remembers which were used."""

    def __init__(self, recipe: Recipe, stage: Stage, names: Mapping[str, Any], folders: Mapping[str, Path]) -> None:
        self.recipe, self.stage, self.names, self.folders = recipe, stage, names, folders
        self.used: set[str] = set()

    def value(self, value: Any) -> Any:
        """A value with its names filled in; `"{name}"` alone keeps the kind of what it stands for."""
        if not isinstance(value, str):
            return value
        whole = _NAME.fullmatch(value)
        return self._named(whole) if whole else _NAME.sub(lambda match: str(self._named(match)), value)

    def _named(self, match: re.Match[str]) -> Any:
        name, rest = match.groups()
        if rest and name in self.folders:
            self.used.add(name)
            return f"{self.folders[name]}{rest}"
        if name not in self.names:
            message = f"stage {self.stage.name}: {unknown('name', name, self.names)}"
            raise DataError(self.recipe.path, message, line=self.stage.line)
        self.used.add(name)
        return f"{self.names[name]}{rest}" if rest else self.names[name]

    def words(self, values: Sequence[Any]) -> list[str]:
        """Values as words; lists are opened, null is left out."""
        found: list[str] = []
        for value in values:
            filled = self.value(value)
            if isinstance(filled, list):
                found += self.words(filled)
            elif filled is not None:
                found.append(str(filled))
        return found

    def flags(self, flags: Mapping[str, Any]) -> list[str]:
        """Flags with their values, in the order declared."""
        words: list[str] = []
        for flag, value in flags.items():
            filled = self.value(value)
            if isinstance(filled, Mapping):
                words += [flag, *self.flags(filled)]
            elif isinstance(filled, bool):
                words.append(f"--{flag}" if filled else f"--no-{flag}")
            elif filled is not None and filled != []:
                words += [f"--{flag}", *self.words(filled if isinstance(filled, list) else [filled])]
        return words
