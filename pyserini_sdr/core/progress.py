"""Progress bars and messages: bars and notes go to standard error, results to standard output."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")

# tqdm's own is made with the first message, and imports multiprocessing: Ctrl-C in the midst of that is a traceback
tqdm.set_lock(threading.RLock())


def note(message: str) -> None:
    """Prints a line for the user on standard error without tearing a progress bar."""
    tqdm.write(message, file=sys.stderr)


def warn(message: str) -> None:
    """Prints a warning on standard error."""
    note(f"warning: {message}")


def bar(items: Iterable[T] | None = None, *, total: int | None = None, unit: str = "it", desc: str = "") -> Any:
    """A tqdm bar with rate and ETA; in a log file (no terminal) it prints a line every ten seconds at most."""
    interactive = sys.stderr.isatty()
    return tqdm(
        items,
        total=total,
        unit=unit,
        desc=desc,
        unit_scale=False,
        smoothing=0.1,
        dynamic_ncols=interactive,
        mininterval=0.2 if interactive else 10,
        maxinterval=1 if interactive else 30,
        file=sys.stderr,
        leave=True,
    )


def close_bars() -> None:
    """Ends the line of every bar that an error has left open, so that the message has a line of its own."""
    for open_bar in list(getattr(tqdm, "_instances", ())):
        open_bar.close()
