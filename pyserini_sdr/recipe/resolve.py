"""From a recipe and the user's settings to the exact commands."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, shorten, unknown
from .commands import COMMANDS, refuse_flags
from .definition import Recipe, Repeat, Stage, all_stages

_NAME = re.compile(r"\{([A-Za-z0-9_-]+)(/[^{}]+)?\}")
_MOST = 1000
"""Times that stages can be repeated: all are written down before the first begins."""


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
        manifest: what the command writes last.
        uses: numbers of the steps whose results are among the words.
    """

    number: int
    name: str
    command: str
    argv: Sequence[str]
    folder: Path
    made: Path
    manifest: Path
    uses: Sequence[int]

    @property
    def module_words(self) -> Sequence[str]:
        """The words after the module's name, whatever starts it."""
        start = next(place for place, word in enumerate(self.argv) if word.startswith("pyserini_sdr."))
        return self.argv[start + 1 :]

    @property
    def own_words(self) -> Sequence[str]:
        """The words after the command's name, sub-command included."""
        sub = [word for word in self.command.split()[1:] if not word.startswith("--")]
        return self.module_words[len(sub) :]

    @property
    def finished(self) -> bool:
        """Whether what it makes is there and whole."""
        return self.manifest.exists() and self.made.exists()

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
    stages = {stage.name: stage.command for stage in all_stages(recipe)}
    stand_ins = {stage.unless for stage in all_stages(recipe)}
    owners, used = {*stages, *stages.values()}, mentioned(recipe)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {text}: expected NAME=VALUE, COMMAND.flag=VALUE or STAGE.flag=VALUE")
        parsed = _read(value)
        owner, dot, flag = name.partition(".")
        if dot:
            if owner not in owners:
                raise UsageError(f"--set {text}: {unknown('command or stage', owner, owners)}")
            flags.setdefault(owner, {})[flag] = parsed
        elif name not in settings or name not in used:
            raise UsageError(f"--set {text}: {unknown(f'setting of recipe {recipe.name}', name, used & set(settings))}")
        elif name in stand_ins and isinstance(parsed, str) and os.sep not in parsed and Path(parsed).exists():
            settings[name] = f"{os.curdir}{os.sep}{parsed}"  # a path, not the name of scores in groups
        else:
            settings[name] = parsed
    return settings, flags


def _read(value: str) -> Any:
    """A value as it is meant: nothing, true or false, a whole number, a list in brackets, or text as it stands."""
    if value in ("", "null"):
        return None
    if value in ("true", "false"):
        return value == "true"
    if re.fullmatch(r"-?(0|[1-9]\d{,99})", value):
        return int(value)
    if value.startswith("[") and value.endswith("]"):
        return [_read(item.strip()) for item in value[1:-1].split(",") if item.strip()]
    return value


def mentioned(recipe: Recipe) -> set[str]:
    """Names that the stages of a recipe mention."""
    found = {str(entry.times) for entry in recipe.stages if isinstance(entry, Repeat)}
    for stage in all_stages(recipe):
        texts = str([stage.flags, recipe.defaults.get(stage.command, {}), stage.arguments])
        found |= {match[1] for match in _NAME.finditer(texts)} | {stage.unless or ""}
    return found


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
        if name in COMMANDS and name in {stage.name for stage in all_stages(recipe)}:
            raise UsageError(f"--set {name}.…: is a command and a stage; the recipe should name the stage otherwise")
    names: dict[str, Any] = {"collection": collection, "encoder": encoder, "output": str(output)}
    for name, value in values.items():  # a setting may stand for the encoder, as `"{encoder}"`
        names[name] = names.get(value[1:-1], value) if isinstance(value, str) and _NAME.fullmatch(value) else value
    origin: dict[str, int] = {}
    folders: dict[str, Path] = {}
    steps: list[Step] = []
    for stage in _unrolled(recipe, values):
        if stage.unless is not None and names[stage.unless] is not None:
            if stage.name in given:
                raise UsageError(f"--set {stage.name}.…: the stage is left out, because {stage.unless} is given")
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
        try:
            refuse_flags(stage.command, flags)
        except UsageError as error:
            raise UsageError(f"recipe {recipe.name}, stage {stage.name}: {error}") from error
        own = {what.flag: str(made)}
        flags = flags | ({what.group: {**own, **(flags.get(what.group) or {})}} if what.group else own)
        module, *sub = (word for word in stage.command.split() if word != f"--{what.flag}")
        words = [f"pyserini_sdr.{module}", *sub, *filler.words(stage.arguments), *filler.flags(flags)]
        if processes > 1 and what.parallel:
            words = ["torch.distributed.run", "--nproc-per-node", str(processes), "-m", *words]
        uses = sorted({origin[name] for name in filler.used if name in origin})
        steps.append(Step(number, stage.name, stage.command, words, folder, made, folder / what.manifest, uses))
        names[stage.name], origin[stage.name], folders[stage.name] = str(made), number, folder
    said = [_read(text.partition("=")[2]) for text in settings]
    own = {
        collection,
        encoder,
        *(str(item) for value in said for item in (value if isinstance(value, list) else [value])),
    }
    return Plan(steps, Path(names[recipe.result]), values, frozenset(own))


def _unrolled(recipe: Recipe, settings: Mapping[str, Any]) -> Iterator[Stage]:
    for entry in recipe.stages:
        if isinstance(entry, Stage):
            yield entry
            continue
        times = settings.get(entry.times, entry.times) if isinstance(entry.times, str) else entry.times
        if isinstance(times, bool) or not isinstance(times, int) or times < 1:
            raise UsageError(f"recipe {recipe.name}: {entry.times} must be a whole number from 1, not {shorten(times)}")
        if times > _MOST:
            raise UsageError(f"recipe {recipe.name}: {entry.times} is {times}: a repeat ends after {_MOST} times")
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
        if rest and ".." in rest.split("/"):
            message = f"stage {self.stage.name}: {{{name}{rest}}} leads out of the folder of {name}"
            raise DataError(self.recipe.path, message, line=self.stage.line)
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
            items = filled if isinstance(filled, list) else [filled]
            found += [str(item) for item in items if item is not None]
        for word in found:
            if word.startswith("--"):
                raise UsageError(f"recipe {self.recipe.name}, stage {self.stage.name}: {word} is a flag, not a value")
        return found

    def flags(self, flags: Mapping[str, Any]) -> list[str]:
        """Flags with their values, in the order declared."""
        words: list[str] = []
        for flag, value in flags.items():
            if isinstance(value, Mapping):
                words += [flag, *self.flags(value)]
                continue
            alone = self.value(value) if isinstance(value, str) and _NAME.fullmatch(value) else value
            if isinstance(alone, bool):
                words.append(f"--{flag}" if alone else f"--no-{flag}")
            elif given := self.words(value if isinstance(value, list) else [value]):
                words += [f"--{flag}", *given]
        return words
