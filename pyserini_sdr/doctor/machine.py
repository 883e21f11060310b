"""Checks of the processor, of memory, and of the limits on this process."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

from ..core.runtime import available_cores, container_memory, keep_memory
from .finding import GIB, Check, Teller

_SHORT = 2 * GIB
_QUOTAS = (("/sys/fs/cgroup/cpu.max", None), ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "cpu.cfs_period_us"))
_FILES = 1024
_PROCESSES = 256
_SPACE = 64 * GIB
"""Address space below which torch and a JVM get into trouble: they reserve far more than they use."""
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")


def check_cpu(teller: Teller) -> Check:
    """Cores, what the container grants of them, threads, and the allocator."""
    cores, quota = available_cores(), cpu_quota()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    preloaded = [name for name in _ALLOCATORS if name in os.environ.get("LD_PRELOAD", "")]
    tuned = keep_memory()
    settings = sorted(name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES")
    malloc = preloaded[0] if preloaded else "glibc's malloc, tuned" if tuned else "malloc as it is"
    details = {
        "cores": cores,
        "machine_cores": os.cpu_count(),
        "quota": quota,
        "omp_num_threads": threads or None,
        "architecture": platform.machine(),
        "malloc": malloc,
        "malloc_settings": settings,
    }
    summary = f"{cores} cores, {platform.machine()}; {malloc}"
    if settings:
        summary += f" beside {', '.join(settings)}"
    if threads:
        summary += f"; OMP_NUM_THREADS={threads}"
    wanted = int(threads) if threads.isdigit() else cores
    if quota is not None and wanted > max(1, quota):
        remedy = f"export OMP_NUM_THREADS={max(1, int(quota))}"
        return Check("cpu", "warning", f"{summary}; the container grants only {quota:g} of them", remedy, details)
    if wanted > cores:
        remedy = f"export OMP_NUM_THREADS={cores}, or unset it"
        return Check("cpu", "warning", f"{summary}: more threads than cores", remedy, details)
    return Check("cpu", "ok", summary, None, details)


def check_memory(teller: Teller) -> Check:
    """Memory of the machine, or of the container if that has less."""
    total, free = memory()
    limited = container_memory()
    if limited is not None and (total is None or limited[0] < total):
        total, free = limited
    details = {"total_bytes": total, "available_bytes": free, "container": limited is not None}
    if total is None:
        return Check("memory", "ok", "its size is unknown here", None, details)
    summary = f"{total / GIB:.1f} GiB" + (f", {free / GIB:.1f} GiB available" if free is not None else "")
    if (free if free is not None else total) < _SHORT:
        remedy = "close programs, or give train --micro-batch-size 8 and encode --token-budget 1024"
        return Check("memory", "warning", summary, remedy, details)
    return Check("memory", "ok", summary, None, details)


def check_limits(teller: Teller) -> Check:
    """Limits of the shell (`ulimit`) under which a command would end in its midst."""
    # The least that will do (None: no limit does), in words, the flag, and what to ask for (None: no limit).
    limits: dict[str, tuple[int | None, str, str, int | None]] = {
        "RLIMIT_NOFILE": (_FILES, "{} open files", "-n", 4096),
        "RLIMIT_FSIZE": (None, "files of {} bytes", "-f", None),
        "RLIMIT_AS": (_SPACE, "{} bytes of addresses", "-v", None),
        "RLIMIT_DATA": (_SPACE, "{} bytes of data", "-d", None),
        "RLIMIT_NPROC": (_PROCESSES, "{} processes and threads", "-u", 4096),
        "RLIMIT_CPU": (None, "{} seconds of the processor", "-t", None),
    }
    details: dict[str, int | None] = {}
    tight, remedies = [], []
    for name, (least, what, flag, wanted) in limits.items():
        soft, hard = resource.getrlimit(getattr(resource, name))
        endless = soft == resource.RLIM_INFINITY
        details[name.lower()] = None if endless else soft
        if not endless and (least is None or soft < least):
            tight.append(what.format(f"{soft:,}"))
            allowed = hard == resource.RLIM_INFINITY or (wanted is not None and hard >= wanted)
            remedies.append(f"`ulimit {flag} {wanted or 'unlimited'}`" + ("" if allowed else " (as root)"))
    if tight:
        remedy = f"run {' and '.join(remedies)} in the shell"
        return Check("limits", "warning", f"at most {', '.join(tight)}", remedy, details)
    files = details["rlimit_nofile"]
    return Check("limits", "ok", f"{'any number of' if files is None else files} open files; no others", None, details)


def cpu_flags() -> set[str]:
    """CPU features as Linux lists them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    listed = [line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))]
    return {word for text in listed for word in text.split()}


def cpu_quota() -> float | None:
    """Cores' worth of time that the container grants; None if there is no limit."""
    for name, period_name in _QUOTAS:
        try:
            words = Path(name).read_text("ascii").split()
            period = words[1] if period_name is None else Path(name).with_name(period_name).read_text("ascii")
            if int(words[0]) > 0:
                return int(words[0]) / int(period)
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
    return None


def memory() -> tuple[int | None, int | None]:
    """Total and available bytes of the machine's memory, None where the platform does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        return sizes["MemTotal"], sizes.get("MemAvailable")
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (ValueError, OSError, AttributeError):
        return None, None
