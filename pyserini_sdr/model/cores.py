"""Sharing batches among the cores: a thread each, as waiting for one another within a small operation costs more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

_T = TypeVar("_T")
_MOST = 16
"""Workers at most; with more cores, or fewer batches, each gets several: Python's lock would be the limit."""


def on_all_cores(
    batches: Iterable[_T],
    work: Callable[[_T], None],
    done: Callable[[_T], None] | None = None,
    *,
    inference: bool = True,
) -> None:
    """Works on batches, as many at a time as torch may use threads; which thread takes which changes no result.

    Args:
        batches: in the order in which they are begun; large ones first keep all cores busy to the end.
        work: called in any thread.
        done: called in this thread with every batch that is done.
        inference: call `work` in inference mode.
    """
    batches = list(batches)
    threads = torch.get_num_threads()
    each = max(-(-threads // _MOST), threads // max(len(batches), 1))
    workers = max(threads // each, 1)
    if workers == 1:
        with torch.inference_mode(inference):
            for batch in batches:
                work(batch)
                if done is not None:
                    done(batch)
        return
    stop = threading.Event()

    def one(batch: _T) -> _T:
        if not stop.is_set():
            with torch.inference_mode(inference):
                work(batch)
        return batch

    # the number of threads is one of the calling thread, and a default of those that are yet to come
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(each,)) as pool:
        try:
            for future in as_completed([pool.submit(one, batch) for batch in batches]):
                if done is not None:
                    done(future.result())
                else:
                    future.result()
        finally:  # an error or Ctrl-C: what has not begun need not
            stop.set()
            torch.set_num_threads(threads)
