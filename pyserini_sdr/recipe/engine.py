"""Running the stages of a recipe, one process each."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import read_object, require_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..data.collection import Collection
from ..encode.layout import held
from ..model.names import resolve_encoder
from .commands import COMMANDS, check
from .definition import Recipe, all_stages, load_recipe
from .options import RecipeOptions
from .resolve import Plan, Step, resolve
from .state import State

MANIFEST = "sdr_recipe.json"
RESULT = "checkpoint"
"""Name in the output of the link to the last checkpoint."""

Execute = Callable[[Sequence[str]], int]


def in_a_process(words: Sequence[str], *, lock: int) -> int:
    """Runs `python -m WORDS` and returns its exit status; what ends us ends it first.

    Args:
        words: of the command.
        lock: handle of the lock on the output, which a child that outlives us goes on holding.
    """
    process = subprocess.Popen([sys.executable, "-m", *words], pass_fds=[lock])
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
    _check(chosen, plan)
    if options.dry_run:
        _print(plan, State(options.output, plan))
        return
    _check_given(options, chosen, plan)
    with held(options.output) as lock:
        _run(options, chosen, plan, execute or partial(in_a_process, lock=lock))


def _check(chosen: Recipe, plan: Plan) -> None:
    """Every command, as far as its flags tell, before the first one runs."""
    for step in plan.steps:
        try:
            check(step.command, step.module_words)
        except SdrError as error:
            raise UsageError(f"recipe {chosen.name}, stage {step.name}: {error}") from error


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


def _print(plan: Plan, state: State) -> None:
    for step in plan.steps:
        status = state.status(step)
        said = {"done": " (done)", "begun": " (to be resumed)", "changed": f" ({state.what_changed(step)})"}
        print(f"# {step.number} of {len(plan.steps)}: {step.name}{said.get(status, '')}\n{step.text}")
    print(f"# result: {plan.result}")


def _run(options: RecipeOptions, chosen: Recipe, plan: Plan, execute: Execute) -> None:
    link = options.output / RESULT
    if link.exists() and not link.is_symlink():
        raise DataError(link, "is in the way of the link to the result", remedy="move it, or give another --output")
    state = State(options.output, plan)
    changed = next((step for step in plan.steps if state.status(step) == "changed"), None)
    if changed is not None and not options.overwrite:
        raise DataError(
            options.output,
            f"stage {changed.folder.name}: {state.what_changed(changed)}",
            remedy="--overwrite to make it and what follows from it again, or give another --output",
        )
    for name in state.others():
        note(f"{options.output / name} is of other settings and is not used")
    for step in plan.steps:
        status = state.status(step)
        if status == "done":
            note(f"{step.number} of {len(plan.steps)}: {step.name} is up to date")
            continue
        (options.output / MANIFEST).unlink(missing_ok=True)
        note(f"{step.number} of {len(plan.steps)}: {step.name}\n  {step.text}")
        if status == "changed" and step.folder.exists():
            if step.folder.is_symlink():
                raise DataError(step.folder, "is a link, and what it holds is to be made again", remedy="remove it")
            shutil.rmtree(step.folder)
        state.begin(step)
        _one(chosen, plan, step, state, execute)
    _finish(options, chosen, plan, state)
    note(f"{link}: the checkpoint of recipe {chosen.name}")


def _one(chosen: Recipe, plan: Plan, step: Step, state: State, execute: Execute) -> None:
    start = time.perf_counter()
    status = 0
    if not step.finished:  # else it was, by a command that we did not see end
        step.folder.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(step)
        status = 1
        try:
            status = execute(step.argv)
        finally:
            state.end(step, time.perf_counter() - start, done=status == 0 and step.finished)
    else:
        state.end(step, 0.0, done=True)
    if status in (130, -2):
        raise KeyboardInterrupt
    if status != 0:
        how = f"ended with status {status}, see above" if status > 0 else f"was killed by signal {-status}"
        raise SdrError(
            f"recipe {chosen.name}: stage {step.name} ({step.number} of {len(plan.steps)}) {how}; "
            f"give the same command again to go on from there, or remove {step.folder} first to begin this stage anew"
        )
    if not step.finished:
        raise SdrError(f"recipe {chosen.name}: stage {step.name} did not make {step.made} with {step.manifest.name}")


def _clear_leftovers(step: Step) -> None:
    """Removes files of an attempt that was cut before its manifest; folders hold what commands resume from."""
    for path in step.folder.iterdir():
        if path.is_file() and not path.name.startswith("."):
            path.unlink()


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
