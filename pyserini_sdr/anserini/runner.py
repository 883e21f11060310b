"""Runs a stock Pyserini module in this process on the JVM that we start."""

from __future__ import annotations

import runpy
import signal
import sys
from collections.abc import Sequence

from ..core.errors import UsageError, unknown
from . import compat, jvm


def run_module(module: str, args: Sequence[str]) -> None:
    """Runs `module` as `__main__` with `args` in this process; its `SystemExit` passes through.

    Raises:
        UsageError: no such Pyserini module.
        NoJavaError: no Java 21 or newer.
    """
    if not module.startswith("pyserini.") or compat.module_file(module) is None:
        raise UsageError(unknown("Pyserini module", module, compat.runnable_modules()))
    jvm.start(heap_mb=None)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would wait for a Java call of hours to return
    sys.argv = [module, *args]  # runpy puts the file's name first, as `python -m` does
    runpy.run_module(module, run_name="__main__", alter_sys=True)
