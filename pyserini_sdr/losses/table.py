"""`train --list-losses`: every loss with what it minimises, needs and takes."""

from __future__ import annotations

import inspect
import typing

from . import LOSSES, option_types


def loss_table() -> str:
    """Name, formula, needs and options with their defaults, for people."""
    blocks = []
    for name in LOSSES:
        cls = LOSSES.load(name)
        hints = option_types(cls)
        lines = [f"{name}\n    {LOSSES[name].summary}", f"    from: {LOSSES[name].source}"]
        needs = ", ".join(sorted(need.value for need in cls.needs)) or "nothing beyond pairs"
        lines.append(f"    needs: {needs}")
        for key, parameter in inspect.signature(cls).parameters.items():
            choices = typing.get_args(hints[key]) if typing.get_origin(hints[key]) is typing.Literal else ()
            kind = "|".join(choices) if choices else hints[key].__name__
            lines.append(f"    --loss-option {name}.{key}={parameter.default}  ({kind})")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
