"""The command `doctor`: its report, its processes, and that it ends in time."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyserini_sdr.doctor import groups, probe, probes, report
from pyserini_sdr.doctor.command import DoctorOptions
from pyserini_sdr.doctor.finding import Check, Teller, read_told
from pyserini_sdr.doctor.groups import CHECKS, GROUPS, Entry
from pyserini_sdr.doctor.report import describe, run

from ..conftest import ROOT


class Terminal(io.StringIO):
    """A stream that says it is a UTF-8 terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Log(io.TextIOWrapper):
    """A stream that says it is an ASCII file."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="ascii")


def test_json_of_this_machine(tmp_path: Path):
    """The real checks, as a user gives them; there is time enough for a busy machine."""
    command = [sys.executable, "-m", "pyserini_sdr.doctor", "--json", "--limit", "100", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    told = json.loads(done.stdout)
    assert set(told) == {"ok", "checks"}
    assert [check["name"] for check in told["checks"]] == [*CHECKS, str(tmp_path)]
    assert done.returncode == (0 if told["ok"] else 1)
    assert told["ok"] == all(check["status"] != "failure" for check in told["checks"])
    by_name = {check["name"]: check for check in told["checks"]}
    for check in told["checks"]:
        assert set(check) == {"name", "status", "summary", "remedy", "details"}
        assert check["status"] in ("ok", "warning", "failure")
        assert (check["status"] == "ok") == (check["remedy"] is None)
        assert "no answer" not in check["summary"]
        assert "does not work" not in check["summary"]
        assert "\n" not in check["summary"]
    documented = (ROOT / "docs" / "doctor.md").read_text("utf-8").partition("## JSON")[2]
    for check in told["checks"][: len(CHECKS)]:
        assert f"`{check['name']}`" in documented
        assert [name for name in check["details"] if f"`{name}`" not in documented] == []
    assert by_name["torch"]["details"]["version"]
    assert by_name["cpu"]["details"]["cores"] >= 1
    assert by_name["packages"]["details"]["versions"]["numpy"]
    assert by_name["processes"]["status"] == "ok"
    assert by_name[str(tmp_path)]["summary"] == "is empty"


def test_every_check_is_in_one_group_in_the_order_shown():
    assert [name for names in GROUPS.values() for name in names] == list(CHECKS)


def test_it_is_over_in_less_than_ten_seconds_whatever_hangs():
    """What bounds it: all groups start at once, end at the limit, and are gone after the grace."""
    assert DoctorOptions().limit + probes._GRACE < 9
    assert probes._GRACE <= 1


@pytest.fixture
def own_checks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Puts the functions of a module of one's own in the place of the checks."""

    def put(source: str, made: dict[str, tuple[str, ...]], necessary: tuple[str, ...] = ()) -> None:
        (tmp_path / "own_checks.py").write_text("import os, subprocess, sys, time\n" + source)
        names = [name for group in made.values() for name in group]
        table = {name: Entry(f"own_checks:{name}", f"mend {name}", name in necessary) for name in names}
        text = (
            "import sys\nfrom pyserini_sdr.doctor import groups, probe\nfrom pyserini_sdr.doctor.groups import Entry\n"
        )
        text += f"table, made = {table!r}, {made!r}\n"
        text += "probe.CHECKS, probe.GROUPS = table, made\nprobe.main(sys.argv[1], sys.argv[2:])\n"
        (tmp_path / "own_probe.py").write_text(text)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        monkeypatch.setattr(probes, "_PROBE", "own_probe")
        for module in (probes, groups):
            monkeypatch.setattr(module, "CHECKS", table)
            monkeypatch.setattr(module, "GROUPS", made)

    return put


FINE = "def fine(teller):\n    from pyserini_sdr.doctor.finding import Check\n    return Check('fine', 'ok', 'well')\n"


