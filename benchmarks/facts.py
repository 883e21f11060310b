"""Facts of the machine and of the project, and names without the machine's folders in them."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyserini_sdr.core.manifest import versions
from pyserini_sdr.core.runtime import available_cores

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    *("pyserini_sdr", "torch", "transformers", "sentence-transformers", "faiss-cpu", "pyserini", "onnxruntime"),
    *("numpy", "tokenizers"),
)
CPU_FLAGS = (
    *("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni"),
    *("amx_tile", "amx_bf16", "amx_int8", "asimd", "sve", "bf16", "i8mm"),
)
"""Those of a CPU's flags that decide how fast matrix products are."""
THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MALLOC_ARENA_MAX")


def portable(path: str | os.PathLike[str]) -> str:
    """A path as seen from the project's folder, so that a result tells nothing of the machine's folders."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  (`resolve` would follow links out of an environment)
    return os.path.relpath(absolute, ROOT) if absolute.is_absolute() else str(path)


def command_text(argv: Sequence[str]) -> str:
    """A command as one would type it in the project's folder: no absolute paths, `python` for the interpreter."""
    words = []
    for place, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if place == 0 and Path(word).name.startswith("python"):
            words.append("python")
        elif Path(word).is_absolute():
            words.append(portable(word))
        elif equals and Path(value).is_absolute():
            words.append(f"{flag}={portable(value)}")
        else:
            words.append(word)
    return shlex.join(words)


def _first(path: str, key: str) -> str | None:
    """Value of the first `key: value` line of a file under /proc."""
    try:
        lines = Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":", 1)[0].strip() == key), None)


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def revision() -> str:
    """Git revision of the project, with `+changes` if the code that is measured differs from it."""
    commit = _git("rev-parse", "--short=10", "HEAD")
    if commit is None:
        return "unknown"
    changed = _git("status", "--porcelain", "--", "pyserini_sdr", "benchmarks", ":!benchmarks/results")
    return f"{commit}+changes" if changed else commit


def machine_facts() -> dict[str, Any]:
    """What decides how fast the machine is, and how busy it was when the benchmark started."""
    flags = set((_first("/proc/cpuinfo", "flags") or _first("/proc/cpuinfo", "Features") or "").split())
    memory = _first("/proc/meminfo", "MemTotal")
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": available_cores(),
        "flags": [name for name in CPU_FLAGS if name in flags],
        "memory_bytes": int(memory.split()[0]) * 1024 if memory else None,
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "versions": versions(PACKAGES),
        "settings": {name: os.environ[name] for name in THREAD_SETTINGS if name in os.environ},
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
