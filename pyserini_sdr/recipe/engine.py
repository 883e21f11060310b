"""What `recipe` does: checks a recipe, runs its stages, and leaves the last checkpoint with a manifest."""

from __future__ import annotations

from functools import partial
from typing import Any

from ..core.errors import DataError
from ..core.files import read_object, require_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..data.collection import Collection
from ..encode.layout import held
from ..model.names import resolve_encoder
from .commands import COMMANDS
from .definition import Recipe, all_stages, load_recipe
from .options import RecipeOptions
from .resolve import Plan, Step, resolve
from .running import Execute, check_steps, in_a_process, print_steps, run_steps
from .state import State

MANIFEST = "sdr_recipe.json"
RESULT = "checkpoint"
"""Name in the output of the link to the last checkpoint."""


def recipe(options: RecipeOptions, execute: Execute | None = None) -> None:
    """Does what is not yet done of a recipe.

    Args:
        options: of the command.
        execute: runs the words after `python -m` and returns the exit status; left out, in a process.

    Raises:
        UsageError: the recipe cannot be run like this; nothing has been done.
        DataError: the output holds stages that were made otherwise.
        SdrError: a stage failed.
    """
    chosen = load_recipe(options.name)
    Collection.open(options.collection)
    plan = resolve(
        chosen,
        collection=options.collection,
        encoder=options.encoder,
        output=options.output,
        settings=options.set or [],
        processes=options.processes,
    )
    check_steps(f"recipe {chosen.name}", plan.steps)
    if options.dry_run:
        print_steps(State(options.output, plan))
        print(f"# result: {plan.result}")
        return
    _check_given(options, chosen, plan)
    with held(options.output) as lock:
        _run(options, chosen, plan, execute or partial(in_a_process, lock=lock))


def _check_given(options: RecipeOptions, chosen: Recipe, plan: Plan) -> None:
    """The encoder, and what stands for stages, before the first stage runs instead of when one asks for it."""
    resolve_encoder(options.encoder)
    for stage in all_stages(chosen):
        given = plan.settings.get(stage.unless) if stage.unless else None
        if given is not None and COMMANDS[stage.command].model:
            resolve_encoder(str(given))
        elif given is not None:
            for path in given if isinstance(given, list) else [given]:
                require_file(str(path), f"{stage.unless} (--set)")


def _run(options: RecipeOptions, chosen: Recipe, plan: Plan, execute: Execute) -> None:
    link = options.output / RESULT
    if link.exists() and not link.is_symlink():
        raise DataError(link, "is in the way of the link to the result", remedy="move it, or give another --output")
    state = State(options.output, plan)
    for name in state.others():
        note(f"{options.output / name} is of other settings and is not used")

    def outdated(step: Step) -> None:
        (options.output / MANIFEST).unlink(missing_ok=True)

    run_steps(f"recipe {chosen.name}", state, execute, overwrite=options.overwrite, beginning=outdated)
    _finish(options, chosen, plan, state)
    note(f"{link}: the checkpoint of recipe {chosen.name}")


def _finish(options: RecipeOptions, chosen: Recipe, plan: Plan, state: State) -> None:
    """The link to the checkpoint, and the manifest with what every stage cost, unless they are as they should be."""
    link, manifest = options.output / RESULT, options.output / MANIFEST
    target = plan.result.relative_to(options.output)
    facts = {"recipe": chosen.name, "settings": dict(plan.settings), "result": str(plan.result)}
    commands = [step.text for step in plan.steps]
    if manifest.exists() and link.is_symlink() and link.readlink() == target:
        before = read_object(manifest)
        known = [stage.get("command") for stage in before.get("stages", [])]
        if known == commands and all(before.get(key) == value for key, value in facts.items()):
            return
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    stages = [
        {
            "name": step.name,
            "command": step.text,
            "made": str(step.made),
            "seconds": state.seconds(step),
            **_facts(step),
        }
        for step in plan.steps
    ]
    write_manifest(
        manifest,
        "recipe",
        config=as_dict(options),
        **facts,
        paper=chosen.paper,
        stages=stages,
        seconds=round(sum(stage["seconds"] for stage in stages), 1),
        stage_peak_memory_bytes=max((stage.get("peak_memory_bytes", 0) for stage in stages), default=0),
    )
    for stage in stages:
        dev = f", dev {stage['untrained']:.4f} → {stage['best']:.4f}" if stage.get("best") is not None else ""
        note(f"  {stage['name']}: {stage['seconds']:.0f} s{dev}")


def _facts(step: Step) -> dict[str, Any]:
    """What a stage's own manifest says of its cost, and of dev if it trained."""
    facts: dict[str, Any] = {}
    found = read_object(step.manifest)
    facts |= {key: value for key, value in (found.get("cost") or {}).items() if key == "peak_memory_bytes"}
    selection = found.get("selection") or {}
    facts |= {key: selection[key] for key in ("dev", "untrained", "best", "best_step") if key in selection}
    return facts
