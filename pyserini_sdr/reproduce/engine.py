"""What `reproduce` does: resolves a part of a matrix, runs what is not done of it, measures, and compares."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ..anserini import compat
from ..anserini.java import find_java
from ..core.errors import SdrError, UsageError, unknown
from ..core.files import require_file
from ..core.manifest import write_manifest
from ..core.progress import note
from ..encode.layout import held
from ..recipe.resolve import Plan, Step
from ..recipe.running import Execute, check_steps, in_a_process, print_steps, run_steps
from ..recipe.state import State
from .definition import Matrix, load_matrix, read_matrix
from .downloads import say_and_check
from .listing import listing
from .options import ReproduceOptions
from .page import write_page
from .resolve import STOCK, Cell, resolve
from .scores import Score, out_of_tolerance, scores_of
from .table import notes, table


def reproduce(options: ReproduceOptions, execute: Execute | None = None) -> int:
    """Does what is not yet done of a matrix, and shows its scores.

    Args:
        options: of the command.
        execute: runs the words after `python -m` and returns the exit status; left out, in a process.

    Returns:
        1 if a measured score is out of tolerance, else 0.

    Raises:
        UsageError: this cannot be run; nothing has been done.
        DataError: the matrix is wrong, or the output holds steps that were made otherwise.
        SdrError: a download cannot be had, or a step failed.
    """
    if options.listing:
        print(listing(_chosen(options) if options.name or options.file else None))
        return 0
    matrix = _chosen(options)
    output = options.output or Path(f"reproduce-{matrix.name}")
    plan, cells = resolve(
        *(matrix, output),
        conditions=options.condition,
        topics=options.topics,
        settings=options.set or [],
    )
    _check(matrix, plan)
    if options.dry_run:
        print_steps(State(output, plan))
        return 0
    if not options.display:
        _run(options, matrix, plan, cells, output, execute)
    scores = {cell.name: scores_of(cell, output) for cell in cells}
    said = notes(matrix, cells, scores) + _made_otherwise(State(output, plan), cells)
    print(table(cells, scores, said))
    if options.html is not None:
        write_page(options.html, matrix, plan, cells, scores, said)
        note(f"{options.html}: the table, with the commands of every condition")
    return int(any(out_of_tolerance(row) for row in scores.values()))


def _made_otherwise(state: State, cells: Sequence[Cell]) -> list[str]:
    """Runs that are measured but are not those of the commands as they are now, a statement each."""
    other = [cell for cell in cells if cell.run.finished and state.status(cell.run) == "changed"]
    return [
        f"{cell.run.name}: measured on a run that was made otherwise: {state.what_changed(cell.run)}" for cell in other
    ]


def _chosen(options: ReproduceOptions) -> Matrix:
    if options.name is not None and options.file is not None:
        raise UsageError(f"--file {options.file}: is given in place of {options.name}, not beside it")
    if options.file is not None:
        return read_matrix(require_file(options.file, "matrix"))
    if options.name is None:
        raise UsageError("NAME is required, one of --list, or --file")
    return load_matrix(options.name)


def _check(matrix: Matrix, plan: Plan) -> None:
    """Every command before the first one runs; of stock ones, that there is such a module."""
    check_steps(f"matrix {matrix.name}", (step for step in plan.steps if step.command != STOCK))
    for step in plan.steps:
        if step.command == STOCK and compat.module_file(step.argv[1]) is None:
            problem = unknown("Pyserini module", step.argv[1], compat.runnable_modules())
            raise UsageError(f"matrix {matrix.name}, {step.name}: {problem}")


def _run(
    options: ReproduceOptions, matrix: Matrix, plan: Plan, cells: Sequence[Cell], output: Path, execute: Execute | None
) -> None:
    by_run = {cell.run.number: cell for cell in cells}
    with held(output) as lock:
        state = State(output, plan)
        left = [cell for cell in cells if state.status(cell.run) != "done"]
        if any({STOCK, "index bm25", "search bm25"} & {plan.steps[n - 1].command for n in cell.steps} for cell in left):
            find_java()
        for need in dict.fromkeys(need for cell in left for need in cell.condition.needs):
            rows = dict.fromkeys(cell.condition.name for cell in left if need in cell.condition.needs)
            note(f"{need}: needed by {', '.join(rows)}")
        say_and_check(left, matrix.sizes)

        def ended(step: Step) -> None:
            if cell := by_run.get(step.number):
                note(f"{step.name}: {_said(scores_of(cell, output))}")

        do = _signing(plan, execute or partial(in_a_process, lock=lock))
        run_steps(f"matrix {matrix.name}", state, do, overwrite=options.overwrite, ended=ended)


def _said(scores: Sequence[Score]) -> str:
    return ", ".join(f"{score.label} {score}" for score in scores)


def _signing(plan: Plan, execute: Execute) -> Execute:
    """Writes the manifests of runs of stock Pyserini, which also ends with status 0 after some failures."""
    stock = {tuple(step.argv): step for step in plan.steps if step.command == STOCK}

    def signed(words: Sequence[str]) -> int:
        status = execute(words)
        step = stock.get(tuple(words))
        if status == 0 and step is not None:
            if not step.made.is_file() or step.made.stat().st_size == 0:
                raise SdrError(f"{step.name}: stock Pyserini made no run, see above; repeat with: {step.text}")
            versions = {"pyserini": compat.pyserini_version(), "anserini": compat.fatjar().name}
            write_manifest(step.manifest, "run", config={"command": step.text}, stock=versions)
        return status

    return signed
