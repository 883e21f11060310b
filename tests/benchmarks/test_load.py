"""The load benchmarks at tiny sizes: their material, the memory of a tree of processes, and their results."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import load_stages
import numpy as np
import processes
import pytest
from load_material import encoder_of, first_topics, gather_topics, write_mixed_index, write_runs
from load_stages import memory_claims, side_by_side
from load_vectors import recall
from material import write_random_index
from processes import run_process
from report import write_report

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.index.flat import open_flat
from pyserini_sdr.trec.qrels import read_qrels
from pyserini_sdr.trec.run import read_run
from pyserini_sdr.trec.topics import read_topics

_CHILD = "import subprocess, sys, time; b = bytearray({own} << 20); b[::4096] = b'x' * len(b[::4096]); {then}"


def ballast(megabytes: int, then: str) -> str:
    return _CHILD.format(own=megabytes, then=then)


def test_memory_of_a_tree_is_that_of_all_its_processes_together():
    grandchild = ballast(100, "time.sleep(1)")
    code = ballast(80, f"subprocess.run([sys.executable, '-I', '-S', '-c', {grandchild!r}], check=True)")
    alone = run_process([sys.executable, "-I", "-c", code])
    together = run_process([sys.executable, "-I", "-c", code], tree=True)
    assert alone.peak_memory_bytes < 150e6 < 180e6 < together.peak_memory_bytes < 260e6


def test_memory_that_is_there_for_a_moment_only_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a process which starts another: until that one runs its own program, there seem to be two of it."""
    sums = iter([3, 3, 9, 4, 5, 5, 8])
    monkeypatch.setattr(processes, "_descendants", lambda pid: iter([pid]))
    monkeypatch.setattr(processes, "_resident_bytes", lambda pid: next(sums, 0))
    monkeypatch.setattr(processes.TreeMemory, "_EVERY", 0.01)
    watch = processes.TreeMemory(1)
    time.sleep(0.5)
    assert watch.stop() == 5


def test_an_error_of_one_command_ends_those_beside_it():
    """Without waiting for them, or beginning those that are left."""

    def wait(marker: str) -> None:
        run_process([sys.executable, "-I", "-c", f"import time; time.sleep(600)  # {marker}"])

    def fail() -> None:
        time.sleep(1)
        raise ValueError("no good")

    begun: list[str] = []
    calls = {"a": partial(wait, "a"), "fail": fail, "b": partial(wait, "b"), "c": partial(begun.append, "c")}
    start = time.monotonic()
    with pytest.raises(ValueError, match="no good"):
        side_by_side(2, calls)
    assert time.monotonic() - start < 60
    assert side_by_side(2, {"x": lambda: 1, "y": lambda: 2, "z": lambda: 3}) == {"x": 1, "y": 2, "z": 3}


