"""Options: a dataclass per command, from which the argument parser, `--config FILE` and `--print-config` follow.

    @dataclass
    class ServeOptions:
        index: Path = option(help="directory with index and docid")
        hits: int = option(1000, help="documents per query")

`--hits` then means `hits`, in a YAML or JSON file given with `--config` too; flags win over the file, the file over the
defaults. Field types: str, int, float, bool, Path, `X | None`, `list[X]` and `Literal[...]`.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union

from .errors import DataError, UsageError, shorten, unknown
from .files import require_file

T = TypeVar("T")
_REQUIRED = dataclasses.MISSING
_LONGEST = 400
"""Characters of a message of argparse, which quotes whole values."""


def option(
    default: Any = _REQUIRED,
    *,
    help: str,
    flag: str | None = None,
    metavar: str | None = None,
    group: str | None = None,
    check: Callable[[Any], str | None] | None = None,
    positional: bool = False,
) -> Any:
    """A dataclass field that is also a command line option.

    Args:
        default: value when not given; left out, the option is required. Lists are copied.
        help: one line for `--help` (the default is appended).
        flag: spelling of the flag, if it is not `--` + the field name with `-` for `_`.
        metavar: name of the value in `--help`.
        group: heading in `--help`.
        check: returns what is wrong with a value, or None.
        positional: given by its place instead of a flag, in the order of the fields; a list has to be the last one.
    """
    metadata = {
        "help": help,
        "flag": flag,
        "metavar": metavar,
        "group": group,
        "check": check,
        "positional": positional,
    }
    if default is _REQUIRED:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, list):
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def at_least(minimum: float) -> Callable[[Any], str | None]:
    """A check: the value, or every value of a list, is at least `minimum`."""

    def check(value: Any) -> str | None:
        values = value if isinstance(value, list) else [value]
        return None if all(v >= minimum for v in values) else f"must be at least {minimum}"

    return check


def between(low: float, high: float) -> Callable[[Any], str | None]:
    """A check: `low <= value <= high`."""
    return lambda value: None if low <= value <= high else f"must lie between {low} and {high}"


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` where argparse would print its usage and exit."""

    def error(self, message: str) -> NoReturn:
        text = message if len(message) <= _LONGEST else message[:_LONGEST] + "…"
        raise UsageError(f"{text} (see {self.prog} --help)")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the layout of examples and leaves room for long flags."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def flag_of(field: dataclasses.Field) -> str:
    """How the user writes a field: `--batch-size` for `batch_size`, `NAME` for a positional one."""
    if field.metadata["positional"]:
        return field.metadata["metavar"] or field.name.upper()
    return field.metadata.get("flag") or "--" + field.name.replace("_", "-")


def _unpack(annotation: Any) -> tuple[Any, bool, bool, tuple | None]:
    """`(scalar type, is list, may be None, choices)` of a field's annotation."""
    optional = False
    if typing.get_origin(annotation) in (Union, types.UnionType):
        parts = [a for a in typing.get_args(annotation) if a is not type(None)]
        optional, annotation = True, parts[0]
    many = typing.get_origin(annotation) is list
    if many:
        annotation = typing.get_args(annotation)[0]
    choices = typing.get_args(annotation) if typing.get_origin(annotation) is Literal else None
    return (type(choices[0]) if choices else annotation), many, optional, choices


def option_fields(cls: type) -> list[tuple[dataclasses.Field, Any]]:
    """The fields of an options dataclass that are options, with their resolved annotations."""
    hints = typing.get_type_hints(cls)
    return [(f, hints[f.name]) for f in dataclasses.fields(cls) if "help" in f.metadata]


def _default_text(field: dataclasses.Field) -> str:
    if field.default is not _REQUIRED:
        value = field.default
    elif field.default_factory is not _REQUIRED:
        value = field.default_factory()
    else:
        return " (required)"
    if value is None or value is False or value == []:
        return ""
    return f" (default: {' '.join(map(str, value)) if isinstance(value, list) else value})"


def add_options(parser: argparse.ArgumentParser, cls: type) -> None:
    """Adds the options of `cls` to `parser`; values not given stay absent from the parsed namespace."""
    groups: dict[str, Any] = {}
    for field, annotation in option_fields(cls):
        scalar, many, _, choices = _unpack(annotation)
        meta = field.metadata
        target = parser
        if meta["group"]:
            target = groups.setdefault(meta["group"], None) or parser.add_argument_group(meta["group"])
            groups[meta["group"]] = target
        kwargs: dict[str, Any] = {
            "dest": field.name,
            "default": argparse.SUPPRESS,
            "help": (meta["help"] + _default_text(field)).replace("%", "%%"),
        }
        if meta["positional"]:  # optional here, because a configuration file may give it; `build` converts and asks
            target.add_argument(**kwargs, nargs="*" if many else "?", metavar=flag_of(field))
            continue
        if scalar is bool:
            kwargs["action"] = argparse.BooleanOptionalAction
        else:
            kwargs["type"] = scalar
            if choices:
                kwargs["choices"] = choices
            if many:
                kwargs["nargs"] = "+"
            if meta["metavar"] or not choices:
                kwargs["metavar"] = meta["metavar"] or flag_of(field).lstrip("-").replace("-", "_").upper()
        target.add_argument(flag_of(field), **kwargs)


