"""One point: a command is struck by a fault, looked at, given again, and compared with an undisturbed run."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import blows
from .forks import CACHE, LONGEST, TEMPORARY, Ending, run_in_fork
from .scenarios import DISK, SCENARIOS, Scenario

_HALVINGS = 7
"""Runs in which the memory is found that a command needs."""
_NUMBER = re.compile(r"(-?\d+\.\d+(?:e-?\d+)?)")


@dataclass(frozen=True)
class Outcome:
    """What became of a point; one line of the results.

    Args:
        point: its number.
        command: of `SCENARIOS`.
        fault: of `FAULTS`.
        where: the moment, the second or the limit that was drawn.
        struck: whether the command was disturbed; if not, the point is drawn anew.
        ended: `line` (one message), `traceback`, `nothing`, `signal N`, or `whole` if it was not disturbed.
        said: the last line of what it said, if it ended otherwise than with one message.
        finished: the result was there all the same.
        same: whether the result in the end is that of an undisturbed run: `bytes`, `close` (see `_close`), or `no`.
        wrong: what is wrong.
    """

    point: int
    command: str
    fault: str
    where: str
    struck: bool
    ended: str
    said: str
    finished: bool
    same: str
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run of a command.

    Args:
        result: file → its bytes.
        names: all files that it leaves.
        moments: at how many moments it can be struck (see `blows.WATCHED`).
        seconds: of the processor that it takes.
        size: bytes of all files.
        memory: the least bytes, beyond what its imports have, with which it has been seen to end well.
    """

    result: dict[str, bytes]
    names: frozenset[str]
    moments: int
    seconds: float
    size: int
    memory: int


