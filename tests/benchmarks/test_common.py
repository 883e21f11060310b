"""Interleaving, ratios, child processes, facts, results. Nothing here is timed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import common
import pytest
from common import Benchmark, claim, corpus_and_count, interleave, paired_ratio, spread
from facts import ROOT, command_text, machine_facts, portable
from processes import last_complaint, run_process

from pyserini_sdr.core.errors import DataError, SdrError, UsageError


def test_arms_take_turns():
    order: list[str] = []
    arms = {name: (lambda name=name: order.append(name) or len(order)) for name in "ABC"}
    assert interleave(arms, 2) == {"A": [1, 4], "B": [2, 5], "C": [3, 6]}
    assert order == list("ABCABC")


def test_ratios_are_taken_round_by_round():
    """A round in which everything takes ten times as long does not count more than another."""
    ratio = paired_ratio([4.0, 40.0, 6.0], [2.0, 20.0, 2.0])
    assert ratio == {"median": 2.0, "min": 2.0, "max": 3.0, "values": [2.0, 2.0, 3.0]}
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired_ratio([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="no values"):
        spread([])


@pytest.mark.parametrize(("at_most", "reached"), [(False, True), (True, False)])
def test_claims_say_whether_their_aim_is_reached(capsys, at_most: bool, reached: bool):
    found = claim("ours over stock", spread([2.0, 3.0, 4.0]), 2.5, at_most=at_most)
    assert found["reached"] is reached
    out = capsys.readouterr().out
    assert "ours over stock" in out and ("reached" in out) is reached and ("MISSED" in out) is not reached
    assert claim("no aim", spread([1.0]))["reached"] is None


def test_memory_is_the_child_s_own():
    """The process that starts it may be large: its memory is not counted."""
    ballast = bytearray(300 << 20)
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    small = run_process([sys.executable, "-I", "-S", "-c", "print('done')"])
    large = run_process([sys.executable, "-I", "-S", "-c", "b = bytearray(120 << 20); b[::4096] = b'x' * 30720"])
    assert small.text == "done\n"
    assert small.peak_memory_bytes < 60e6
    assert 120e6 < large.peak_memory_bytes < 200e6


def test_a_process_that_fails_is_told_in_one_line():
    code = "import sys; print('ValueError: no good', file=sys.stderr); print('at 100%'); sys.exit(3)"
    with pytest.raises(SdrError, match=r"exit status 3: ValueError: no good; the command: python -c") as caught:
        run_process([sys.executable, "-c", code])
    assert "\n" not in str(caught.value)
    with pytest.raises(SdrError, match="could not be started: FileNotFoundError"):
        run_process(["./no-such-program"])


def test_the_last_complaint_is_found_among_bars():
    assert last_complaint("error: a\nencode: 3%\rencode: 4%\n") == "error: a"
    assert last_complaint("one\ntwo\n\n") == "two"
    assert last_complaint("") == "it printed nothing"


def test_nothing_goes_on_when_a_run_is_stopped(tmp_path: Path):
    """What was started and the folder are gone when the script has been asked to end."""
    script, mark = tmp_path / "toy.py", tmp_path / "pid"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(common.__file__).parent)!r})\n"
        "import common, processes\n"
        f"code = \"import os, time; open({str(mark)!r}, 'w').write(str(os.getpid())); time.sleep(60)\"\n"
        "work = lambda _: processes.run_process([sys.executable, '-c', code])\n"
        "common.Benchmark('toy', '').run(work)\n"
    )
    process = subprocess.Popen([sys.executable, str(script), "--scratch", str(tmp_path / "scratch")])
    wait_for(lambda: mark.exists() and mark.read_text())
    assert list((tmp_path / "scratch").iterdir())
    process.terminate()
    assert process.wait(30) == 143
    assert not list((tmp_path / "scratch").iterdir())
    wait_for(lambda: not is_running(int(mark.read_text())))


def wait_for(condition) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")  # killed, and not waited for by anyone yet
    return not (state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def test_environment_reaches_the_process():
    code = "import os; print(os.environ['SDR_TEST'], 'HOME' in os.environ)"
    done = run_process([sys.executable, "-I", "-c", code], environment={"SDR_TEST": "x"})
    assert done.text == "x False\n"


def test_results_name_no_folder_of_the_machine():
    outside = ROOT.parent / "elsewhere" / "corpus"
    assert portable(outside) == os.path.join("..", "elsewhere", "corpus")  # noqa: PTH118
    text = command_text([sys.executable, "x.py", "--corpus", str(outside), f"--index={outside}", "a b"])
    assert text == "python x.py --corpus ../elsewhere/corpus --index=../elsewhere/corpus 'a b'"


def test_facts_of_the_machine_are_json():
    facts = json.loads(json.dumps(machine_facts()))
    assert facts["cores"] >= 1 and facts["cpu"] and "torch" in facts["versions"]
    assert len(facts["load_average"]) == 3


def test_corpus_and_count(tmp_path: Path):
    (tmp_path / "with:colon").mkdir()
    assert corpus_and_count(f"{tmp_path}:7", 5) == (tmp_path, 7)
    assert corpus_and_count(str(tmp_path), 5) == (tmp_path, 5)
    assert corpus_and_count(str(tmp_path / "with:colon"), 5) == (tmp_path / "with:colon", 5)
    with pytest.raises(UsageError, match="positive number"):
        corpus_and_count(f"{tmp_path}:0", 5)
    with pytest.raises(DataError, match="no such corpus"):
        corpus_and_count(str(tmp_path / "none") + ":3", 5)


def run(monkeypatch: pytest.MonkeyPatch, work, *argv: object) -> int:
    monkeypatch.setattr(sys, "argv", ["toy.py", *map(str, argv)])
    with pytest.raises(SystemExit) as stop:
        Benchmark("toy", "a toy").run(work)
    return stop.value.code


def test_a_result_holds_facts_and_what_was_measured(tmp_path, monkeypatch):
    seen = []

    def work(benchmark: Benchmark) -> dict:
        seen.append(benchmark.folder)
        assert benchmark.folder.is_dir()
        return {"answer": 42}

    out = tmp_path / "deep" / "toy.json"
    assert run(monkeypatch, work, "--output", out, "--rounds", 4, "--scratch", tmp_path / "scratch") == 0
    result = json.loads(out.read_text())
    assert (result["name"], result["answer"], result["rounds"], result["quick"]) == ("toy", 42, 4, False)
    assert {"created", "command", "revision", "machine"} <= result.keys()
    assert not seen[0].exists() and seen[0].parent == tmp_path / "scratch"


def test_a_trial_writes_nothing_of_its_own_accord(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    assert run(monkeypatch, lambda benchmark: {"rounds_seen": benchmark.args.rounds}, "--quick") == 0
    assert list(tmp_path.iterdir()) == [] and "no file written" in capsys.readouterr().err
    assert run(monkeypatch, lambda _: {}) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["toy.json"]


def test_an_error_is_one_line_and_leaves_no_file(tmp_path, monkeypatch, capsys):
    def work(_: Benchmark) -> dict:
        raise UsageError("--corpus: is missing")

    assert run(monkeypatch, work, "--output", tmp_path / "toy.json") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: --corpus: is missing"  # before it: a busy machine
    assert list(tmp_path.iterdir()) == []
