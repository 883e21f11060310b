"""Checks of the places that commands write to: whether they can, what is free, and whether what they rely on works."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from ..core.errors import SdrError
from ..core.files import cache_folder
from .finding import GIB, Check, Teller

_SHORT = 2 * GIB
_IN_MEMORY = ("tmpfs", "ramfs")


def check_folder(teller: Teller) -> Check:
    """The current directory, where results go unless `--output` names another disk."""
    return _check("folder", Path.cwd(), "give --output a directory on another disk", teller)


def check_temporary(teller: Teller) -> Check:
    """Where temporary files go: texts that do not fit in memory, and what Python packages keep for a while."""
    remedy = "export TMPDIR=DIR, a directory of yours with room"
    try:
        folder = Path(tempfile.gettempdir())
    except OSError as error:
        return Check("temporary", "failure", f"no directory for temporary files: {error.strerror}", remedy)
    wanted = os.environ.get("TMPDIR")
    if wanted and folder != Path(os.path.abspath(wanted)):  # noqa: PTH100 (links stay, as in tempfile)
        summary = f"TMPDIR={wanted} cannot be written to; {folder} is used"
        return Check("temporary", "warning", summary, "correct TMPDIR, or unset it", {"directory": str(folder)})
    return _check("temporary", folder, remedy, teller)


def check_cache(teller: Teller) -> Check:
    """Where what can be made again is kept: prepared weights, ONNX models."""
    remedy = "export PYSERINI_SDR_CACHE=DIR, a directory of yours with room"
    try:
        folder = cache_folder()
    except SdrError as error:
        return Check("cache", "warning", str(error), remedy)
    return _check("cache", folder, remedy, teller)


def _check(name: str, folder: Path, remedy: str, teller: Teller) -> Check:
    teller.doing(f"writing to {folder}")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    kind, free = file_system(there), shutil.disk_usage(there).free
    details = {"directory": str(folder), "file_system": kind, "free_bytes": free}
    summary = f"{folder}: {free / GIB:.1f} GiB free" + (f" ({kind})" if kind else "")
    problem = try_writing(there)
    if problem is not None:
        return Check(name, "warning", f"{summary}; {problem}", remedy, details)
    if free < _SHORT:
        more = "free memory, or " if kind in _IN_MEMORY else "free some space, or "
        return Check(name, "warning", summary, more + remedy, details)
    return Check(name, "ok", summary, None, details)


def try_writing(folder: Path) -> str | None:
    """What of that by which results become whole does not work in a directory; None if all does. Leaves nothing."""
    first = second = None
    try:
        step = "cannot be written to"
        handle, first = tempfile.mkstemp(prefix=".pyserini_sdr-doctor-", dir=folder)
        try:
            os.write(handle, b"new")
            step = "cannot sync a file: one that looks whole can be lost when the power fails"
            os.fsync(handle)
            step = "has no locks: do not let two commands write the same output"
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
        step = "cannot rename one file over another: no result can be made there"
        handle, second = tempfile.mkstemp(prefix=".pyserini_sdr-doctor-", dir=folder)
        os.close(handle)
        Path(first).replace(second)
        if Path(second).read_bytes() != b"new":
            return step
    except OSError as error:
        return f"{step} ({error.strerror or error})"
    finally:
        for path in (first, second):
            if path is not None:
                Path(path).unlink(missing_ok=True)
    return None


def file_system(folder: Path) -> str | None:
    """The type of the file system of a directory, as `nfs4`; None where the platform does not tell."""
    try:
        lines = Path("/proc/self/mounts").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    real, best = os.path.realpath(folder), ("", None)
    for line in lines:
        _, mounted, kind, *_ = line.split(" ")
        point = mounted.replace("\\040", " ").rstrip("/")
        if (real == point or real.startswith(point + "/")) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]
