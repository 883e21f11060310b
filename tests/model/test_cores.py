"""Batches shared among threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from pyserini_sdr.model.cores import on_all_cores


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_every_batch_once_in_inference_mode(threads: int) -> None:
    worked: list[int] = []
    done: list[int] = []
    modes: list[bool] = []

    def work(batch: int) -> None:
        modes.append(torch.is_inference_mode_enabled())
        worked.append(batch)

    on_all_cores(range(20), work, done.append)
    assert sorted(worked) == sorted(done) == list(range(20))
    assert all(modes) and torch.get_num_threads() == threads


def test_an_error_ends_it(threads: int) -> None:
    begun: list[int] = []

    def work(batch: int) -> None:
        begun.append(batch)
        if batch == 2:
            raise ValueError("the third")
        time.sleep(0.01)

    with pytest.raises(ValueError, match="the third"):
        on_all_cores(range(500), work)
    assert len(begun) < 100
    assert torch.get_num_threads() == threads


def test_done_is_called_by_the_caller(threads: int) -> None:
    names: set[str] = set()
    on_all_cores(range(10), lambda batch: None, lambda batch: names.add(threading.current_thread().name))
    assert names == {threading.current_thread().name}
