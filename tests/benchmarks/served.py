"""Targets for workers in tests."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyserini_sdr.core.errors import SdrError


def adder(base: int) -> Callable[[int], int]:
    print("noise that must not reach standard output")
    return lambda value: base + value


def environment(name: str) -> Callable[[], str | None]:
    return lambda: os.environ.get(name)


def refusing() -> Callable[[], None]:
    raise SdrError("no such thing here")


def failing() -> Callable[[], None]:
    def fail() -> None:
        raise ValueError("broken arm")

    return fail


def dying() -> Callable[[], None]:
    return lambda: os._exit(7)
