"""A recipe as its file declares it: settings, and stages that are commands of this package with their flags.

    summary: BM25 negatives, then the encoder's own
    paper: where it is from
    settings: {steps: 100, teacher: null}
    defaults:
      train: {max-steps: "{steps}"}        # flags of every stage of that command
    stages:
      - name: negatives
        do: mine
        with: {bm25-index: "{bm25}", negatives: 8}
      - name: student
        do: train
        with: {groups: "{negatives}"}
    result: student

`- use: NAME` takes a stage of `base.yaml`, to which `with` adds; `name` may call it otherwise.
`{name}` stands for a setting, for `collection` and `encoder`, for what the latest stage of that name made, or, as
`{here}`, for the stage's own folder; `{name/file}` for a file in the folder of a stage. A value that is null leaves the
flag out. `unless: setting` drops a stage if that setting is given, which then stands for what it would have made.
`repeat: N` with `stages:` does these N times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import DataError, UsageError, shorten, unknown
from ..core.files import require_file
from .commands import CHECKPOINTS, COMMANDS

CATALOG = "catalog"
"""Folder of the recipes that come with the package; `base.yaml` in it holds what all recipes share."""
_BASE = "base"
RESERVED = ("collection", "encoder", "here", "output", "do", "use", "repeat", "line")
"""Names that are no settings and no stages."""


@dataclass(frozen=True)
class Stage:
    """One command.

    Args:
        name: what later stages call what it makes.
        command: as typed after `python -m pyserini_sdr.`: `mine`, `index bm25`.
        flags: flag without dashes → value, in which `{names}` stand for others; a mapping is a group of flags under
            its word, as `encode` has them.
        arguments: positional values.
        unless: name of the setting that stands for this stage if it is given.
        line: where the file declares it.
    """

    name: str
    command: str
    flags: Mapping[str, Any] = field(default_factory=dict)
    arguments: Sequence[Any] = ()
    unless: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Repeat:
    """Stages that are done several times; `times` is a number or names a setting."""

    times: Any
    stages: Sequence[Stage]
    line: int | None = None


@dataclass(frozen=True)
class Recipe:
    """A declared system.

    Args:
        name: of the file, without its ending.
        path: the file.
        summary: one line.
        paper: where the system is from.
        ours: where this reading departs from it.
        needs: what must be at hand beyond collection and encoder, one line each.
        settings: name → default.
        defaults: command → flags of all its stages.
        stages: in order.
        result: the stage whose checkpoint is the recipe's.
    """

    name: str
    path: Path
    summary: str
    paper: str
    ours: str
    needs: Sequence[str]
    settings: Mapping[str, Any]
    defaults: Mapping[str, Mapping[str, Any]]
    stages: Sequence[Stage | Repeat]
    result: str


def all_stages(recipe: Recipe) -> list[Stage]:
    """The stages of a recipe, those of a repeat once."""
    return [stage for entry in recipe.stages for stage in (entry.stages if isinstance(entry, Repeat) else [entry])]


def catalogued() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files(__package__) / CATALOG
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name != f"{_BASE}.yaml")


def load_recipe(name: str) -> Recipe:
    """A recipe of the package by its name, or one of the user's by the path of its YAML file.

    Raises:
        UsageError: no such recipe.
        DataError: the file does not declare one; with the line.
    """
    folder = Path(str(resources.files(__package__) / CATALOG))
    if name.endswith((".yaml", ".yml")):
        path = require_file(name, "recipe")
    elif name in catalogued():
        path = folder / f"{name}.yaml"
    else:
        raise UsageError(f"{unknown('recipe', name, catalogued())} (or give the path of a .yaml file)")
    base, value = (
        read_yaml(file, "a recipe: a mapping with summary, settings and stages")
        for file in (folder / f"{_BASE}.yaml", path)
    )
    return _recipe(path, value, base)


class _Lines(yaml.SafeLoader):
    """Keeps the line of each stage, for messages."""


def _mapping_with_line(loader: _Lines, node: yaml.MappingNode) -> dict[Any, Any]:
    value = loader.construct_mapping(node, deep=True)
    if {"do", "use", "repeat"} & set(value):
        value["line"] = node.start_mark.line + 1
    return value


_Lines.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_with_line)


def read_yaml(path: Path, expected: str) -> dict[str, Any]:
    """The mapping in a YAML file; `DataError` with the line, saying what was `expected`, if it holds none."""
    try:
        value = yaml.load(path.read_text("utf-8"), _Lines)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DataError(path, f"invalid YAML: {error.problem}", line=line) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # not UTF-8, a date that is none, too deep
        raise DataError(path, f"invalid YAML: {error}") from error
    if not isinstance(value, dict):
        raise DataError(path, f"expected {expected}")
    return value


def _recipe(path: Path, value: dict[str, Any], base: dict[str, Any]) -> Recipe:
    known = {"summary", "paper", "ours", "needs", "settings", "defaults", "stages", "result"}
    for key in value:
        if key not in known:
            raise DataError(path, unknown("key", str(key), known))
    settings = {**mapping_in(path, base, "settings"), **mapping_in(path, value, "settings")}
    for name in settings:
        if name in RESERVED or not str(name).isidentifier():
            raise DataError(path, f"settings: {name!r} cannot be the name of a setting")
    defaults = mapping_in(path, base, "defaults")
    for command, flags in mapping_in(path, value, "defaults").items():
        if command not in COMMANDS:
            raise DataError(path, f"defaults: {unknown('command', str(command), COMMANDS)}")
        if not isinstance(flags, dict):
            raise DataError(path, f"defaults: {command}: expected flags and values, found {shorten(flags, 60)}")
        defaults[command] = {**defaults.get(command, {}), **flags}
    shared = mapping_in(path, base, "stages")
    stages = _stages(path, value.get("stages"), settings, shared)
    result = value.get("result")
    every = [stage for entry in stages for stage in (entry.stages if isinstance(entry, Repeat) else [entry])]
    makers = [stage.name for stage in every if stage.command in CHECKPOINTS and stage.unless is None]
    if result not in makers:
        raise DataError(path, f"result: {unknown('stage that always makes a checkpoint', str(result), makers)}")
    return Recipe(
        path.stem,
        path,
        summary=text_in(path, value, "summary"),
        paper=text_in(path, value, "paper"),
        ours=text_in(path, value, "ours"),
        needs=texts_in(path, value.get("needs") or [], "needs"),
        settings=settings,
        defaults=defaults,
        stages=stages,
        result=result,
    )


def text_in(path: Path, value: Mapping[str, Any], key: str) -> str:
    """The text that a key of a YAML file holds, white space made one space each; empty if it is not there."""
    text = value.get(key, "")
    if not isinstance(text, str):
        raise DataError(path, f"{key}: expected text, found {shorten(text, 60)}")
    return " ".join(text.split())


def texts_in(path: Path, value: Any, key: str, line: int | None = None) -> list[str]:
    """`value` of a key of a YAML file, which must be a list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(path, f"{key}: expected a list of texts, found {shorten(value, 60)}", line=line)
    return value


