"""Two searches side by side: the same items, errors where they occurred, no thread left behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pyserini_sdr.search.background import _AHEAD, in_background
from pyserini_sdr.search.workers import Workers


def test_items_in_order() -> None:
    with in_background(iter(range(3 * _AHEAD))) as items:
        assert list(items) == list(range(3 * _AHEAD))
    with in_background(iter(())) as items:
        assert list(items) == []


def test_it_works_while_we_do_something_else() -> None:
    reached = threading.Event()

    def make() -> Iterator[int]:
        reached.set()
        yield 1

    with in_background(make()) as items:
        assert reached.wait(10)  # though nothing was taken
        assert list(items) == [1]


def test_an_error_comes_after_the_items_before_it() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise ValueError("two")

    with in_background(make()) as items:
        assert next(items) == 1
        with pytest.raises(ValueError, match="two"):
            next(items)


def test_the_thread_ends_with_the_block() -> None:
    def make() -> Iterator[int]:
        while True:
            yield 1

    before = threading.active_count()
    with pytest.raises(KeyError), in_background(make()) as items:
        next(items)
        raise KeyError
    assert threading.active_count() == before


def test_workers_do_everything_once() -> None:
    workers, done = Workers(3), []
    for _ in range(2):
        workers.run(done.append, range(50))
    assert sorted(done) == sorted([*range(50)] * 2)


def test_workers_stop_at_an_error() -> None:
    done = []

    def work(item: int) -> None:
        if item == 5:
            raise ValueError("five")
        time.sleep(0.001)
        done.append(item)

    with pytest.raises(ValueError, match="five"):
        Workers(2).run(work, range(100_000))
    assert len(done) < 50
