"""Workers: what they serve, how they fail, and that they end."""

from __future__ import annotations

import os

import pytest
from worker import Worker

from pyserini_sdr.core.errors import SdrError

HERE = "tests.benchmarks.served"


def test_a_worker_loads_once_and_answers(capfd):
    with Worker(f"{HERE}:adder", base=40) as worker:
        assert [worker(1), worker(2)] == [41, 42]
        assert 5e6 < worker.peak_memory_bytes() < 500e6
    assert capfd.readouterr().out == ""


def test_an_environment_of_its_own():
    with Worker(f"{HERE}:environment", environment={"SDR_TEST": "here"}, name="SDR_TEST") as worker:
        assert worker() == "here"
    assert "SDR_TEST" not in os.environ


def test_what_cannot_be_made_is_told_in_its_own_words():
    with pytest.raises(SdrError, match=r"^no such thing here$"):
        Worker(f"{HERE}:refusing")


def test_a_defect_names_the_arm(capfd):
    with Worker(f"{HERE}:failing") as worker, pytest.raises(SdrError, match=r"served:failing: ValueError: broken arm"):
        worker()
    assert "Traceback" in capfd.readouterr().err


def test_a_process_that_dies_is_noticed():
    with Worker(f"{HERE}:dying") as worker, pytest.raises(SdrError, match="died with status 7"):
        worker()