def mapping_in(path: Path, value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mapping that a key of a YAML file holds; empty if it is not there."""
    found = value.get(key) or {}
    if not isinstance(found, dict):
        raise DataError(path, f"{key}: expected a mapping, found {shorten(found, 60)}")
    return dict(found)


def _stages(path: Path, value: Any, settings: Mapping[str, Any], shared: Mapping[str, Any]) -> list[Stage | Repeat]:
    if not isinstance(value, list) or not value:
        raise DataError(path, "stages: expected a list of stages")
    stages: list[Stage | Repeat] = []
    for item in value:
        if not isinstance(item, dict) or not ({"do", "use", "repeat"} & set(item)):
            raise DataError(path, f"stages: expected name, do and with, found {shorten(item, 60)}")
        if "repeat" in item:
            inner = _stages(path, item.get("stages"), settings, shared)
            if any(isinstance(entry, Repeat) for entry in inner) or set(item) - {"repeat", "stages", "line"}:
                raise DataError(path, "a repeat holds stages and nothing else", line=item["line"])
            stages.append(Repeat(item["repeat"], [entry for entry in inner if isinstance(entry, Stage)], item["line"]))
        else:
            stages.append(_stage(path, _opened(path, item, shared), settings))
    return stages


def _opened(path: Path, item: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any]:
    """A stage with what it takes from `base.yaml` put in."""
    if "use" not in item:
        return item
    name = item["use"]
    if not isinstance(name, str) or name not in shared:
        raise DataError(path, f"use: {unknown('stage of base.yaml', str(name), shared)}", line=item["line"])
    flags = {**(shared[name].get("with") or {}), **(item.get("with") or {})}
    rest = {key: value for key, value in item.items() if key != "use"}
    return {"name": name, **shared[name], **rest, "with": flags}


def _stage(path: Path, item: dict[str, Any], settings: Mapping[str, Any]) -> Stage:
    line = item["line"]
    extra = set(item) - {"name", "do", "with", "arguments", "unless", "line"}
    if extra:
        raise DataError(path, f"stage: {unknown('key', min(extra), ['name', 'do', 'with', 'unless'])}", line=line)
    name, command, flags = item.get("name"), item["do"], item.get("with") or {}
    if not isinstance(name, str) or not name.replace("-", "_").isidentifier() or name in (*RESERVED, *settings):
        raise DataError(path, f"stage: {shorten(name)} cannot be the name of a stage", line=line)
    if not isinstance(command, str) or command not in COMMANDS:
        raise DataError(path, unknown("command", str(command), COMMANDS), line=line)
    if not isinstance(flags, dict):
        raise DataError(path, f"with: expected flags and values, found {shorten(flags, 60)}", line=line)
    unless = item.get("unless")
    if unless is not None and (not isinstance(unless, str) or unless not in settings):
        raise DataError(path, f"unless: {unknown('setting', str(unless), settings)}", line=line)
    return Stage(name, command, flags, texts_in(path, item.get("arguments") or [], "arguments", line), unless, line)
