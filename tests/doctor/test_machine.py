"""Checks of the processor, memory and limits; each finding forced."""

from __future__ import annotations

import io
import resource
from pathlib import Path

import pytest

from pyserini_sdr.doctor import machine
from pyserini_sdr.doctor.finding import GIB, Teller

TELLER = Teller(io.StringIO())
ENDLESS = resource.RLIM_INFINITY


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch):
    """Four cores, no settings of threads or of the allocator."""
    for name in ("OMP_NUM_THREADS", "LD_PRELOAD", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "available_cores", lambda: 4)
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    monkeypatch.setattr(machine, "keep_memory", lambda: True)


def test_cores_and_allocator(monkeypatch: pytest.MonkeyPatch):
    check = machine.check_cpu(TELLER)
    assert (check.status, check.summary.partition(", ")[0]) == ("ok", "4 cores")
    assert check.summary.endswith("glibc's malloc, tuned")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libjemalloc.so.2")
    assert machine.check_cpu(TELLER).summary.endswith("jemalloc beside MALLOC_ARENA_MAX")
    monkeypatch.setattr(machine, "keep_memory", lambda: False)
    monkeypatch.delenv("LD_PRELOAD")
    assert machine.check_cpu(TELLER).details["malloc"] == "malloc as it is"


def test_more_threads_than_the_container_grants(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "cpu_quota", lambda: 1.5)
    check = machine.check_cpu(TELLER)
    assert (check.status, check.remedy) == ("warning", "export OMP_NUM_THREADS=1")
    assert "grants only 1.5" in check.summary
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert machine.check_cpu(TELLER).status == "ok"


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "16")
    check = machine.check_cpu(TELLER)
    assert (check.status, check.remedy) == ("warning", "export OMP_NUM_THREADS=4, or unset it")


@pytest.mark.parametrize(
    ("content", "cores"), [("150000 100000\n", 1.5), ("max 100000\n", None), ("-1\n", None), ("", None)]
)
def test_quota_of_a_container(content: str, cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    (tmp_path / "cpu.max").write_text(content)
    monkeypatch.setattr(machine, "_QUOTAS", ((str(tmp_path / "cpu.max"), None), (str(tmp_path / "none"), "period")))
    assert machine.cpu_quota() == cores


def test_quota_of_an_old_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    (tmp_path / "quota").write_text("200000\n")
    (tmp_path / "period").write_text("100000\n")
    monkeypatch.setattr(machine, "_QUOTAS", ((str(tmp_path / "quota"), "period"),))
    assert machine.cpu_quota() == 2


@pytest.mark.parametrize(
    ("of_machine", "of_container", "status"),
    [
        ((8 * GIB, 4 * GIB), None, "ok"),
        ((8 * GIB, GIB), None, "warning"),
        ((8 * GIB, 4 * GIB), (3 * GIB, GIB), "warning"),
        ((None, None), None, "ok"),
        ((GIB, None), None, "warning"),
    ],
)
def test_little_memory(of_machine, of_container, status: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine, "memory", lambda: of_machine)
    monkeypatch.setattr(machine, "container_memory", lambda: of_container)
    check = machine.check_memory(TELLER)
    assert check.status == status
    assert (check.remedy is None) == (status == "ok")


@pytest.mark.parametrize(
    ("name", "soft", "hard", "summary", "remedy"),
    [
        ("RLIMIT_NOFILE", 256, 4096, "at most 256 open files", "run `ulimit -n 4096` in the shell"),
        ("RLIMIT_NOFILE", 256, 256, "at most 256 open files", "run `ulimit -n 4096` (as root) in the shell"),
        ("RLIMIT_NOFILE", 256, 1024, "at most 256 open files", "run `ulimit -n 4096` (as root) in the shell"),
        ("RLIMIT_FSIZE", 1 << 30, 1 << 31, "at most files of 1,073,741,824 bytes", "`ulimit -f unlimited` (as root)"),
        ("RLIMIT_FSIZE", 1 << 30, ENDLESS, "at most files of 1,073,741,824 bytes", "ulimit -f unlimited"),
        ("RLIMIT_AS", 1 << 30, ENDLESS, "bytes of addresses", "ulimit -v unlimited"),
        ("RLIMIT_DATA", 1 << 30, ENDLESS, "bytes of data", "ulimit -d unlimited"),
        ("RLIMIT_NPROC", 64, 64, "64 processes and threads", "`ulimit -u 4096` (as root)"),
        ("RLIMIT_CPU", 60, ENDLESS, "60 seconds of the processor", "ulimit -t unlimited"),
        ("RLIMIT_AS", 128 * GIB, ENDLESS, "any number of open files; no others", None),
    ],
)
def test_tight_limits(
    name: str, soft: int, hard: int, summary: str, remedy: str | None, monkeypatch: pytest.MonkeyPatch
):
    number = getattr(resource, name)
    monkeypatch.setattr(
        machine.resource, "getrlimit", lambda asked: (soft, hard) if asked == number else (ENDLESS, ENDLESS)
    )
    check = machine.check_limits(TELLER)
    assert summary in check.summary
    assert (check.status, check.remedy) == ("ok", None) if remedy is None else remedy in check.remedy
    assert check.details[name.lower()] == soft
