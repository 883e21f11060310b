"""Threads that each compute on one core: torch's and FAISS's own threads stay out of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import faiss
import torch

T = TypeVar("T")


class Workers:
    """A pool of threads, started when it is first used.

    Args:
        count: threads.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    def run(self, work: Callable[[T], None], items: Iterable[T]) -> None:
        """Does `work` on every item, in no set order; after an exception no other item is begun, and it is raised."""
        left, failed = iter(items), threading.Event()
        lock = threading.Lock()

        def take() -> Iterator[T]:
            while not failed.is_set():
                with lock:
                    try:
                        item = next(left)
                    except StopIteration:
                        return
                yield item

        def run() -> None:
            try:
                for item in take():
                    work(item)
            except BaseException:
                failed.set()
                raise

        futures = [self._started().submit(run) for _ in range(self.count)]
        try:
            errors = [error for future in futures if (error := future.exception()) is not None]
        except BaseException:  # Ctrl-C while waiting
            failed.set()
            raise
        if errors:
            raise errors[0]

    def _started(self) -> ThreadPoolExecutor:
        if self._pool is None:
            before, ready = torch.get_num_threads(), threading.Barrier(self.count + 1)
            self._pool = ThreadPoolExecutor(self.count, "search", _one_core)
            for _ in range(self.count):
                self._pool.submit(ready.wait)
            ready.wait()
            torch.set_num_threads(before)  # setting it in a thread also sets what later threads start with
        return self._pool


def _one_core() -> None:
    torch.get_num_threads()  # torch sets up a thread on first use, and would undo the setting
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