def test_what_hangs_is_a_finding_and_is_gone(own_checks, tmp_path: Path):
    """Also what it has started; and what it has found before that is told."""
    hangs = (
        "def hangs(teller):\n"
        "    teller.doing('asking the deaf')\n"
        f"    started = subprocess.Popen(['sleep', '1000'])\n"
        f"    open({str(tmp_path / 'pid')!r}, 'w').write(str(started.pid))\n"
        "    time.sleep(1000)\n"
    )
    own_checks(FINE + hangs, {"one": ("fine", "hangs", "later"), "two": ("fine",)}, necessary=("hangs",))
    begin = time.monotonic()
    found = list(probes.run_checks(limit := 8.0))
    assert time.monotonic() - begin < limit + probes._GRACE + 5  # a busy machine
    assert [(check.name, check.status) for check in found] == [
        ("fine", "ok"),
        ("hangs", "warning"),
        ("later", "warning"),
        ("fine", "ok"),
    ]
    assert found[1].summary == "no answer within 8 s while asking the deaf"
    assert found[1].remedy == "try again with --limit 40; if that is no better, mend hangs"
    assert found[2].summary == "not tried, as hangs did not end"
    started = int((tmp_path / "pid").read_text())
    for _ in range(100):  # init takes its time to bury it
        state = Path(f"/proc/{started}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        pytest.fail("what it started still runs")


def test_what_ends_its_process_is_a_finding(own_checks):
    crash = "def crash(teller):\n    print('illegal', file=sys.stderr, flush=True)\n    os.kill(os.getpid(), 4)\n"
    leave = "def leave(teller):\n    os._exit(3)\n"
    own_checks(crash + leave, {"one": ("crash",), "two": ("leave",)}, necessary=("crash",))
    crashed, left = probes.run_checks(30)
    assert (crashed.status, crashed.summary) == ("failure", "its process ended by SIGILL: illegal")
    assert (left.status, left.summary, left.remedy) == ("warning", "its process ended with status 3", "mend leave")


def test_what_breaks_does_not_end_the_others(own_checks):
    broken = "def broken(teller):\n    print('noise')\n    raise ImportError('libfoo.so: cannot open\\nmore')\n"
    own_checks(FINE + broken, {"one": ("broken", "fine")}, necessary=("broken",))
    first, second = probes.run_checks(30)
    assert (first.status, first.remedy) == ("failure", "mend broken")
    assert first.summary == "does not work (ImportError: libfoo.so: cannot open)"
    assert second.status == "ok"


def test_what_is_not_installed_is_a_finding(own_checks):
    missing = "def missing(teller):\n    import no_such_package.part\n"
    own_checks(missing, {"one": ("missing",)}, necessary=("missing",))
    (found,) = probes.run_checks(30)
    assert (found.status, found.summary) == ("failure", "no_such_package is not installed")
    assert found.remedy == "run `pip install no_such_package`"


def test_a_bare_environment_is_told_in_words():
    """Every command imports tqdm; a module that is None in `sys.modules` is not found."""
    code = "import runpy, sys; sys.modules['tqdm'] = None; runpy.run_module('pyserini_sdr.doctor', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("x packages: tqdm is not installed\n  -> run `pip install .`")


def test_where_no_process_can_be_started():
    code = "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14)); "
    code += "runpy.run_module('pyserini_sdr.doctor', run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: no process can be started (Too many open files); run `ulimit -n 1024")
    assert done.stderr.count("\n") == 1


def test_a_line_that_was_cut_is_left_out():
    stream = io.StringIO()
    Teller(stream).tell(Check("a", "ok", "ä", notes=("n",)))
    Teller(stream).doing("looking")
    assert read_told(stream.getvalue()) == ([Check("a", "ok", "ä", notes=("n",))], "looking")
    assert read_told(stream.getvalue()[:-2]) == ([Check("a", "ok", "ä", notes=("n",))], "")


def test_what_others_print_before_the_checks_is_left_out(own_checks, tmp_path: Path):
    own_checks(FINE, {"one": ("fine",)})
    (tmp_path / "sitecustomize.py").write_text("print('welcome')\nprint(1)\n")
    (found,) = probes.run_checks(30)
    assert (found.name, found.status) == ("fine", "ok")


def test_a_path_is_no_check_whatever_its_name(monkeypatch: pytest.MonkeyPatch):
    """One that cannot be looked at is a failure, also where the check of that name is not necessary."""
    (ended,) = probes._complete(groups.PATHS, ("hub",), "", "", -signal.SIGSEGV, 8.0)
    assert (ended.name, ended.status) == ("hub", "failure")
    assert "HF_HUB_OFFLINE" not in str(ended.remedy)
    told = io.StringIO()
    monkeypatch.setattr(probe, "Teller", lambda stream: Teller(told))
    monkeypatch.setattr(probe.os, "dup2", lambda *_: None)
    monkeypatch.setattr("pyserini_sdr.doctor.paths.check_path", lambda path, teller: 1 / 0)
    probe.main(groups.PATHS, ["hub"])
    (broken,) = read_told(told.getvalue())[0]
    assert (broken.name, broken.status, broken.remedy) == ("hub", "failure", "look at it by `ls`")


def test_exit_status_and_last_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    warning = Check("a", "warning", "not so good", "do this")
    monkeypatch.setattr(report, "run_checks", lambda limit, paths: iter([warning]))
    assert run(DoctorOptions()) == 0
    margin = " " * (report._WIDTH + 2)
    first = f"! {'a':<{report._WIDTH}}not so good\n{margin}-> do this\n"
    assert capsys.readouterr().out == f"{first}everything necessary works; warnings: a\n"
    failure = Check("/a/long/path/to/a/thing", "failure", "is damaged", "mend it")
    monkeypatch.setattr(report, "run_checks", lambda limit, paths: iter([warning, failure]))
    assert run(DoctorOptions()) == 1
    out = capsys.readouterr().out
    assert f"✗ {failure.name}\n{margin}is damaged\n" in out
    assert out.endswith(f"not everything works: {failure.name}\n")


def test_colours_only_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    check, name = Check("java", "failure", "nonë"), f"{'java':<{report._WIDTH}}"
    assert describe(check, Terminal()) == f"\033[31m✗\033[0m {name}nonë"
    assert describe(check, Terminal(), colour=False) == f"✗ {name}nonë"
    assert describe(check, Log()) == f"x {name}non\\xeb"
    monkeypatch.setenv("NO_COLOR", "1")
    assert describe(check, Terminal()) == f"✗ {name}nonë"
