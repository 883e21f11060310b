"""The checks of `doctor`, in groups: the checks of a group share a process, the processes run at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PATHS = "paths"
"""The group of the paths that the user names."""


@dataclass(frozen=True)
class Entry:
    """A check that can be made.

    Args:
        run: `"module:function"`.
        broken: remedy if it raises an error, ends its process, or does not end.
        necessary: nothing works without it: if it breaks, that is a failure.
    """

    run: str
    broken: str
    necessary: bool = False

    @property
    def status(self) -> Literal["warning", "failure"]:
        """What it is that it has broken."""
        return "failure" if self.necessary else "warning"


def _entry(function: str, broken: str, *, necessary: bool = False) -> Entry:
    return Entry(f"pyserini_sdr.doctor.{function}", broken, necessary)


def _import(module: str, package: str) -> str:
    return f"see what `python -c 'import {module}'` says; `pip install --force-reinstall {package}` mends most of it"


_JAVA = "set PYSERINI_SDR_JAVA_HOME to a JDK 21 or newer that answers"
_DISK = "see whether `ls` answers there; else choose another place"
PATH = Entry("pyserini_sdr.doctor.paths:check_path", "look at it by `ls`", necessary=True)
"""Of any path."""
CHECKS = {
    "python": _entry("software:check_python", "make a fresh environment", necessary=True),
    "packages": _entry("software:check_packages", "make a fresh environment", necessary=True),
    "text": _entry("software:check_text", "export PYTHONUTF8=1"),
    "cpu": _entry("machine:check_cpu", "see `lscpu`"),
    "memory": _entry("machine:check_memory", "see `free -g`"),
    "limits": _entry("machine:check_limits", "see `ulimit -a`"),
    "java": _entry("java:check_java", _JAVA),
    "stock": _entry("java:check_stock", _JAVA),
    "pyserini": _entry("java:check_pyserini", _JAVA),
    "torch": _entry("libraries:check_torch", _import("torch", "torch"), necessary=True),
    "transformers": _entry(
        "libraries:check_transformers", _import("transformers", "transformers tokenizers"), necessary=True
    ),
    "processes": _entry("libraries:check_processes", "use one process: give commands without torchrun"),
    "faiss": _entry("libraries:check_faiss", _import("faiss", "faiss-cpu"), necessary=True),
    "encoder": _entry("libraries:check_encoder", "give --encoder a directory"),
    "hub": _entry("libraries:check_hub", "export HF_HUB_OFFLINE=1, or mend the network"),
    "folder": _entry("disk:check_folder", _DISK),
    "temporary": _entry("disk:check_temporary", "export TMPDIR=DIR, a directory that answers"),
    "cache": _entry("disk:check_cache", "export PYSERINI_SDR_CACHE=DIR, a directory that answers"),
}
"""Check → how it is made, in the order in which they are shown."""
GROUPS = {
    "system": ("python", "packages", "text", "cpu", "memory", "limits"),
    "java": ("java", "stock", "pyserini"),
    "torch": ("torch", "transformers"),
    "processes": ("processes",),
    "faiss": ("faiss",),
    "hub": ("encoder", "hub"),
    "folder": ("folder",),
    "temporary": ("temporary",),
    "cache": ("cache",),
}
"""Group → its checks; what can hang for reasons of its own has a group of its own."""