class Injector:
    """Strikes commands.

    Args:
        material: see `material.make_material`.
        work: folder for the points.
    """

    def __init__(self, material: Path, work: Path) -> None:
        self.material, self.work = material, work
        self.whole: dict[str, Reference] = {}

    def refer(self, name: str, *, memory: bool) -> tuple[str, Reference]:
        """Runs a command undisturbed, for what it makes and takes and for its moments; what `whole` is to hold.

        Args:
            name: of the command.
            memory: find out how much it needs.
        """
        line = SCENARIOS[name].line
        with self._place() as place:
            first = run_in_fork(place, line, lambda: None, watched=True)
            assert first.status == 0, first.text
            result = _result(place, SCENARIOS[name])
            files = [path for path in (place / DISK).rglob("*") if path.is_file()]
            names = frozenset(str(path.relative_to(place / DISK)) for path in files)
            size = sum(path.stat().st_size for path in files)
        with self._place() as place:
            counted = place / "moments"
            second = run_in_fork(place, line, lambda: blows.count_moments(counted))
            assert second.status == 0, second.text
            moments = int(counted.read_text())
            again = _result(place, SCENARIOS[name])
        least = self._least_memory(line, first.growth) if memory else first.growth
        whole = Reference(result, names, moments, first.seconds, size, least)
        assert _same(again, whole) == "bytes", f"{name}: two undisturbed runs differ"
        return name, whole

    def _least_memory(self, line: str, growth: int) -> int:
        """See `Reference.memory`: much of what a process asks for it can do without."""
        too_little, enough = 0, max(growth, 1 << 16)
        for _ in range(_HALVINGS):
            room = (too_little + enough) // 2
            with self._place() as place:
                ending = run_in_fork(place, line, lambda room=room: blows.limit_memory(room))
            too_little, enough = (room, enough) if ending.status else (too_little, room)
        return enough

    def strike(self, number: int, name: str, fault: str, seed: int, draw: int) -> Outcome:
        """The `draw`th draw of a point, from 0; it decides, with the seed, where the command is struck."""
        scenario, wrong = SCENARIOS[name], []
        with self._place() as place, contextlib.ExitStack() as stack:
            where, arm, later = self._draw(name, fault, random.Random(f"{seed}:{number}:{draw}"), draw, place, stack)
            first = run_in_fork(place, scenario.line, arm, later=later)
            struck, ended = first.status != 0, _ended(first)
            finished = (place / DISK / scenario.marker).exists()
            if struck:
                wrong += self._after(place, name, fault, first, ended)
                if os.path.ismount(place / DISK):
                    blows.enlarge(place / DISK)
                again = run_in_fork(place, scenario.line, lambda: None)
                if again.status and not (finished and "already" in again.text):
                    wrong.append(f"given again it ends with {again.status}: {again.text.strip().splitlines()[-1:]}")
            same = _same(_result(place, scenario), self.whole[name])
            if same == "no" or (same == "close" and not scenario.weights and fault != "memory"):
                wrong.append("given again it gives another result" if struck else "undisturbed, another result")
            wrong += self._other_files(place, name)
            ended, said = (ended, _said(first)) if struck else ("whole", "")
        return Outcome(number, name, fault, where, struck, ended, said, finished, same, tuple(wrong))

    def _draw(
        self, name: str, fault: str, rng: random.Random, draw: int, place: Path, stack: contextlib.ExitStack
    ) -> tuple[str, Callable[[], None], tuple[float, int] | None]:
        """Where the command is struck, what is to be armed in it, and a signal at a later time."""
        whole = self.whole[name]
        moment = rng.randint(1, whole.moments)
        if fault.startswith("SIG"):
            number = getattr(signal, fault)
            if rng.random() < 0.5:  # in the midst of what libraries compute and write, which no moment sees
                seconds = rng.uniform(0.001, whole.seconds)
                return f"after {seconds:.3f} of {whole.seconds:.3f} s", lambda: None, (seconds, number)
            return f"moment {moment} of {whole.moments}", lambda: blows.signal_at(moment, number), None
        if fault == "unwritable":
            return f"from moment {moment} of {whole.moments}", lambda: blows.refuse_writing(moment), None
        if fault == "memory":
            room = int(whole.memory * rng.random() ** (1 + draw))  # what sufficed once may not the next time
            return f"{room:,} of {whole.memory:,} bytes", lambda: blows.limit_memory(room), None
        if fault == "disk full" and blows.can_mount():
            size = 4096 * rng.randint(1, 1 + whole.size // 4096)
            stack.enter_context(blows.small_disk(place / DISK, size))
            return f"{size:,} bytes", lambda: None, None
        limit = rng.randint(0, whole.size // 2)
        return f"files of {limit:,} bytes", lambda: blows.limit_files(limit), None

    def _after(self, place: Path, name: str, fault: str, ending: Ending, ended: str) -> Iterator[str]:
        """What is wrong right after the fault."""
        scenario = SCENARIOS[name]
        if ending.status == -signal.SIGALRM:
            yield f"hangs for {LONGEST} s"
        if (place / DISK / scenario.marker).exists() and _same(_result(place, scenario), self.whole[name]) == "no":
            yield "what looks finished is not"
        if fault in ("SIGKILL", "memory"):  # what lacks memory may not be able to say so
            return
        if ended != "line" and not (fault == "SIGTERM" and ended == "nothing"):
            yield f"ends with status {ending.status} and: {ending.text.strip()[-2000:]!r}"
        if fault in ("SIGTERM", "SIGINT"):
            yield from (f"stays after {fault}: {left}" for left in _temporary(place, resumable=True))

    def _other_files(self, place: Path, name: str) -> Iterator[str]:
        """What there is at the end besides the files of an undisturbed run, and what of these there is not."""
        found = {str(path.relative_to(place / DISK)) for path in (place / DISK).rglob("*") if path.is_file()}
        whole = self.whole[name].names
        yield from (f"stays: {left}" for left in [*_temporary(place), *sorted(found - whole)][:3])
        yield from (f"lacks: {left}" for left in sorted(whole - found)[:3])

    @contextlib.contextmanager
    def _place(self) -> Iterator[Path]:
        place = Path(tempfile.mkdtemp(dir=self.work))
        try:
            for entry in self.material.iterdir():
                (place / entry.name).symlink_to(entry)
            for name in (DISK, CACHE, TEMPORARY):
                (place / name).mkdir()
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _ended(ending: Ending) -> str:
    """See `Outcome.ended`."""
    if ending.status < 0:
        return f"signal {-ending.status}"
    lines = ending.text.replace("\r", "\n").splitlines()
    if "Traceback (most recent call last)" in ending.text:
        return "traceback"
    messages = [line for line in lines if line.startswith(("error: ", "interrupted"))]
    return {0: "nothing", 1: "line"}.get(len(messages), f"{len(messages)} messages")


def _said(ending: Ending) -> str:
    """See `Outcome.said`."""
    lines = ending.text.replace("\r", "\n").strip().splitlines()
    return "" if _ended(ending) == "line" or not lines else lines[-1][:300]


def _result(place: Path, scenario: Scenario) -> dict[str, bytes]:
    paths = {name: place / DISK / name for name in scenario.made}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def _temporary(place: Path, *, resumable: bool = False) -> list[str]:
    """Temporary files, and folders of unfinished work unless they may be resumed from; at most three."""
    found = []
    for path in [path for folder in (DISK, CACHE, TEMPORARY) for path in (place / folder).rglob("*")]:
        parts = path.relative_to(place).parts
        work = any(part in (".train", ".encode") or part.endswith(".parts") for part in parts)
        temporary = parts[0] == TEMPORARY or re.search(r"\.partial|^tmp", path.name)
        if (work or temporary) and not (work and resumable):
            found.append("/".join(parts))
    return sorted(found)[:3]


def _same(result: dict[str, bytes], whole: Reference) -> str:
    """See `Outcome.same`."""
    if result.keys() != whole.result.keys():
        return "no"
    different = [name for name in result if result[name] != whole.result[name]]
    if not different:
        return "bytes"
    return "close" if all(_close(name, result[name], whole.result[name]) for name in different) else "no"


def _close(name: str, one: bytes, other: bytes) -> bool:
    """Whether two files differ by numbers alone: weights by 1e-6 at most, vectors and scores by 1e-5.

    What lacks memory, and gets along, computes by other kernels, which are slower and have other last bits.
    """
    if name.endswith(".safetensors"):
        from safetensors.numpy import load

        first, second = load(one), load(other)
        return first.keys() == second.keys() and all(np.abs(first[key] - second[key]).max() <= 1e-6 for key in first)
    if name.endswith("index"):  # vectors are at its end
        vectors, others = (np.frombuffer(content[len(content) % 4 :], np.float32) for content in (one, other))
        return vectors.shape == others.shape and np.allclose(vectors, others, rtol=0, atol=1e-5, equal_nan=True)
    texts, numbers = [], []
    for content in (one, other):
        parts = _NUMBER.split(content.decode("utf-8", "replace"))
        texts.append(parts[::2])
        numbers.append(np.array(parts[1::2], float))
    return texts[0] == texts[1] and np.allclose(numbers[0], numbers[1], rtol=0, atol=1e-5)
