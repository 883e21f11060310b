"""The flags of `recipe`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.options import at_least, option


@dataclass
class RecipeOptions:
    """From a collection and an encoder to a better one, in several stages."""

    name: str = option(help="one of --list, or the path of a .yaml file of your own", positional=True, metavar="NAME")
    collection: str = option(help="collection directory", metavar="DIR")
    encoder: str = option(help="what training starts from: checkpoint directory, all-MiniLM-L6-v2 (bundled), or a name")
    output: Path = option(help="folder of all stages; the checkpoint is DIR/checkpoint", metavar="DIR")
    set: list[str] | None = option(
        None,
        help="settings of the recipe as NAME=VALUE, flags of its stages as COMMAND.flag=VALUE or STAGE.flag=VALUE",
        metavar="NAME=VALUE",
    )
    processes: int = option(
        1, help="processes of training and encoding, by torchrun on this machine", check=at_least(1)
    )
    dry_run: bool = option(False, help="print the exact commands and which of them are done, and stop")
    overwrite: bool = option(False, help="make stages again whose settings or inputs have changed")
