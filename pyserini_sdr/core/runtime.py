"""Tuning of the process for the machine: memory allocator, threads."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = (  # folder, limit, what is taken, and what of it the system gives up when it has to (version 2, version 1)
    ("/sys/fs/cgroup", "memory.max", "memory.current", ("inactive_file", "active_file")),
    (
        *("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        ("total_inactive_file", "total_active_file"),
    ),
)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def available_cores() -> int:
    """Cores this process may run on (affinity and container limits where the platform tells them)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def container_memory() -> tuple[int, int] | None:
    """The limit of the container on memory and what it leaves free, in bytes; None if there is none.

    Cached files count as free: a process that has just read a large file would have nothing left otherwise.
    """
    for folder, limit_name, usage_name, cached in _CGROUPS:
        try:
            limit = int(Path(folder, limit_name).read_text("ascii"))
            usage = int(Path(folder, usage_name).read_text("ascii"))
        except (OSError, ValueError):  # no such file, or "max"
            continue
        with contextlib.suppress(OSError, ValueError):
            for line in Path(folder, "memory.stat").read_text("ascii").splitlines():
                name, _, size = line.partition(" ")
                usage -= int(size) if name in cached else 0
        return limit, limit - max(0, usage)
    return None


def keep_memory() -> bool:
    """Makes glibc keep freed blocks instead of returning them to the kernel after every batch.

    Tensors of a few MB otherwise come from `mmap` and every batch pays for fresh zeroed pages; on a busy machine that
    has cost a factor of four. Call it before large allocations.

    Returns:
        Whether the allocator took the setting (glibc only).
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    # 32 MB is the most that glibc accepts for the first; it also switches off its own, growing threshold
    settings = ((_M_MMAP_THRESHOLD, 32 << 20), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_TOP_PAD, 64 << 20))
    return all([mallopt(option, value) == 1 for option, value in settings])  # noqa: C419 (every one is to be made)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """What is made within it is not looked through for garbage, then or later; for imports, of which all is kept.

    It saves a fifth of the time that importing torch takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def share_cores() -> None:
    """Lets OpenMP threads sleep at a barrier instead of spinning; call it before torch or faiss is loaded.

    Spinning gains little on idle cores and costs a factor of three to ten on shared ones, where the spinning thread
    keeps the one that it waits for from running. A user's own setting stands.
    """
    if not os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
