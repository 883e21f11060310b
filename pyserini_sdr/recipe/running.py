"""Running the steps of a plan, one process each: what is done is skipped, what was interrupted goes on."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from ..core.errors import DataError, SdrError, UsageError
from ..core.progress import note
from .commands import check
from .resolve import Step
from .state import State

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


def check_steps(what: str, steps: Iterable[Step]) -> None:
    """Every command, as far as its flags tell, before the first one runs; `UsageError` for what it would refuse."""
    for step in steps:
        try:
            check(step.command, step.module_words)
        except SdrError as error:
            raise UsageError(f"{what}, stage {step.name}: {error}") from error


def print_steps(state: State) -> None:
    """Prints the commands of a plan, and which of them are done."""
    steps = state.plan.steps
    for place, step in enumerate(steps, start=1):
        status = state.status(step)
        said = {"done": " (done)", "begun": " (to be resumed)", "changed": f" ({state.what_changed(step)})"}
        print(f"# {place} of {len(steps)}: {step.name}{said.get(status, '')}\n{step.text}")


def run_steps(
    what: str,
    state: State,
    execute: Execute,
    *,
    overwrite: bool,
    beginning: Callable[[Step], None] = lambda step: None,
    ended: Callable[[Step], None] = lambda step: None,
) -> None:
    """Does what is not yet done of a plan, in its order.

    Args:
        what: the plan is of, for messages: `recipe prod`.
        state: of the output, with the plan.
        execute: runs the words after `python -m` and returns the exit status.
        overwrite: make steps again whose command or inputs have changed.
        beginning: called before a step that is not done.
        ended: called after each step, also after one that was done before.

    Raises:
        DataError: a step was made otherwise, and not `overwrite`; nothing has been done.
        SdrError: a step failed.
    """
    steps = state.plan.steps
    changed = next((step for step in steps if state.status(step) == "changed"), None)
    if changed is not None and not overwrite:
        raise DataError(
            state.output,
            f"stage {changed.folder.name}: {state.what_changed(changed)}",
            remedy="--overwrite to make it and what follows from it again, or give another --output",
        )
    for place, step in enumerate(steps, start=1):
        status = state.status(step)
        if status == "done":
            note(f"{place} of {len(steps)}: {step.name} is up to date")
            ended(step)
            continue
        beginning(step)
        note(f"{place} of {len(steps)}: {step.name}\n  {step.text}")
        if status == "changed" and step.folder.exists():
            if step.folder.is_symlink():
                raise DataError(step.folder, "is a link, and what it holds is to be made again", remedy="remove it")
            shutil.rmtree(step.folder)
        state.begin(step)
        _one(what, f"{step.name} ({place} of {len(steps)})", step, state, execute)
        ended(step)


def _one(what: str, named: str, step: Step, state: State, execute: Execute) -> None:
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
            f"{what}: stage {named} {how}; "
            f"give the same command again to go on from there, or remove {step.folder} first to begin this stage anew"
        )
    if not step.finished:
        raise SdrError(f"{what}: stage {step.name} did not make {step.made} with {step.manifest.name}")


def _clear_leftovers(step: Step) -> None:
    """Removes files of an attempt that was cut before its manifest; folders hold what commands resume from."""
    for path in step.folder.iterdir():
        if path.is_file() and not path.name.startswith("."):
            path.unlink()
