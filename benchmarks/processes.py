"""Child processes, with their wall time and their peak memory."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facts import command_text

from pyserini_sdr.core.errors import SdrError


@dataclass(frozen=True)
class Finished:
    """A child process that ended well.

    Args:
        seconds: from its start to its end.
        peak_memory_bytes: its peak resident memory, or that of its tree.
        text: what it printed, on both streams.
    """

    seconds: float
    peak_memory_bytes: int
    text: str


_LAUNCHER = (
    "import json, os, sys, time\n"
    "start = time.perf_counter()\n"
    "pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)\n"
    "_, status, usage = os.wait4(pid, 0)\n"
    "seconds = time.perf_counter() - start\n"
    "unit = 1 if sys.platform == 'darwin' else 1024\n"
    "with open(sys.argv[1], 'w') as handle:\n"
    "    json.dump([os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss * unit], handle)\n"
)
"""A bare interpreter stands between: Linux counts the memory of the process that starts another as the other's peak."""


_RUNNING: set[subprocess.Popen[str]] = set()


def stop_all() -> None:
    """Ends what `run_process` has started and waits for, in whatever threads."""
    for process in list(_RUNNING):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run_process(argv: Sequence[str], *, environment: Mapping[str, str] | None = None, tree: bool = False) -> Finished:
    """Runs a command to its end, with its wall time and its peak resident memory.

    Args:
        argv: the command.
        environment: its variables (default: ours).
        tree: count the memory of all processes that it starts too, together, looked at ten times a second (Linux).

    Raises:
        SdrError: it failed; the last line it printed is in the message.
    """
    with tempfile.TemporaryDirectory() as folder:
        facts = Path(folder) / "facts.json"
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(facts), *argv]
        process = subprocess.Popen(
            launcher,
            env=None if environment is None else dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        _RUNNING.add(process)
        watch = TreeMemory(process.pid) if tree else None
        try:
            text, _ = process.communicate()
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what the launcher has started, too
            process.wait()
            raise
        finally:
            _RUNNING.discard(process)
            together = watch.stop() if watch else 0
        if not facts.exists():
            raise SdrError(f"could not be started: {last_complaint(text)}; the command: {command_text(argv)}")
        status, seconds, memory = json.loads(facts.read_text("utf-8"))
    if status:
        raise SdrError(f"exit status {status}: {last_complaint(text)}; the command: {command_text(argv)}")
    return Finished(seconds, max(memory, together), text)


class TreeMemory:
    """Watches the resident memory of what a process has started, in a thread; mapped files count as far as they are in
    memory, and what several processes share counts for each. A sum counts when it is reached twice in succession: for a
    moment, a process that starts another is there twice, with all that it has.

    Args:
        pid: the process, which itself does not count.
    """

    _EVERY = 0.1
    """Seconds."""

    def __init__(self, pid: int) -> None:
        self._pid, self._peak = pid, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Ends it; the greatest sum seen, in bytes."""
        self._over.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        before = 0
        while not self._over.wait(self._EVERY):
            now = sum(map(_resident_bytes, _descendants(self._pid)))
            self._peak, before = max(self._peak, min(before, now)), now


def _descendants(pid: int) -> Iterator[int]:
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread or process that has just ended
            for child in map(int, listed.read_text("ascii").split()):
                yield child
                yield from _descendants(child)


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * resource.getpagesize()
    except (OSError, IndexError):
        return 0


def last_complaint(text: str) -> str:
    """The last line of an output that tells of an error, else the last line; progress bars come in between."""
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines() if line.strip()]
    complaints = [line for line in lines if re.search(r"Error\b|Exception\b|error:", line)]
    return (complaints or lines or ["it printed nothing"])[-1][:300]


def run_ours(module: str, *arguments: object, tree: bool = False) -> Finished:
    """Runs `python -m pyserini_sdr.MODULE ARGUMENTS` in a process of its own; `tree` as of `run_process`."""
    return run_process([sys.executable, "-m", f"pyserini_sdr.{module}", *map(str, arguments)], tree=tree)


def run_stock(command: Any, output: Path) -> Finished:
    """Runs an `anserini.stock.StockCommand` in a process of its own; it has to leave `output` (stock may exit with 0).

    Raises:
        NoJavaError: no Java.
        SdrError: it failed or left no output.
    """
    from pyserini_sdr.anserini.stock import failure, invocation

    argv, environment = invocation(command.module, command.args)
    done = run_process(argv, environment=environment)
    if not output.exists():
        raise SdrError(failure(command, 0, done.text))
    return done


def peak_memory_bytes() -> int:
    """Peak resident memory of this process, without what it had of its parent before it was itself (Linux)."""
    try:
        for line in Path("/proc/self/status").read_text("ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    from pyserini_sdr.core.manifest import peak_memory_bytes as from_usage

    return from_usage()
