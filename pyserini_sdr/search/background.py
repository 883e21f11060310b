"""Two searches side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_AHEAD = 256
"""Items that may wait to be taken."""
_END = object()


@contextlib.contextmanager
def in_background(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Gives the same items, which a thread makes ahead of their being taken; an exception comes where it occurred.

    The thread starts at once. At the end of the `with` block it stops after the item that it is at.
    """
    made: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(_AHEAD)
    unwanted = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not unwanted.is_set():
            with contextlib.suppress(queue.Full):
                made.put((item, error), timeout=0.1)
                return

    def make() -> None:
        try:
            for item in items:
                put(item)
                if unwanted.is_set():
                    return
            put(_END)
        except BaseException as error:
            put(_END, error)

    def take() -> Iterator[T]:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item

    thread = threading.Thread(target=make, name="background-search", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        unwanted.set()
        thread.join()  # a thread inside torch must not meet the end of the interpreter
