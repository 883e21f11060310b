"""A child process that loads something once and then answers timed calls, one at a time.

Its allocator, threads and environment are its own; between calls it waits on a pipe and takes no time of the others.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from processes import peak_memory_bytes

from pyserini_sdr.core.command import load
from pyserini_sdr.core.errors import SdrError


class Worker:
    """A process that serves what `target(**settings)` returns, a function (its `close`, if it has one, is called last).

    Use it as a context manager: it ends with the block.

    Args:
        target: `"module:function"`; the module is found in this folder or installed.
        environment: variables set in the child before anything is loaded there.
        settings: for the function.

    Raises:
        SdrError: the target could not be made (with its own message), or the process died.
    """

    def __init__(self, target: str, *, environment: Mapping[str, str] | None = None, **settings: Any) -> None:
        self.target = target
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        before = {name: os.environ.get(name) for name in environment or {}}
        os.environ.update(environment or {})  # a spawned child takes the parent's
        try:
            self._process = context.Process(target=_serve, args=(theirs, target, settings), daemon=True)
            self._process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
        theirs.close()
        try:
            self._receive()
        except SdrError:
            self.close()
            raise

    def __call__(self, *arguments: Any) -> Any:
        """What the served function returns for the arguments."""
        self._pipe.send(("call", arguments))
        return self._receive()

    def peak_memory_bytes(self) -> int:
        """Peak resident memory of the process so far."""
        self._pipe.send(("memory", ()))
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, value = self._pipe.recv()
        except EOFError:
            self._process.join(10)
            raise SdrError(f"{self.target}: the process died with status {self._process.exitcode}") from None
        if kind == "error":
            raise SdrError(value)
        return value

    def close(self) -> None:
        """Ends the process."""
        if self._process.is_alive():
            with contextlib.suppress(OSError):
                self._pipe.send(("stop", ()))
            self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(pipe: Connection, target: str, settings: dict[str, Any]) -> None:
    os.dup2(2, 1)  # standard output is for results, and libraries print on it
    try:
        function = load(target)(**settings)
        pipe.send(("ready", None))
        while True:
            kind, arguments = pipe.recv()
            if kind == "stop":
                getattr(function, "close", lambda: None)()
                return
            pipe.send(("value", peak_memory_bytes() if kind == "memory" else function(*arguments)))
    except (EOFError, KeyboardInterrupt):
        return
    except SdrError as error:
        pipe.send(("error", str(error)))
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        pipe.send(("error", f"{target}: {type(error).__name__}: {error}"))
