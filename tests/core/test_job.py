"""Processes of a job as torchrun starts them: who speaks, who has died, and that a signal is heard in C++."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pyserini_sdr.core.job import Job

from ..conftest import ROOT

WORK = """
import os, signal, sys, time
from pyserini_sdr.core.command import main
from pyserini_sdr.core.errors import UsageError

class Work:
    def execute(self, prog, argv):
        what = argv[int(os.environ["RANK"])]
        if what == "refuse":
            raise UsageError("--times: too often")
        if what == "die":
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "wait in C":
            import ctypes
            print("waiting", flush=True)
            mutex = ctypes.create_string_buffer(64)  # as PTHREAD_MUTEX_INITIALIZER
            for _ in range(2):  # the second time it waits for itself, whatever signals come
                ctypes.CDLL(None).pthread_mutex_lock(mutex)
        if what == "clean":
            try:
                print("waiting", flush=True)
                time.sleep(60)
            finally:
                print("cleaning", flush=True)
                time.sleep(1)
                print("clean", flush=True)
        if what == "wait":
            print("waiting", flush=True)
            time.sleep(60)
        return 0

main(Work(), "pyserini_sdr.work", sys.argv[1:])
"""


@contextmanager
def started(folder: Path, *what: str) -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each word, as `torchrun` would start them."""
    processes: list[subprocess.Popen[str]] = []
    for rank in range(len(what)):
        (folder / str(rank)).mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "RANK": str(rank),
            "WORLD_SIZE": str(len(what)),
            "TORCHELASTIC_ERROR_FILE": str(folder / str(rank) / "error.json"),
        }
        command = [sys.executable, "-c", WORK, *what]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, env=environment, text=True, **pipes))
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_an_error_of_all_is_said_once(tmp_path: Path) -> None:
    with started(tmp_path, "refuse", "refuse", "refuse") as processes:
        said = "".join(process.communicate()[1] for process in processes)
        assert said == "error: --times: too often\n"
        assert [process.returncode for process in processes] == [2, 2, 2]
        reports = [json.loads(path.read_text())["message"] for path in tmp_path.glob("*/error.json")]
        assert reports == ["error: --times: too often"]


@pytest.mark.parametrize("waits", ["wait", "wait in C"])
def test_who_has_died_is_said_by_one_that_is_told_to_stop(tmp_path: Path, waits: str) -> None:
    """The third one has ended by itself, and is not among the dead."""
    with started(tmp_path, waits, "die", "nothing") as (first, second, third):
        assert first.stdout is not None and first.stdout.readline() == "waiting\n"
        assert third.wait() == 0 and second.wait() == -signal.SIGKILL
        begin = time.monotonic()
        first.send_signal(signal.SIGTERM)
        said = first.communicate(timeout=30)[1]
        assert said.startswith("error: rank 1 of 3 has died") and said.endswith(
            "give the same command again to go on\n"
        )
        assert said.count("\n") == 1 and first.returncode == 143
        assert time.monotonic() - begin < 20


def test_an_interrupt_is_said_once(tmp_path: Path) -> None:
    with started(tmp_path, "wait", "wait in C") as processes:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        for process in processes:  # a terminal tells all of them
            process.send_signal(signal.SIGINT)
        assert "".join(process.communicate(timeout=30)[1] for process in processes) == "interrupted\n"
        assert [process.returncode for process in processes] == [130, 130]


@pytest.mark.parametrize(
    ("signals", "size", "status"),
    [
        ((signal.SIGTERM, signal.SIGTERM), 1, 143),
        ((signal.SIGTERM, signal.SIGTERM), 2, 143),
        ((signal.SIGINT, signal.SIGTERM), 2, 130),
        ((signal.SIGINT, signal.SIGINT), 2, 130),
    ],
)
def test_a_second_signal_does_not_cut_short_what_the_first_began(
    tmp_path: Path, signals: tuple[signal.Signals, ...], size: int, status: int
) -> None:
    with started(tmp_path, *["clean"] * size) as (first, *_):
        assert first.stdout is not None
        for number, line in zip(signals, ("waiting\n", "cleaning\n"), strict=True):
            assert first.stdout.readline() == line
            first.send_signal(number)
        assert first.communicate(timeout=30)[0] == "clean\n"
        assert first.returncode == status


def test_nothing_is_said_if_nobody_has_died(tmp_path: Path) -> None:
    with started(tmp_path, "wait", "wait") as processes:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGTERM)
        assert [process.communicate()[1] for process in processes] == ["", ""]
        assert [process.returncode for process in processes] == [143, 143]


def test_one_process_alone_always_speaks(capsys: pytest.CaptureFixture[str]) -> None:
    job = Job(0, 1, None)
    job.enter()
    job.say("error: x")
    job.say("error: y")
    job.say_who_has_died()
    assert capsys.readouterr().err == "error: x\nerror: y\n" and job.dead() == []


def test_without_the_folder_of_torchrun_the_message_is_general(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", "/nowhere/0/error.json")
    job = Job.of_environment()
    assert job.folder is None and job.takes_word()
    assert job.obituary(wait=True).startswith("another process of this job has ended (its own message says why)")
