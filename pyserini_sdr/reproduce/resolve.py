"""From a matrix, and the part of it that is wanted, to the exact commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, unknown
from ..recipe.commands import COMMANDS, Made
from ..recipe.resolve import Plan, Step
from .definition import Condition, Matrix, Topics

_NAME = re.compile(r"\{([A-Za-z0-9_-]+)(?:/([^{}]+))?\}")
STOCK = "anserini"
"""The command under which stock Pyserini runs; its runs get their manifest from us."""
_RUN = Made("run.trec", "run.trec.json")
_MADE = {
    **COMMANDS,
    "collection build": Made("collection", "collection/collection.json"),
    "index build": Made("index", "index/sdr_index.json"),
    "search hybrid": _RUN,
    "search rerank": _RUN,
    "run fuse": _RUN,
    "recipe": Made("recipe/checkpoint", "recipe/sdr_recipe.json"),
    STOCK: _RUN,
}
"""Command as typed after `python -m pyserini_sdr.` → what it makes."""


@dataclass(frozen=True)
class Cell:
    """A condition on one set of topics.

    Args:
        condition, topics: as declared.
        qrels, topics_text: file or stock name, filled in.
        corpus: directory or file whose hash the expected scores are bound to, with that hash; None if to none.
        downloads: `kind:name`.
        run: the step that makes its run.
        steps: numbers of all steps that it takes, in order; the run's is the last.
    """

    condition: Condition
    topics: Topics
    topics_text: str
    qrels: str
    corpus: tuple[str, str] | None
    downloads: Sequence[str]
    run: Step
    steps: Sequence[int]

    @property
    def name(self) -> str:
        """Condition and topics, as a file name."""
        return f"{self.condition.name}.{self.topics.name}"


def parse_settings(matrix: Matrix, given: Sequence[str]) -> dict[str, Any]:
    """The settings of a matrix, with `["name=value"]` put in; `UsageError` for one that it does not have."""
    settings = dict(matrix.settings)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: expected NAME=VALUE")
        if name not in settings:
            raise UsageError(f"--set {text}: {unknown(f'setting of {matrix.name}', name, settings)}")
        settings[name] = value
    return settings


def select(kind: str, known: Mapping[str, Any], wanted: Sequence[str] | None) -> list[str]:
    """The names that are wanted, all if none are named; `UsageError` for an unknown one."""
    for name in wanted or ():
        if name not in known:
            raise UsageError(unknown(kind, name, known))
    return [name for name in known if not wanted or name in wanted]


def resolve(
    matrix: Matrix,
    output: Path,
    *,
    conditions: Sequence[str] | None = None,
    topics: Sequence[str] | None = None,
    settings: Sequence[str] = (),
) -> tuple[Plan, list[Cell]]:
    """The commands, and the cells that they fill.

    Args:
        matrix: as declared.
        output: folder of the whole; each step has one in it.
        conditions, topics: names of those wanted; all if None, but for topics that lack a setting.
        settings: `["name=value"]`.

    Raises:
        UsageError: an unknown name, or a setting that is missing.
        DataError: a command of the matrix names what is not there.
    """
    values = parse_settings(matrix, settings)
    resolver = _Resolver(matrix, output, values)
    rows = [matrix.conditions[name] for name in select("condition", matrix.conditions, conditions)]
    columns, lacking = [], {}
    for column in (matrix.topics[name] for name in select("topics", matrix.topics, topics)):
        missing = sorted({name for row in rows for name in resolver.missing(row, column)})
        if not missing:
            columns.append(column)
        elif topics:
            raise UsageError(f"topics {column.name}: give {' '.join(f'--set {name}=…' for name in missing)}")
        lacking.update(dict.fromkeys(missing))
    if not columns:
        raise UsageError(
            f"matrix {matrix.name}: give {' '.join(f'--set {name}=…' for name in lacking)}, or some of them"
        )
    cells = [resolver.cell(row, column) for row in rows for column in columns]
    given = frozenset(text.partition("=")[2] for text in settings)
    return Plan(resolver.steps, output, values, given), cells


class _Resolver:
    """Makes the steps of cells, each once."""

    def __init__(self, matrix: Matrix, output: Path, settings: Mapping[str, Any]) -> None:
        self.matrix, self.output, self.settings = matrix, output, settings
        self.steps: list[Step] = []
        self._made: dict[str, Step] = {}
        self._cells: dict[str, Cell] = {}
        self._under_way: list[str] = []

    def missing(self, row: Condition, column: Topics) -> set[str]:
        """Settings without a value that a cell uses."""
        texts = [row.search, column.topics, column.qrels, *row.downloads]
        return {name for text in texts for name in self._mentioned(text, row, column) if self._lacks(name, row, column)}

    def _lacks(self, name: str, row: Condition, column: Topics) -> bool:
        return name in self.settings and self._values(row, column)[name] is None

    def cell(self, row: Condition, column: Topics) -> Cell:
        """A cell; its steps are made first."""
        name = f"{row.name}.{column.name}"
        if name not in self._cells:
            run = self._step(f"run.{name}", f"{row.display} on {column.name}", row.search, row, column)
            values = self._values(row, column)
            corpus = values.get("corpus") if column.collection else None
            filled = [
                self._fill(text, row, column, {}) for text in (column.topics, column.qrels, "{path}" if corpus else "")
            ]
            downloads = [self._fill(text, row, column, {}) for text in row.downloads]
            bound = (filled[2], str(corpus)) if corpus else None
            self._cells[name] = Cell(row, column, filled[0], filled[1], bound, downloads, run, self._all_of(run))
        return self._cells[name]

    def _values(self, row: Condition, column: Topics) -> dict[str, Any]:
        collection = self.matrix.collections[column.collection] if column.collection else {}
        own = {"topics": column.topics, "qrels": column.qrels, "output": str(self.output)}
        return {**self.settings, **collection, **row.values, **own}

    def _mentioned(
        self, text: Any, row: Condition, column: Topics, seen: frozenset[str] = frozenset()
    ) -> Iterator[str]:
        """Names in a text, in those that they stand for, and so on."""
        if not isinstance(text, str):
            return
        values = self._values(row, column)
        for match in _NAME.finditer(text):
            name, rest = match.groups()
            if name == "runs" and rest in self.matrix.conditions:
                other = self.matrix.conditions[rest]
                if rest not in seen:
                    yield from self._mentioned(other.search, other, column, seen | {rest})
                continue
            yield name
            if name in seen:
                continue
            yield from self._mentioned(values.get(name, self.matrix.steps.get(name)), row, column, seen | {name})

    def _folder(self, name: str, row: Condition, column: Topics) -> str:
        """A step's folder: its name, with those of the collection and the condition's values that it depends on."""
        mentioned = set(self._mentioned(self.matrix.steps[name], row, column))
        collection = self.matrix.collections[column.collection] if column.collection else {}
        parts = [name]
        if mentioned & {"topics", "qrels"}:
            parts.append(column.name)
        elif mentioned & set(collection) and column.collection:
            parts.append(column.collection)
        parts += [re.sub(r"[^\w.-]+", "-", str(row.values[key])).strip("-.") for key in row.values if key in mentioned]
        return ".".join(filter(None, parts))

    def _step(self, folder: str, title: str, command: str, row: Condition, column: Topics) -> Step:
        if folder in self._made:
            return self._made[folder]
        if folder in self._under_way:
            raise DataError(self.matrix.path, f"{folder} needs itself: {' → '.join([*self._under_way, folder])}")
        self._under_way.append(folder)
        words = shlex.split(command)
        kind = self._kind(folder, words)
        here, what = self.output / folder, _MADE[kind]
        uses: dict[str, Step] = {}
        names = {"here": str(here), "made": str(here / what.name)}
        filled = [self._fill(word, row, column, names, uses) for word in words]
        self._under_way.pop()
        argv = [f"pyserini_sdr.{filled[0]}", *filled[1:]]
        numbers = sorted(step.number for step in uses.values())
        number = len(self.steps) + 1
        step = Step(number, title, kind, argv, here, here / what.name, here / what.manifest, numbers)
        self.steps.append(step)
        self._made[folder] = step
        return step

    def _kind(self, folder: str, words: Sequence[str]) -> str:
        """The key of what a command makes: the longest whose words it begins with and whose flags it has."""
        fits = [
            key
            for key in _MADE
            if all(
                part in words if part.startswith("--") else words[i : i + 1] == [part]
                for i, part in enumerate(key.split())
            )
        ]
        if not fits:
            problem = unknown("command", " ".join(words[:2]), _MADE)
            raise DataError(self.matrix.path, f"{folder}: {problem}")
        return max(fits, key=len)

    def _fill(
        self,
        text: str,
        row: Condition,
        column: Topics,
        names: Mapping[str, str],
        uses: dict[str, Step] | None = None,
        seen: tuple[str, ...] = (),
    ) -> str:
        """A text with its names filled in; the steps that it takes are made and put into `uses`."""
        values = self._values(row, column)

        def named(match: re.Match[str]) -> str:
            name, rest = match.groups()
            step = None
            if name == "runs" and rest in self.matrix.conditions:
                step, rest = self.cell(self.matrix.conditions[rest], column).run, None
            elif name in names:
                filled = names[name]
            elif name in values and name not in seen:
                filled = self._fill(str(values[name]), row, column, names, uses, (*seen, name))
            elif name in self.matrix.steps:
                step = self._step(
                    folder := self._folder(name, row, column), folder, self.matrix.steps[name], row, column
                )
            else:
                known = {*names, *values, *self.matrix.steps, *(f"runs/{other}" for other in self.matrix.conditions)}
                problem = unknown("name", f"{name}/{rest}" if rest else name, known)
                raise DataError(self.matrix.path, f"condition {row.name} on {column.name}: {text}: {problem}")
            if step is not None:
                filled = str(step.made)
                if uses is not None:
                    uses[step.folder.name] = step
            return f"{filled}/{rest}" if rest else filled

        return _NAME.sub(named, text)

    def _all_of(self, run: Step) -> list[int]:
        """Numbers of a step and of all that it takes, in order."""
        found, left = set(), [run.number]
        while left:
            number = left.pop()
            if number not in found:
                found.add(number)
                left += self.steps[number - 1].uses
        return sorted(found)
