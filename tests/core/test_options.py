"""Options dataclasses: flags, positional arguments, configuration files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.core.options import HelpFormatter, Parser, at_least, option, parse


@dataclass
class BuildOptions:
    name: str = option(help="what to build", positional=True)
    directory: Path = option(help="where", positional=True, metavar="DIR")
    kind: Literal["big", "small"] = option("big", help="size")
    count: int | None = option(None, help="how many", check=at_least(1))
    words: list[str] = option(["a"], help="some words")
    overwrite: bool = option(False, help="replace")


def run(*argv: str) -> BuildOptions:
    options, text = parse(Parser(prog="build", formatter_class=HelpFormatter), BuildOptions, argv)
    assert options is not None, text
    return options


@pytest.mark.parametrize(
    "argv",
    [
        ("pydocs", "out", "--overwrite", "--count", "3"),
        ("--overwrite", "--count", "3", "pydocs", "out"),
        ("pydocs", "--overwrite", "out", "--count", "3"),
        ("--count=3", "pydocs", "--overwrite", "out"),
    ],
)
def test_positionals_may_stand_anywhere(argv: tuple[str, ...]) -> None:
    options = run(*argv)
    assert options == BuildOptions("pydocs", Path("out"), count=3, words=["a"], overwrite=True)


@dataclass
class Several:
    kind: str = option(help="of what", positional=True)
    paths: list[str] = option([], help="where", positional=True)
    flag: bool = option(False, help="whether")


@pytest.mark.parametrize(
    ("argv", "paths"),
    [
        (("a",), []),
        (("a", "b"), ["b"]),
        (("a", "--flag", "b", "c"), ["b", "c"]),
        (("a", "b", "--flag", "c"), ["b", "c"]),
    ],
)
def test_several_positionals(argv: tuple[str, ...], paths: list[str]) -> None:
    options, _ = parse(Parser(prog="it"), Several, argv)
    assert (options.kind, options.paths) == ("a", paths)


def test_positional_from_config_and_flag_wins(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("name: pydocs\ndirectory: here\ncount: 2\n")
    assert run("--config", str(config)) == BuildOptions("pydocs", Path("here"), count=2, words=["a"])
    assert run("other", "--config", str(config), "--count", "5").name == "other"
    assert run("other", "--config", str(config), "--count", "5").count == 5


def test_print_config_reads_back(tmp_path: Path) -> None:
    _, text = parse(Parser(prog="build"), BuildOptions, ["pydocs", "out", "--words", "b", "c", "--print-config"])
    assert text is not None
    config = tmp_path / "c.yaml"
    config.write_text(text)
    assert run("--config", str(config)) == BuildOptions("pydocs", Path("out"), words=["b", "c"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "NAME is required"),
        (("pydocs",), "DIR is required"),
        (("pydocs", "out", "extra"), "unrecognized arguments: extra"),
        (("pydocs", "out", "--count", "0"), "--count 0: must be at least 1"),
        (("pydocs", "out", "--kind", "huge"), "invalid choice: 'huge'"),
        (("pydocs", "out", "--cuont", "2"), "unrecognized arguments: --cuont"),
    ],
)
def test_usage_errors_name_the_argument(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(*argv)
    assert message in str(caught.value)
    assert caught.value.exit_status == 2


def test_unknown_key_in_config_names_file(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("nmae: pydocs\n")
    with pytest.raises(DataError, match=r"c\.yaml: unknown option 'nmae'; did you mean 'name'"):
        run("--config", str(config))


def test_help_shows_positionals() -> None:
    parser = Parser(prog="build", formatter_class=HelpFormatter)
    parse(parser, BuildOptions, ["a", "b"])
    text = parser.format_help()
    assert "NAME" in text and "DIR" in text and "what to build (required)" in text
