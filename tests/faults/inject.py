"""Fault injection: commands are struck at random points, resumed, and compared with an undisturbed run.

    python -m tests.faults.inject --points 200 --output table.md

Each point is a process of its own, forked from one that has imported torch and faiss, so that it costs what its command
does. A point is refused if what looks finished is not the result of an undisturbed run, if the same command given again
does not give that result, if temporary files stay, or if the user gets a traceback instead of a line. As root, the full
disk is a small file system in memory; elsewhere it is a limit on the size of files.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import os
import random
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a pool of threads does not survive a fork
os.environ.setdefault("PYSERINI_SDR_CACHE", tempfile.mkdtemp(prefix="sdr-faults-"))

os.environ["RUST_BACKTRACE"] = "0"  # tokenizers out of memory while it prints one waits for itself forever

DISK = "disk"
"""Folder of what the commands make."""
_LONGEST = 300
"""Seconds after which a command hangs."""
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.scandir", "os.listdir", "shutil.rmtree")
"""Moments at which a process can be struck: whatever it asks of the file system."""
PRELOADED = (
    *("transformers.models.bert.modeling_bert", "faiss", "pytrec_eval", "matplotlib.figure", "jinja2", "scipy.stats"),
    *(
        f"pyserini_sdr.{name}"
        for name in ("train.engine", "train.finish", "encode.engine", "index.build", "mine.engine")
    ),
    *(
        f"pyserini_sdr.{name}"
        for name in ("teach.engine", "evaluate.execute", "search.commands", "model.cross_encoder")
    ),
)


@dataclass(frozen=True)
class Scenario:
    """A command, what it makes, and which file says that this is finished.

    Args:
        line: after `python -m pyserini_sdr.`.
        made: the files of the result, relative to `DISK`, that are compared.
        marker: the file that is there only when the result is whole, relative to `DISK`.
        weights: the result is a checkpoint: the same to 1e-6 instead of byte by byte.
    """

    line: str
    made: tuple[str, ...]
    marker: str
    weights: bool = False


SCENARIOS = {
    "train": Scenario(
        "train --collection collection --encoder encoder --groups groups.jsonl --output disk/out --precision fp32 "
        "--loss infonce --max-steps 8 --eval-steps 2 --batch-size 8 --learning-rate 1e-3 --negatives 2",
        ("out/model.safetensors", "out/tokenizer.json", "out/sdr_encoder.json"),
        "out/sdr_train.json",
        weights=True,
    ),
    "encode": Scenario(
        "encode input --corpus collection output --embeddings disk/out --to-faiss --chunk-size 4 "
        "encoder --encoder checkpoint --precision fp32",
        ("out/index", "out/docid"),
        "out/sdr_index.json",
    ),
    "index build": Scenario(
        "index build --input index --output disk/out --type ivf --nlist 2 --threads 1 --eval-queries 5",
        ("out/index", "out/docid"),
        "out/sdr_index.json",
    ),
    "mine": Scenario(
        "mine --collection collection --index index --negatives 3 --output disk/out.jsonl", ("out.jsonl",), "out.jsonl"
    ),
    "teach": Scenario(
        "teach --collection collection --groups groups.jsonl --teacher cross --window 4 --precision fp32 --name x "
        "--output disk/out.jsonl",
        ("out.jsonl",),
        "out.jsonl",
    ),
    "evaluate": Scenario(
        "evaluate --qrels qrels.txt --runs run.trec other.trec --output disk/out",
        ("out/table.csv",),
        "out/results.json",
    ),
}
FAULTS = ("SIGKILL", "SIGTERM", "SIGINT", "disk full", "file limit", "unwritable", "memory")


@dataclass
class Tally:
    """What became of the points of one command and one fault."""

    points: int = 0
    struck: int = 0
    faults: list[str] = field(default_factory=list)


class Injector:
    """Runs commands in forks, with and without faults.

    Args:
        material: see `material.make_material`; copied for each point.
        work: folder for the points.
    """

    def __init__(self, material: Path, work: Path) -> None:
        self.material, self.work = material, work
        self.whole: dict[str, dict[str, object]] = {}
        self.moments: dict[str, int] = {}
        self.growth: dict[str, int] = {}
        self.sizes: dict[str, int] = {}

    def reference(self, name: str) -> None:
        """Runs a command undisturbed and keeps what it makes, at how many moments it can be struck, and its memory."""
        with self._place() as place:
            counted = place / "moments"
            status, text = self._fork(place, name, lambda: _count(counted))
            assert status == 0, text
            self.whole[name] = self._result(place, SCENARIOS[name])
            self.sizes[name] = sum(path.stat().st_size for path in (place / DISK).rglob("*") if path.is_file())
            self.moments[name], self.growth[name] = map(int, counted.read_text().split())

    def strike(self, name: str, fault: str, rng: random.Random) -> tuple[bool, list[str]]:
        """One point; returns whether the command was disturbed, and what is wrong."""
        scenario, wrong = SCENARIOS[name], []
        moment = rng.randint(1, self.moments[name])
        size = self.sizes[name]
        with self._place() as place, contextlib.ExitStack() as stack:
            arm: Callable[[], None] = lambda: None  # noqa: E731
            if fault.startswith("SIG"):
                arm = lambda: _strike(moment, getattr(signal, fault))  # noqa: E731
            elif fault == "unwritable":
                arm = lambda: _refuse_writing(moment)  # noqa: E731
            elif fault == "memory":
                room = int(self.growth[name] * rng.random() ** 2 / 2)
                arm = lambda: _limit_memory(room)  # noqa: E731
            elif fault == "disk full" and os.geteuid() == 0:
                stack.enter_context(_small_disk(place / DISK, 4096 * rng.randint(1, 1 + size // 4096)))
            else:
                limit = rng.randint(0, size // 2)
                arm = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
            status, text = self._fork(place, name, arm)
            struck = status != 0
            if struck:
                wrong += self._state(place, scenario, name, fault, status, text)
            if fault == "disk full" and os.geteuid() == 0:
                subprocess.run(["mount", "-o", "remount,size=64m", place / DISK], check=True)
            there = self._finished(place, scenario)
            status, text = self._fork(place, name, lambda: None) if struck else (0, "")
            if status and not (there and "already" in text):
                wrong.append(f"given again it ends with {status}: {text.strip().splitlines()[-1:]}")
            elif not self._same(self._result(place, scenario), name):
                wrong.append("given again it gives another result")
            wrong += [f"stays: {left}" for left in _leftovers(place / DISK)]
        return struck, [f"{name}, {fault} at {moment}: {what}" for what in wrong]

    def _state(self, place: Path, scenario: Scenario, name: str, fault: str, status: int, text: str) -> Iterator[str]:
        """What is wrong right after the fault."""
        if status == -signal.SIGALRM:
            yield f"hangs for {_LONGEST} s"
        if self._finished(place, scenario) and not self._same(self._result(place, scenario), name):
            yield "what looks finished is not"
        if fault == "SIGKILL":
            return
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.startswith(("error: ", "interrupted"))]
        if "Traceback" in text and fault != "memory":
            raised = [line for line in text.splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
            yield f"a traceback: {raised[-1:]}"
        elif fault not in ("SIGTERM", "memory") and len(lines) != 1:
            yield f"{len(lines)} messages, status {status}: {text.strip()[-200:]!r}"
        if fault in ("SIGTERM", "SIGINT"):
            yield from (f"stays after {fault}: {left}" for left in _leftovers(place / DISK, resumable=True))

    def _finished(self, place: Path, scenario: Scenario) -> bool:
        return (place / DISK / scenario.marker).exists()

    def _result(self, place: Path, scenario: Scenario) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in scenario.made:
            path = place / DISK / name
            if path.exists():
                weights = scenario.weights and path.suffix == ".safetensors"
                found[name] = path.read_bytes() if weights else hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def _same(self, result: dict[str, object], name: str) -> bool:
        whole = self.whole[name]
        if result.keys() != whole.keys():
            return False
        return all(result[key] == whole[key] or _same_weights(result[key], whole[key]) for key in whole)

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        place = Path(tempfile.mkdtemp(dir=self.work))
        try:
            for entry in self.material.iterdir():
                (place / entry.name).symlink_to(entry)
            (place / DISK).mkdir()
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _fork(self, place: Path, name: str, arm: Callable[[], None]) -> tuple[int, str]:
        """Runs the command in a child that is `arm`ed; returns its status and its standard error."""
        reading, writing = os.pipe()  # no file: its size may be limited
        child = os.fork()
        if child == 0:
            os.close(reading)
            _run(place, SCENARIOS[name].line, writing, arm)
        os.close(writing)
        with open(reading, "rb") as said:  # noqa: PTH123
            text = said.read().decode("utf-8", "replace")
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


def _run(place: Path, line: str, said: int, arm: Callable[[], None]) -> None:
    """In the child: the command as `python -m` runs it; does not return."""
    from pyserini_sdr.core.command import main

    status: object = 1
    try:
        os.chdir(place)
        for stream in (1, 2):
            os.dup2(said, stream)
        os.close(said)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        name, *words = shlex.split(line)
        module = f"pyserini_sdr.{name}"
        command = import_module(f"{module}.__main__").COMMAND
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.alarm(_LONGEST)  # nobody catches it
        arm()
        main(command, module, words)
    except SystemExit as stopped:
        status = stopped.code or 0
    except BaseException:
        status = 1
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


def _at(moment: int, act: Callable[[str, tuple[object, ...]], None]) -> None:
    """Calls `act` at the moment's turn and at all later ones."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in WATCHED:
            seen += 1
            if seen >= moment:
                act(event, arguments)

    sys.addaudithook(watch)


