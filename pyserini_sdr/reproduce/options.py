"""The flags of `reproduce`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from ..core.options import option


@dataclass
class ReproduceOptions:
    """Which part of which matrix, where, and what is shown of it."""

    name: str | None = option(None, help="a matrix of --list", positional=True, metavar="NAME")
    file: Path | None = option(None, help="a matrix of your own, in place of NAME", metavar="FILE.yaml")
    listing: bool = option(False, flag="--list", help="print the matrices, or NAME in detail, and stop")
    condition: list[str] | None = option(None, help="only these conditions (default: all)", metavar="NAME")
    topics: list[str] | None = option(
        None, help="only these topics (default: all whose settings are given)", metavar="NAME"
    )
    output: Path | None = option(None, help="work directory (default: reproduce-NAME)", metavar="DIR")
    set: list[str] | None = option(None, help="settings of the matrix, as NAME=VALUE", metavar="NAME=VALUE")
    dry_run: bool = option(False, help="print the exact commands and which of them are done, and stop")
    display: bool = option(False, help="run nothing; print what was measured so far against what is expected")
    html: Path | None = option(
        None, help="write the table as a page, with the commands of every condition", metavar="FILE"
    )
    overwrite: bool = option(False, help="make steps again whose command or inputs have changed")

    def __post_init__(self) -> None:
        for flag, given in (("--display", self.display), ("--html", self.html is not None)):
            if self.dry_run and given:
                raise UsageError(
                    f"--dry-run prints commands and stops, so that {flag} would show nothing; give one of them"
                )
