"""The list of recipes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from .definition import Recipe, Repeat, Stage, catalogued, load_recipe
from .resolve import mentioned


def listing(names: Sequence[str] = ()) -> str:
    """Recipes with stages, settings, needs and paper, as text."""
    return "\n\n".join(_one(load_recipe(name)) for name in names or catalogued())


def _one(recipe: Recipe) -> str:
    stages = ", ".join(_stage(entry) for entry in recipe.stages)
    used = mentioned(recipe)
    settings = " ".join(
        f"{name}={'' if value is None else value}" for name, value in recipe.settings.items() if name in used
    )
    rows = {
        "stages": stages,
        "settings": settings,
        "needs": "; ".join(recipe.needs) or "nothing but the collection's training pairs",
        "paper": recipe.paper,
        "ours": recipe.ours,
    }
    lines = [f"{recipe.name}: {recipe.summary}"]
    for key, text in rows.items():
        if text:
            indent = " " * 12
            lines += textwrap.wrap(
                text, 118, initial_indent=f"  {key:<10}", subsequent_indent=indent, break_on_hyphens=False
            )
    return "\n".join(lines)


def _stage(entry: Stage | Repeat) -> str:
    if isinstance(entry, Repeat):
        return f"{entry.times} × ({', '.join(_stage(stage) for stage in entry.stages)})"
    optional = f" unless {entry.unless} is given" if entry.unless else ""
    return f"{entry.name} ({entry.command}{optional})"
