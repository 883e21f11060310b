"""Tuning of the process."""

from __future__ import annotations

import platform

import pytest

from pyserini_sdr.core import runtime


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_glibc_takes_the_allocator_settings():
    assert runtime.keep_memory()  # it refuses, without a word, a threshold above 32 MB


def test_threads_sleep_at_barriers_unless_the_user_says_otherwise(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"):
        monkeypatch.delenv(name, raising=False)
    runtime.share_cores()
    assert runtime.os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    monkeypatch.delenv("OMP_WAIT_POLICY")
    monkeypatch.setenv("GOMP_SPINCOUNT", "5000")
    runtime.share_cores()
    assert "OMP_WAIT_POLICY" not in runtime.os.environ


def test_available_cores():
    assert 1 <= runtime.available_cores() <= (runtime.os.cpu_count() or 1)
