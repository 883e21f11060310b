"""Commands in forks of a process that has imported torch and faiss, so that each costs what it does itself."""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TypeVar

from .blows import taken_memory

T = TypeVar("T")

LONGEST = 300
"""Seconds after which a command hangs."""
CACHE, TEMPORARY = "cache", "tmp"
"""Folders, beside `scenarios.DISK`, of what a command keeps for others and of its temporary files."""
_PRELOADED = (
    *("transformers.models.bert.modeling_bert", "faiss", "pytrec_eval", "matplotlib.figure", "jinja2", "scipy.stats"),
    *(
        f"pyserini_sdr.{name}"
        for name in ("train.engine", "train.finish", "encode.engine", "index.build", "mine.engine")
    ),
    *(
        f"pyserini_sdr.{name}"
        for name in ("teach.engine", "evaluate.execute", "search.commands", "model.cross_encoder")
    ),
)
_ARMED = b"\0"
_TICK = 0.002
"""Seconds between two looks at a child."""


@dataclass(frozen=True)
class Ending:
    """How a command ended.

    Args:
        status: its exit status, or the negative number of the signal that ended it.
        text: its standard output and error.
        seconds: of the processor that it took, to the last look at it.
        growth: by how many bytes its memory had grown at its peak (see `taken_memory`).
    """

    status: int
    text: str
    seconds: float
    growth: int


def preload() -> None:
    """Imports what the commands import."""
    for name in _PRELOADED:
        import_module(name)


def run_in_fork(
    place: Path, line: str, arm: Callable[[], None], *, later: tuple[float, int] | None = None, watched: bool = False
) -> Ending:
    """Runs `python -m pyserini_sdr.LINE` in a child.

    Args:
        place: its current directory, with `CACHE` and `TEMPORARY`.
        arm: called in the child before the command begins.
        later: seconds of the processor after that, and a signal that the child then gets.
        watched: measure its seconds and its memory.
    """
    reading, writing = os.pipe()  # no file: its size may be limited
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run(place, line, writing, arm)
    os.close(writing)
    try:
        said, seconds, growth = _attend(child, reading, later, watched)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(reading)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ending(status, said.replace(_ARMED, b"", 1).decode("utf-8", "replace"), seconds, growth)


def in_children(tasks: Iterable[Callable[[], T]], jobs: int, folder: Path) -> Iterator[T]:
    """Calls each task in a child of its own, `jobs` at a time; yields what they return, in the order they end."""
    running: dict[int, Path] = {}
    waiting = enumerate(tasks)
    try:
        while True:
            while len(running) < jobs and (following := next(waiting, None)):
                number, task = following
                answer = folder / f"answer-{number}"
                child = os.fork()
                if child == 0:
                    _answer(task, answer)
                running[child] = answer
            if not running:
                return
            child, status = os.wait()
            answer = running.pop(child)
            assert status == 0, "a task has failed: see above"
            yield pickle.loads(answer.read_bytes())
            answer.unlink()
    finally:
        for child in running:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


def _answer(task: Callable[[], object], answer: Path) -> NoReturn:
    status = 1
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is mounted is unmounted
        answer.write_bytes(pickle.dumps(task()))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def _attend(child: int, reading: int, later: tuple[float, int] | None, watched: bool) -> tuple[bytes, float, int]:
    """What the child says, until it has closed the pipe; its seconds of the processor, and how its memory grew."""
    said, begin, seconds, first, most = b"", None, 0.0, 0, 0
    while True:
        ready, _, _ = select.select([reading], [], [], _TICK if watched or later else None)
        if ready:
            part = os.read(reading, 1 << 16)
            if not part:
                return said, seconds, most - first
            said += part
            if begin is None and _ARMED in part:
                begin, first = _processor_time(child), taken_memory(child)
        if begin is not None and watched:
            most = max(most, taken_memory(child))
            seconds = max(seconds, _processor_time(child) - begin)
        if begin is not None and later and _processor_time(child) - begin >= later[0]:
            os.kill(child, later[1])
            later = None


def _processor_time(process: int) -> float:
    """Seconds of the processor that a process has taken (others mean little on a busy machine); 0 once it has ended."""
    with contextlib.suppress(OSError):
        return time.clock_gettime((~process << 3) | 2)  # see clock_getcpuclockid(3)
    return 0.0


def _run(place: Path, line: str, said: int, arm: Callable[[], None]) -> NoReturn:
    """In the child: the command as `python -m` runs it."""
    from pyserini_sdr.core.command import main

    status: object = 1
    try:
        os.chdir(place)
        os.environ["PYSERINI_SDR_CACHE"] = str(place / CACHE)
        os.environ["TMPDIR"] = tempfile.tempdir = str(place / TEMPORARY)
        for stream in (1, 2):
            os.dup2(said, stream)
        os.close(said)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        name, *words = shlex.split(line)
        module = f"pyserini_sdr.{name}"
        command = import_module(f"{module}.__main__").COMMAND
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(LONGEST)  # nobody catches it
        arm()
        os.write(2, _ARMED)
        main(command, module, words)
    except SystemExit as stopped:
        status = stopped.code or 0
    except BaseException:
        status = 1
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)
