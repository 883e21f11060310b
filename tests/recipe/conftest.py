"""What tests of recipes share."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyserini_sdr.core.command import load
from pyserini_sdr.core.errors import SdrError
from pyserini_sdr.recipe.commands import COMMANDS
from pyserini_sdr.recipe.engine import recipe
from pyserini_sdr.recipe.options import RecipeOptions


class InThisProcess:
    """Runs `python -m WORDS` here, without the seconds that a process takes to start.

    Args:
        bm25: a BM25 index of the collection, which stands for making one again.
    """

    def __init__(self, bm25: Path) -> None:
        self.bm25 = bm25

    def __call__(self, words: Sequence[str]) -> int:
        if list(words[:2]) == ["pyserini_sdr.index", "bm25"]:
            shutil.copytree(self.bm25, words[-1])
            return 0
        return in_this_process(words)


def in_this_process(words: Sequence[str]) -> int:
    """What `python -m WORDS` does; returns its exit status."""
    command = load(f"{words[0]}.__main__:COMMAND")
    try:
        return command.execute(f"python -m {words[0]}", list(words[1:])) or 0
    except SdrError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status


class Fake:
    """Stands for the commands: makes files that say which words made them, with their manifests.

    Attributes:
        ran: the words of each command so far.
        statuses: stage (folder) → exit status, where it is not 0.
        before_manifest: stages that make their file, and are cut before its manifest.
    """

    def __init__(self) -> None:
        self.ran: list[list[str]] = []
        self.statuses: dict[str, int] = {}
        self.before_manifest: set[str] = set()

    def __call__(self, words: Sequence[str]) -> int:
        self.ran.append(list(words))
        made, manifest = made_by(words)
        stage = self.stages[-1]
        if stage in self.statuses:
            return self.statuses[stage]
        if made.suffix:
            assert not made.exists()
            made.write_text(json.dumps(list(words)), "utf-8")
        else:
            made.mkdir(exist_ok=True)
        if stage in self.before_manifest:
            return 130
        manifest.write_text("{}", "utf-8")
        return 0

    @property
    def stages(self) -> list[str]:
        """Folders of the stages that ran."""
        return [made_by(words)[0].parent.name for words in self.ran]


def made_by(words: Sequence[str]) -> tuple[Path, Path]:
    """What a command makes, and the manifest that it writes last."""
    fits = [
        what
        for command, what in COMMANDS.items()
        if [f"pyserini_sdr.{command.split()[0]}", *command.split()[1:]] == list(words[: len(command.split())])
    ]
    what = fits[-1]  # the longer name, as `teach --train`
    folder = Path(words[words.index(f"--{what.flag}") + 1]).parent
    return folder / what.name, folder / what.manifest


@pytest.fixture
def fake() -> Fake:
    return Fake()


def run_recipe(name: str, collection: Path, encoder: Path, output: Path, execute, settings=(), **options) -> None:
    """A recipe with the options of the command."""
    given = RecipeOptions(name, str(collection), str(encoder), output, set=list(settings) or None, **options)
    recipe(given, execute)