def _count(path: Path) -> None:
    """Writes down at the end how many moments there were, and by how many bytes memory has grown."""
    seen, before = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start, exit = _memory(), os._exit

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        seen += event in WATCHED

    def leave(status: int) -> None:
        grown = max(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before), _memory() - start)
        path.write_text(f"{seen} {max(grown, 1 << 20)}")
        exit(status)

    sys.addaudithook(watch)
    os._exit = leave


def _memory() -> int:
    """Bytes of this process that RLIMIT_DATA counts."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmData")))


def _strike(moment: int, number: int) -> None:
    done = False

    def act(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal done
        if not done:
            done = True
            os.kill(os.getpid(), number)

    _at(moment, act)


def _refuse_writing(moment: int) -> None:
    """From the moment on nothing in `DISK` can be opened for writing, made or renamed."""
    inside = str(Path(DISK).absolute())

    def act(event: str, arguments: tuple[object, ...]) -> None:
        flags = arguments[2] if event == "open" else 0
        writes = event in ("os.rename", "os.mkdir") or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR))
        target = arguments[0] if arguments else ""
        if writes and isinstance(target, str | os.PathLike) and os.path.abspath(target).startswith(inside):  # noqa: PTH100
            raise PermissionError(13, "Permission denied", os.fspath(target))

    _at(moment, act)


def _limit_memory(room: int) -> None:
    limit = _memory() + room
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


@contextlib.contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def _leftovers(folder: Path, *, resumable: bool = False) -> list[str]:
    """Temporary files, and folders of unfinished work unless they may be resumed from."""
    found = []
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        work = any(part in (".train", ".encode") or part.endswith(".parts") for part in Path(name).parts)
        if (work or ".partial" in path.name or path.name.startswith("tmp")) and not (work and resumable):
            found.append(name)
    return sorted(found)[:3]


def _same_weights(one: object, other: object) -> bool:
    if not (isinstance(one, bytes) and isinstance(other, bytes)):
        return False
    import numpy as np
    from safetensors.numpy import load

    first, second = load(one), load(other)
    return first.keys() == second.keys() and all(np.abs(first[key] - second[key]).max() <= 1e-6 for key in first)


def make(folder: Path) -> Path:
    """The material, made in a child: the parent of all points has computed nothing itself."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            from ..tiny import make_tiny_encoder
            from .material import make_material

            (folder / "m").mkdir()
            os.chdir(folder / "m")
            make_material(folder / "m", make_tiny_encoder(folder / "encoder"))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "the material could not be made"
    return folder / "m"


