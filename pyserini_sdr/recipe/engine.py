"""Running the stages of a recipe, one process each."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import read_object
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..data.collection import Collection
from ..encode.layout import held
from .commands import check
from .definition import Recipe, load_recipe
from .options import RecipeOptions
from .resolve import Plan, Step, resolve
from .state import State

MANIFEST = "sdr_recipe.json"
RESULT = "checkpoint"
"""Name in the output of the link to the last checkpoint."""

Execute = Callable[[Sequence[str]], int]


def in_a_process(words: Sequence[str]) -> int:
    """Runs `python -m WORDS` and returns its exit status; what ends us ends it first."""
    process = subprocess.Popen([sys.executable, "-m", *words])
    try:
        return process.wait()
    except KeyboardInterrupt:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)  # a terminal sends Ctrl-C to both of us
        raise
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def recipe(options: RecipeOptions, execute: Execute = in_a_process) -> None:
    """Does what is not yet done of a recipe.

    Args:
        options: of the command.
        execute: runs the words after `python -m`; returns the exit status.

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
    _check(chosen, plan)
    if options.dry_run:
        _print(plan, State(options.output, plan))
        return
    with held(options.output):
        _run(options, chosen, plan, execute)


def _check(chosen: Recipe, plan: Plan) -> None:
    """Every command, as far as its flags tell, before the first one runs."""
    for step in plan.steps:
        words = list(step.argv)
        start = next(i for i, word in enumerate(words) if word.startswith("pyserini_sdr."))
        try:
            check(step.command, words[start + 1 :])
        except SdrError as error:
            raise UsageError(f"recipe {chosen.name}, stage {step.name}: {error}") from error


def _print(plan: Plan, state: State) -> None:
    for step in plan.steps:
        status = state.status(step)
        said = {"done": " (done)", "begun": " (to be resumed)", "changed": f" ({state.what_changed(step)})"}
        print(f"# {step.number} of {len(plan.steps)}: {step.name}{said.get(status, '')}\n{step.text}")
    print(f"# result: {plan.result}")


def _run(options: RecipeOptions, chosen: Recipe, plan: Plan, execute: Execute) -> None:
    state = State(options.output, plan)
    manifest = options.output / MANIFEST
    pending = [step for step in plan.steps if state.status(step) != "done"]
    changed = next((step for step in pending if state.status(step) == "changed"), None)
    if changed is not None and not options.overwrite:
        raise DataError(
            options.output,
            f"stage {changed.folder.name}: {state.what_changed(changed)}",
            remedy="--overwrite to make it and what follows from it again, or give another --output",
        )
    if pending:
        manifest.unlink(missing_ok=True)
    for step in plan.steps:
        if step not in pending:
            note(f"{step.number} of {len(plan.steps)}: {step.name} is up to date")
            continue
        note(f"{step.number} of {len(plan.steps)}: {step.name}\n  {step.text}")
        if state.status(step) == "changed":
            shutil.rmtree(step.folder, ignore_errors=True)
        state.begin(step)
        _one(chosen, plan, step, state, execute)
    if pending or not manifest.exists():
        _finish(options, chosen, plan, state, manifest)
    note(f"{options.output / RESULT}: the checkpoint of recipe {chosen.name}")


def _one(chosen: Recipe, plan: Plan, step: Step, state: State, execute: Execute) -> None:
    start = time.perf_counter()
    status = 1
    try:
        step.folder.mkdir(parents=True, exist_ok=True)
        status = execute(step.argv)
    finally:
        state.end(step, time.perf_counter() - start, done=status == 0)
    if status in (130, -2):
        raise KeyboardInterrupt
    if status != 0:
        how = f"ended with status {status}, see above" if status > 0 else f"was killed by signal {-status}"
        raise SdrError(
            f"recipe {chosen.name}: stage {step.name} ({step.number} of {len(plan.steps)}) {how}; "
            "give the same command again to go on from there"
        )
    if not step.made.exists():
        raise SdrError(f"recipe {chosen.name}: stage {step.name} did not make {step.made}")


def _finish(options: RecipeOptions, chosen: Recipe, plan: Plan, state: State, manifest: Path) -> None:
    """The link to the checkpoint, and the manifest with what every stage cost."""
    link = options.output / RESULT
    if link.is_symlink() or link.exists():
        link.unlink()
    inside = plan.result.is_relative_to(options.output)
    link.symlink_to(plan.result.relative_to(options.output) if inside else plan.result.resolve())
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
        recipe=chosen.name,
        paper=chosen.paper,
        settings=dict(plan.settings),
        stages=stages,
        result=str(plan.result),
        seconds=round(sum(stage["seconds"] for stage in stages), 1),
        stage_peak_memory_bytes=max((stage.get("peak_memory_bytes", 0) for stage in stages), default=0),
    )
    for stage in stages:
        dev = f", dev {stage['untrained']:.4f} → {stage['best']:.4f}" if stage.get("best") is not None else ""
        note(f"  {stage['name']}: {stage['seconds']:.0f} s{dev}")


def _facts(step: Step) -> dict[str, Any]:
    """What a stage's own manifest says of its cost, and of dev if it trained."""
    places = [step.made.parent / f"{step.made.name}.json", *sorted(step.made.glob("sdr_*.json"))]
    facts: dict[str, Any] = {}
    for path in places:
        if not path.is_file():
            continue
        found = read_object(path)
        facts |= {key: found["cost"][key] for key in ("peak_memory_bytes",) if "cost" in found}
        selection = found.get("selection") or {}
        facts |= {key: selection[key] for key in ("dev", "untrained", "best", "best_step") if key in selection}
    return facts
