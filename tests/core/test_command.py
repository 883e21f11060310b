"""Commands as processes: exit status, one line on standard error, no traceback for a user's mistake."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pyserini_sdr.core.command import Command, CommandGroup, main
from pyserini_sdr.core.errors import DataError, SdrError, UsageError, shorten, unknown
from pyserini_sdr.core.manifest import describe_inputs, read_manifest, write_manifest
from pyserini_sdr.core.options import option
from pyserini_sdr.core.registry import Entry, Registry


@dataclass
class Options:
    name: str = option(help="what happens")
    times: int = option(1, help="how often")


def work(options: Options) -> int | None:
    """The function of the command under test."""
    faults = {
        "data": DataError("corpus.jsonl", "empty text", line=7, remedy="remove it"),
        "usage": UsageError("--times: too often"),
        "interrupt": KeyboardInterrupt(),
        "memory": MemoryError(),
        "kernel": RuntimeError("could not create a primitive"),
        "stack": RuntimeError("can't start new thread"),
        "path": FileNotFoundError(2, "No such file or directory", "somewhere"),
        "pipe": BrokenPipeError(),
        "defect": ValueError("a defect of ours"),
    }
    if options.name in faults:
        raise faults[options.name]
    print("worked", options.times)
    return 3 if options.name == "three" else None


COMMAND = Command("Does it.", Options, f"{__name__}:work", "  python -m it --name x", "More about it.")
GROUP = CommandGroup("Does both.", {"do": COMMAND, "undo": COMMAND}, "  python -m it do")


def run(command: Command | CommandGroup, *argv: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(command, "it", argv)
    return stop.value.code


ENCODE = "encode: a smaller --token-budget, with --overwrite"


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (("--name", "data"), 1, "error: corpus.jsonl:7: empty text; remove it\n"),
        (("--name", "usage"), 2, "error: --times: too often\n"),
        (("--name", "interrupt"), 130, "interrupted\n"),
        *(
            (("--name", name), 1, f"error: out of memory; use smaller batches ({ENCODE})\n")
            for name in ("memory", "kernel", "stack")
        ),
        (("--name", "path"), 1, "error: somewhere: No such file or directory\n"),
        ((), 2, "error: --name is required\n"),
        (("--name", "x", "--times", "many"), 2, "error: argument --times: invalid int value: 'many' (see "),
        (("--name", "x", "--tiems", "3"), 2, "error: unrecognized arguments: --tiems 3 (see "),
        (("--name", "x", "--config", "nowhere.yaml"), 1, "error: nowhere.yaml: no such configuration file\n"),
    ],
)
def test_faults_are_one_line(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], status: int, message: str
) -> None:
    assert run(COMMAND, *argv) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert err.count("\n") == 1


def test_status_of_the_function(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(COMMAND, "--name", "x", "--times", "4") == 0
    assert capsys.readouterr().out == "worked 4\n"
    assert run(COMMAND, "--name", "three") == 3


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="a defect of ours"):
        main(COMMAND, "it", ["--name", "defect"])


def test_help_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        COMMAND.execute("python -m it", ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for part in ("Does it.", "More about it.", "examples:\n  python -m it --name x", "how often (default: 1)"):
        assert part in text
    assert "what happens (required)" in text


def test_group(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(GROUP, "--help") == 0
    assert "do    Does it." in capsys.readouterr().out
    assert run(GROUP) == 2
    assert capsys.readouterr().err == "error: a sub-command is required: do, undo\n"
    assert run(GROUP, "udno") == 2
    assert capsys.readouterr().err == "error: unknown sub-command 'udno'; did you mean 'undo' or 'do'?\n"
    assert run(GROUP, "do", "--name", "x") == 0


def test_reader_that_leaves_early() -> None:
    """`... | head`: no traceback, status 0."""
    code = (
        "import sys; from pyserini_sdr.core.command import main\n"
        "class Talker:\n"
        "    def execute(self, prog, argv):\n"
        "        for number in range(200000): print('line', number)\n"
        "        return 0\n"
        "main(Talker(), 'talker')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("lines", [1, 200_000])
def test_standard_output_on_a_full_disk(lines: int) -> None:
    """Few lines fail when they are flushed, many while they are printed."""
    code = (
        "import sys; from pyserini_sdr.core.command import main\n"
        "class Talker:\n"
        "    def execute(self, prog, argv):\n"
        f"        for number in range({lines}): print('line', number)\n"
        "        return 0\n"
        "main(Talker(), 'talker')\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "error: No space left on device; free some space or write elsewhere\n"
    assert done.returncode == 1


def test_data_error_crosses_processes() -> None:
    error = pickle.loads(pickle.dumps(DataError("a.txt", "bad", line=3, remedy="mend it")))
    assert str(error) == "a.txt:3: bad; mend it"
    assert (error.path, error.line, error.exit_status) == ("a.txt", 3, 1)
    assert issubclass(DataError, SdrError)


def test_shorten_and_unknown() -> None:
    assert shorten("x" * 200, 20) == "'" + "x" * 18 + "…"
    assert unknown("loss", "margn", ["margin", "infonce"]) == "unknown loss 'margn'; did you mean 'margin'?"
    assert unknown("loss", "zzz", ["margin", "infonce"]) == "unknown loss 'zzz'; known: infonce, margin"


def test_registry() -> None:
    registry = Registry("shape", {"round": Entry("math:pi", "a circle")})
    assert list(registry) == ["round"]
    assert registry.load("round") == pytest.approx(3.14159, abs=1e-5)
    with pytest.raises(UsageError, match="unknown shape 'ruond'; did you mean 'round'"):
        registry["ruond"]


def test_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "topics.tsv"
    source.write_text("abc")
    monkeypatch.setattr(sys, "argv", ["prog", "--flag", "two words"])
    written = write_manifest(tmp_path / "m.json", "run", config={"hits": 10}, inputs=[source], lines=5)
    read = read_manifest(tmp_path / "m.json")
    assert read == written
    assert read["kind"] == "run" and read["config"] == {"hits": 10} and read["lines"] == 5
    assert read["inputs"] == describe_inputs([source])
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert read["inputs"] == [{"path": os.fspath(source), "bytes": 3, "sha256": digest}]
    assert read["command"].endswith("--flag 'two words'")
    assert {"python", "torch", "pyserini_sdr"} <= read["versions"].keys()
    assert read["cost"]["peak_memory_bytes"] > 1 << 20 and read["cost"]["seconds"] > 0
    assert read["created"].endswith("+00:00")