def inject(points: int, seed: int, seconds: float | None = None) -> dict[tuple[str, str], Tally]:
    """Strikes commands with faults in turns, each at a random moment, and tells what became of it."""
    tallies = {(name, fault): Tally() for name in SCENARIOS for fault in FAULTS}
    rng, begin = random.Random(seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sdr-faults-") as temporary:
        injector = Injector(make(Path(temporary)), Path(temporary))
        turns = list(tallies)
        rng.shuffle(turns)
        for number in range(points):
            if seconds is not None and time.monotonic() - begin > seconds:
                break
            name, fault = turns[number % len(turns)]
            if name not in injector.whole:
                injector.reference(name)
            struck, wrong = injector.strike(name, fault, rng)
            tally = tallies[name, fault]
            tally.points, tally.struck = tally.points + 1, tally.struck + struck
            tally.faults += wrong
            for what in wrong:
                print(what, file=sys.stderr, flush=True)
    return tallies


def table(tallies: dict[tuple[str, str], Tally]) -> str:
    """Points that disturbed the command, of all points; below it what was wrong."""
    lines = [f"| command | {' | '.join(FAULTS)} |", f"|---|{'---|' * len(FAULTS)}"]
    for name in SCENARIOS:
        cells = [tallies[name, fault] for fault in FAULTS]
        texts = [f"{c.struck}/{c.points}" + (f", {len(c.faults)} wrong" if c.faults else "") for c in cells]
        lines.append(f"| {name} | {' | '.join(texts)} |")
    wrong = [what for tally in tallies.values() for what in tally.faults]
    count = Counter(what.split(":")[0] for what in wrong)
    total = sum(tally.points for tally in tallies.values())
    lines += ["", f"{total} points, {sum(t.struck for t in tallies.values())} struck, {len(count)} wrong."]
    return "\n".join([*lines, *(f"* {what}" for what in wrong)]) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.inject", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=200, help="faults to inject (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--seconds", type=float, help="begin no point after this time")
    parser.add_argument("--output", type=Path, help="where to write the table")
    options = parser.parse_args()
    for name in PRELOADED:
        import_module(name)
    tallies = inject(options.points, options.seed, options.seconds)
    text = table(tallies)
    print(text)
    if options.output:
        options.output.write_text(text, "utf-8")
    shutil.rmtree(os.environ["PYSERINI_SDR_CACHE"], ignore_errors=True)
    return int(any(tally.faults for tally in tallies.values()))


if __name__ == "__main__":
    ctypes.CDLL(None)  # libc is there before anything is limited
    sys.exit(main())