def test_what_is_finished_when_it_is_ended_is_kept(tmp_path: Path):
    code = f"""
import os, signal, sys, threading, time
sys.path.insert(0, {str(Path(load_stages.__file__).parent)!r})
from load_stages import side_by_side
from processes import run_process
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
ended = lambda: threading.Timer(2, os.kill, (os.getpid(), signal.SIGTERM)).start()
wait = lambda: run_process([sys.executable, "-I", "-c", "import time; time.sleep(600)"])
print(side_by_side(2, {{"first": ended, "long": wait, "last": wait, "never": ended}}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "{'first': None}\n"), done.stderr
    assert "ended early: 1 of 4 are finished" in done.stderr


def test_mixed_vectors_lie_between_those_of_the_source(tmp_path: Path):
    source = write_random_index(tmp_path / "source", 50, 16, 0)
    made = [write_mixed_index(tmp_path / name, source, 10_005, 3) for name in ("one", "two")]
    assert (made[0] / "index").read_bytes() == (made[1] / "index").read_bytes()
    vectors, known = (open_flat(folder / "index").vectors for folder in (made[0], source))
    assert vectors.shape == (10_005, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert len((made[0] / "docid").read_text().split()) == 10_005
    assert (vectors[:500] @ known.T).max(axis=1).mean() > 0.7  # of random vectors it would be 0.5
    with pytest.raises(DataError, match="sdr_index"):
        encoder_of(source)


def test_topics_that_are_lacking_are_made_of_two(tmp_path: Path):
    (tmp_path / "a.tsv").write_text("1\tone two three four\n2\tfive six seven eight\n")
    topics = read_topics(gather_topics([tmp_path / "a.tsv"], 6, 0, tmp_path / "all.tsv"))
    assert len(topics) == 6 and {"1", "2"} < set(topics)
    assert {len(query.split()) for query in topics.values()} == {4}
    first = read_topics(first_topics(tmp_path / "all.tsv", 4, tmp_path / "first.tsv"))
    assert list(first.items()) == list(topics.items())[:4]


def test_runs_share_documents_and_are_judged(tmp_path: Path):
    paths = [tmp_path / "a.trec", tmp_path / "b.trec"]
    write_runs(paths, tmp_path / "qrels.txt", 4, 50, 0)
    a, b = map(read_run, paths)
    qrels = read_qrels(tmp_path / "qrels.txt")
    assert list(a) == list(b) == list(qrels) == ["q0", "q1", "q2", "q3"]
    for qid in a:
        assert len(a[qid]) == len(b[qid]) == 50
        assert 10 < len(a[qid].keys() & b[qid].keys()) < 40
        assert len(qrels[qid]) == 10 and qrels[qid].keys() & (a[qid].keys() | b[qid].keys())
    assert recall(paths[0], paths[0], 10) == 1.0
    assert 0 < recall(paths[0], paths[1], 50) < 0.8


def test_claims_are_on_the_worst_command():
    sizes = {"flat": (1.0, 1.1), "growing": (0.5, 1.5), "large": (4.2,)}
    stages = [
        {"name": name, "size": 10**place, "peak_memory_bytes": gigabytes * 1e9}
        for name, peaks in sizes.items()
        for place, gigabytes in enumerate(peaks)
    ]
    peak, growth = memory_claims(stages, "topics")
    assert (peak["what"], peak["reached"]) == ("greatest peak memory (large)", False)
    assert (growth["what"], growth["reached"]) == ("greatest growth from 1 to 10 topics (growing)", False)
    assert growth["value"]["median"] == pytest.approx(1.0)
    assert len(memory_claims(stages[-1:], "vectors")) == 1


def test_the_run_benchmark_from_end_to_end(scripts: Path, tmp_path: Path):
    output = tmp_path / "results" / "load_run.json"
    words = ["--topics", "30", "--depth", "20", "--scratch", str(tmp_path), "--output", str(output)]
    subprocess.run([sys.executable, str(scripts / "load_run.py"), *words], capture_output=True, check=True, timeout=300)
    result = json.loads(output.read_text())
    assert (result["lines"], result["rounds"]) == (600, 1)
    sizes = [(stage["name"], stage["size"]) for stage in result["stages"]]
    assert sizes == [
        (name, size) for size in (3, 30) for name in ("evaluate", "evaluate --per-query", "run check", "run fuse")
    ]
    assert all(5e6 < stage["peak_memory_bytes"] < 1e9 and stage["seconds"] > 0 for stage in result["stages"])
    assert [claim["reached"] for claim in result["claims"]] == [True, True]
    write_report(output.parent, tmp_path / "page.md")
    assert "600 lines" in (tmp_path / "page.md").read_text()
    assert not list(tmp_path.glob("sdr-benchmark-*"))


def test_memory_does_not_grow_with_the_topics_of_a_run(tmp_path: Path):
    """Peak memory of evaluating and fusing runs of 300 and of 3,000 topics, whose 300,000 lines would take 60 MB.

    Below 300 topics it grows with them, as the bootstrap draws up to two million numbers at a time.
    """
    peaks: dict[str, list[int]] = {}
    for topics in (300, 3000):
        paths = [tmp_path / f"{name}{topics}.trec" for name in "ab"]
        write_runs(paths, tmp_path / "qrels.txt", topics, 100, 0)
        commands = {
            "evaluate": ("--qrels", tmp_path / "qrels.txt", "--runs", paths[0], "--metrics", "map"),
            "run": ("fuse", "--runs", *paths, "--output", tmp_path / "fused.trec"),
        }
        for module, words in commands.items():
            argv = [sys.executable, "-m", f"pyserini_sdr.{module}", *map(str, words)]
            peaks.setdefault(module, []).append(run_process(argv).peak_memory_bytes)
    for module, (less, more) in peaks.items():
        assert more - less < 25e6, (module, less, more)
