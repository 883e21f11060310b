"""Makes all checks at once, each group in a process of its own, and ends what has not answered in time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.errors import SdrError
from .finding import Check, read_told
from .groups import CHECKS, GROUPS, PATH, PATHS

_GRACE = 0.5
"""Seconds in which a process that has been killed has to be gone."""
_PROBE = "pyserini_sdr.doctor.probe"
_ROOT = str(Path(__file__).resolve().parents[2])


def run_checks(limit: float, paths: Sequence[str] = ()) -> Iterator[Check]:
    """Yields all checks in order, each as soon as those before it are there.

    Args:
        limit: seconds after which a group of checks that has not ended is killed; all groups start at once, so that
            nothing takes longer than this, starting the processes, and `_GRACE`.
        paths: what the user wants looked at.
    """
    wanted = [(group, names, ()) for group, names in GROUPS.items()]
    if paths:
        wanted.append((PATHS, tuple(paths), tuple(paths)))
    deadline = time.monotonic() + limit
    started: list[subprocess.Popen[bytes]] = []
    try:
        for group, _, arguments in wanted:
            started.append(_start(group, arguments))
    except OSError as error:
        for process in started:
            _end(process)
        problem = f"no process can be started ({error.strerror or error})"
        raise SdrError(f"{problem}; run `ulimit -n 1024; ulimit -u 4096` in the shell") from error
    with ThreadPoolExecutor(len(started)) as pool:
        answers = [pool.submit(_collect, process, deadline) for process in started]
        try:
            for (group, names, _), answer in zip(wanted, answers, strict=True):
                yield from _complete(group, names, *answer.result(), limit)
        finally:  # after Ctrl-C nothing is waited for
            for process in started:
                _end(process)


def _start(group: str, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))}
    return subprocess.Popen(
        [sys.executable, "-m", _PROBE, group, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,  # what it starts is killed with it
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _collect(process: subprocess.Popen[bytes], deadline: float) -> tuple[str, str, int | None]:
    """What a process has told, the last line of its standard error, and its status: None if it had to be killed."""
    try:
        told, said = process.communicate(timeout=max(0, deadline - time.monotonic()))
        status = process.returncode
    except subprocess.TimeoutExpired:
        _end(process)
        status = None
        try:
            told, said = process.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired as late:  # it waits for a disk that does not answer
            told, said = late.stdout or b"", late.stderr or b""
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return told.decode("utf-8", "replace"), lines[-1] if lines else "", status


def _complete(
    group: str, names: Sequence[str], told: str, last: str, status: int | None, limit: float
) -> Iterator[Check]:
    """The checks of a group; of those that were not told, why not."""
    checks, doing = read_told(told)
    yield from checks
    for number, name in enumerate(names[len(checks) :]):
        entry = PATH if group == PATHS else CHECKS[name]
        if number:
            yield Check(name, "warning", f"not tried, as {names[len(checks)]} did not end", "mend that first")
        elif status is None:
            summary = f"no answer within {limit:g} s" + (f" while {doing}" if doing else "")
            remedy = f"try again with --limit {limit * 5:g}; if that is no better, {entry.broken}"
            yield Check(name, "warning", summary, remedy)
        else:
            how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
            what = f"its process ended {how}" + (f": {last}" if last else "")
            yield Check(name, entry.status, what, entry.broken)