def build(cls: type[T], values: Mapping[str, Any], *, source: str | None = None) -> T:
    """An instance of `cls` from `values`; missing required ones, wrong types and failed checks are `UsageError`s.

    Args:
        values: field name → value, of the field's type or (from a file) something that converts to it.
        source: the configuration file the values came from, for the message.
    """
    fields = {f.name: (f, a) for f, a in option_fields(cls)}
    for name in values:
        if name not in fields:
            message = unknown("option", name, fields)
            raise DataError(source, message) if source else UsageError(message)
    converted: dict[str, Any] = {}
    for name, (field, annotation) in fields.items():
        if name in values:
            value = _convert(values[name], annotation, flag_of(field), source)
            problem = field.metadata["check"](value) if field.metadata["check"] and value is not None else None
            if problem:
                raise UsageError(f"{flag_of(field)} {value}: {problem}")
            converted[name] = value
        elif field.default is _REQUIRED and field.default_factory is _REQUIRED:
            raise UsageError(f"{flag_of(field)} is required")
    return cls(**converted)


def _convert(value: Any, annotation: Any, flag: str, source: str | None) -> Any:
    scalar, many, optional, choices = _unpack(annotation)

    def fail() -> NoReturn:
        wanted = f"one of {', '.join(map(str, choices))}" if choices else getattr(scalar, "__name__", str(scalar))
        raise UsageError(
            f"{f'{source}: ' if source else ''}{flag} {shorten(value)}: expected {'a list of ' if many else ''}{wanted}"
        )

    def one(item: Any) -> Any:
        if isinstance(item, bool) is not (scalar is bool):
            fail()
        if scalar is int and isinstance(item, float) and not item.is_integer():
            fail()
        if scalar in (str, Path) and not isinstance(item, str | int | float | Path):
            fail()
        if scalar in (str, Path) and "\0" in str(item):  # no path holds one, and no system call takes it
            fail()
        try:
            item = scalar(item)
        except (TypeError, ValueError):
            fail()
        if choices and item not in choices:
            fail()
        return item

    if value is None:
        if optional:
            return None
        fail()
    if many:
        return [one(item) for item in (value if isinstance(value, list) else [value])]
    return one(value)


def read_config(path: Path) -> dict[str, Any]:
    """The mapping in a YAML (or JSON) configuration file; keys may use `-` or `_`."""
    import yaml

    path = require_file(path, "configuration file")
    try:
        value = yaml.safe_load(path.read_text("utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise DataError(path, f"invalid YAML: {error.problem}", line=line) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # not UTF-8, a date that is none, too deep
        raise DataError(path, f"invalid YAML: {error}") from error
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise DataError(path, "expected a mapping of option names to values")
    return {key.replace("-", "_"): item for key, item in value.items()}


def as_dict(options: Any) -> dict[str, Any]:
    """Options as JSON-ready values, in field order."""

    def plain(value: Any) -> Any:
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return {field.name: plain(getattr(options, field.name)) for field, _ in option_fields(type(options))}


def dump_config(options: Any) -> str:
    """Options as YAML that `--config` reads back."""
    import yaml

    return yaml.safe_dump(as_dict(options), sort_keys=False, allow_unicode=True)


def parse(parser: argparse.ArgumentParser, cls: type[T], argv: Sequence[str]) -> tuple[T | None, str | None]:
    """Parses `argv` with `--config` and `--print-config`; returns `(options, None)` or `(None, text to print)`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML or JSON file with option values; flags win")
    parser.add_argument("--print-config", action="store_true", help="print the resolved options as YAML and stop")
    add_options(parser, cls)
    given = vars(parser.parse_intermixed_args(argv))  # flags may stand between positional arguments
    config, print_config = given.pop("config"), given.pop("print_config")
    values: dict[str, Any] = {}
    if config is not None:
        values = read_config(config)
        known = {field.name for field, _ in option_fields(cls)}
        for name in values:
            if name not in known:
                raise DataError(config, unknown("option", name, known))
    options = build(cls, {**values, **given})
    return (None, dump_config(options)) if print_config else (options, None)
