"""Whether a build fits: disk and memory that are free, against what it will take."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ..core.errors import DataError
from ..core.runtime import container_memory


def available_memory() -> int | None:
    """Bytes that this process may still take, by the system's and the container's account; None if nobody tells."""
    known = []
    try:
        text = Path("/proc/meminfo").read_text("ascii")
        known.append(int(text.partition("MemAvailable:")[2].split()[0]) * 1024)
    except (OSError, IndexError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            known.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    container = container_memory()
    if container is not None:
        known.append(container[1])
    return max(0, min(known)) if known else None


def free_disk(directory: Path) -> int:
    """Bytes free where `directory` is, or will be made."""
    existing = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def check_room(directory: Path, *, disk: int, memory: int) -> None:
    """Refuses what will not fit.

    Args:
        directory: where it is to be written.
        disk, memory: bytes that it takes.

    Raises:
        DataError: not enough of one of them; says how much is needed and how much there is.
    """
    free = free_disk(directory)
    if disk > free:
        raise DataError(
            directory,
            f"the index takes about {size_text(disk)} of disk while it is made, {size_text(free)} are free",
            remedy="free some space, choose a smaller --type, or give --no-check-size",
        )
    available = available_memory()
    if available is not None and memory > available:
        raise DataError(
            directory,
            f"making the index takes about {size_text(memory)} of memory, {size_text(available)} are available",
            remedy="choose a smaller --type or --train-size, use a larger machine, or give --no-check-size",
        )


def size_text(size: float) -> str:
    """`size` bytes in the unit that fits, powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
