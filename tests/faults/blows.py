"""What disturbs a process: armed inside it before the command runs, or done to its file system from outside."""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .scenarios import DISK

WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir", "shutil.rmtree")
"""Moments at which a process can be struck: whatever it asks of the file system."""


def signal_at(moment: int, number: int) -> None:
    """The process sends itself the signal `number` at its `moment`th moment."""
    done = False

    def act(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if not done:
            done = True
            os.kill(os.getpid(), number)

    _from(moment, act)


def refuse_writing(moment: int) -> None:
    """From the moment on nothing in `DISK` can be opened for writing, made or renamed."""
    inside = str(Path(DISK).absolute())

    def act(event: str, arguments: tuple[object, ...]) -> None:
        flags = arguments[2] if event == "open" else 0
        writes = event in ("os.rename", "os.mkdir") or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR))
        target = arguments[0] if arguments else ""
        if writes and isinstance(target, str | os.PathLike) and os.path.abspath(target).startswith(inside):  # noqa: PTH100
            raise PermissionError(13, "Permission denied", os.fspath(target))

    _from(moment, act)


def limit_files(size: int) -> None:
    """No file can be longer than `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def limit_memory(room: int) -> None:
    """The process can take `room` bytes beyond what it has."""
    limit = taken_memory("self") + room
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def count_moments(path: Path) -> None:
    """Writes down at the end how many moments there were."""
    seen, leave = 0, os._exit

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        seen += event in WATCHED

    def write(status: int) -> None:
        path.write_text(str(seen))
        leave(status)

    sys.addaudithook(watch)
    os._exit = write


def taken_memory(process: int | str) -> int:
    """Bytes of a process that `RLIMIT_DATA` counts; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text("ascii").splitlines()
    except OSError:
        return 0
    return 1024 * next((int(line.split()[1]) for line in lines if line.startswith("VmData")), 0)


@functools.cache
def can_mount() -> bool:
    """Whether this process may make small file systems."""
    try:
        with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder), 4096):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """A file system in memory of `size` bytes at `folder`, with what is in it until the end of the block."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def enlarge(folder: Path) -> None:
    """There is room in the small file system."""
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)


def _from(moment: int, act: Callable[[str, tuple[object, ...]], None]) -> None:
    """Calls `act` at the moment's turn and at all later ones."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in WATCHED:
            seen += 1
            if seen >= moment:
                act(event, arguments)

    sys.addaudithook(watch)
