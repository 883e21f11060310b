"""A process under `torchrun` that dies at a chosen moment: `struck RANK MOMENT COMMAND WORDS…`.

The other processes are what `python -m pyserini_sdr.COMMAND` makes of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from importlib import import_module

from pyserini_sdr.core.command import main

MOMENTS = {
    "train": {
        "start": ("train.engine:load_encoder", 1),
        "data": ("train.engine:load_data", 1),
        "step": ("train.batches:BatchSource.batch", 5),
        "gradients": ("train.trainer:sum_gradients", 5),
        "dev evaluation": ("train.dev:DevEvaluator.__call__", 3),
        "weights": ("train.trainer:save_checkpoint", 2),
        "random state": ("train.trainer:Trainer._save_rng_state", 2),
        "final files": ("train.finish:write_log", 1),
    },
    "encode": {
        "start": ("encode.engine:load_encoder", 1),
        "corpus": ("encode.scan:check_corpus", 1),
        "chunk": ("encode.engine:compute", 2),
        "record": ("encode.chunks:write_json", 2),
        "assembly": ("encode.assembly:flat_header", 1),
    },
}
"""Command → moment → the function, and at which of its calls."""
OF_THE_FIRST = ("weights", "final files", "corpus", "assembly")
"""Moments that only the first process has."""


def replace(target: str, change: Callable[[Callable[..., object], int], None]) -> None:
    """Has `change(function, number)` called before the `number`-th call of a function."""
    module, _, names = target.partition(":")
    holder: object = import_module(f"pyserini_sdr.{module}")
    *path, name = names.split(".")
    for part in path:
        holder = getattr(holder, part)
    function: Callable[..., object] = getattr(holder, name)
    calls = 0

    def changed(*args: object, **options: object) -> object:
        nonlocal calls
        calls += 1
        change(function, calls)
        return function(*args, **options)

    setattr(holder, name, changed)


def die_at(target: str, number: int) -> None:
    """Kills this process, without a chance to tidy up, at the `number`-th call of a function."""
    replace(target, lambda _, calls: os.kill(os.getpid(), signal.SIGKILL) if calls == number else None)


def run(rank: str, moment: str, command: str, *words: str) -> None:
    """The command, in a process that dies at a moment if it is that one."""
    if os.environ["RANK"] == rank:
        die_at(*MOMENTS[command][moment])
    elif command == "encode":  # or it may take all chunks before the other has begun
        replace("encode.engine:compute", lambda *_: time.sleep(0.5))
    sys.argv = [command, *words]
    main(import_module(f"pyserini_sdr.{command}.__main__").COMMAND, f"pyserini_sdr.{command}", words)


if __name__ == "__main__":
    run(*sys.argv[1:])
