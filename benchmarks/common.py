"""What every benchmark shares: arms in turn, ratios, claims, and the result that is written.

A benchmark compares arms in ONE run: A B C A B C …, so that whatever else the machine does falls on all alike. Ratios
are taken round by round; their median is the result, with the least and the greatest.

This module loads no torch: an arm that computes runs in a process of its own (`worker.py`), with its own allocator and
thread settings, so that no arm profits or suffers from what another one has set.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from facts import ROOT, command_text, machine_facts, portable, revision

from pyserini_sdr.core.errors import DataError, SdrError, UsageError
from pyserini_sdr.core.files import write_json
from pyserini_sdr.core.progress import close_bars, note, warn

T = TypeVar("T")

RESULTS = ROOT / "benchmarks" / "results"
BUSY = 0.3
"""Load average per core at the start from which a run is warned of."""


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Median, least and greatest of the values of all rounds, and the values."""
    if not values:
        raise ValueError("no values")
    return {
        "median": statistics.median(values),
        "min": min(values),
        "max": max(values),
        "values": list(values),
    }


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any]:
    """Spread of the ratios round by round: what slows the machine down for a while cancels out."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)])


def interleave(arms: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Runs the arms in turn, A B C A B C …; returns name → what each of its calls returned.

    A note on standard error tells how long each took.
    """
    results: dict[str, list[T]] = {name: [] for name in arms}
    for number in range(1, rounds + 1):
        for name, arm in arms.items():
            start = time.perf_counter()
            results[name].append(arm())
            note(f"round {number}/{rounds}  {name:<40} {time.perf_counter() - start:8.2f} s")
    return results


@contextlib.contextmanager
def scratch_folder(parent: Path | None) -> Iterator[Path]:
    """An empty folder that goes with the block.

    Its name is a number: in random letters stock Pyserini might see a word that picks another encoder class.
    """
    folder = (parent or Path(tempfile.gettempdir())) / f"sdr-benchmark-{os.getpid()}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Benchmark:
    """One run of a benchmark script: its flags, its facts, a scratch folder, and the file it writes.

    Args:
        name: of the result file, without `.json`.
        description: the docstring of the script: what it claims and examples.
    """

    def __init__(self, name: str, description: str) -> None:
        self.name = name
        self.parser = argparse.ArgumentParser(
            prog=f"python benchmarks/{name}.py",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        self.parser.add_argument("--rounds", type=_positive, default=3, help="times every arm runs (default: 3)")
        self.parser.add_argument("--quick", action="store_true", help="a trial: little data, one round, nothing kept")
        self.parser.add_argument("--seed", type=int, default=0, help="of all draws (default: 0)")
        self.parser.add_argument(
            "--output",
            type=Path,
            metavar="FILE",
            help=f"result to write (default: benchmarks/results/{name}.json; none with --quick)",
        )
        self.parser.add_argument(
            "--scratch", type=Path, metavar="DIR", help="where temporary files go (default: the system's)"
        )
        self.args = argparse.Namespace()
        self.facts: dict[str, Any] = {}
        self.folder = Path()

    def run(self, work: Callable[[Benchmark], dict[str, Any]]) -> None:
        """Runs the work as a script: one-line errors, exit status; `work` returns what goes into the result.

        `work` may set `--rounds` and other arguments down where `--quick` is given.
        """
        self.args = self.parser.parse_args()
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that everything is cleaned up
        status = 0
        try:
            self.facts = machine_facts()
            if self.args.quick:
                self.args.rounds = 1
            if self.facts["load_average"][0] > BUSY * self.facts["cores"]:
                warn(f"load average {self.facts['load_average'][0]}: other work will be in the timings")
            with scratch_folder(self.args.scratch) as self.folder:
                self._write(work(self))
        except SdrError as error:
            close_bars()
            print(f"error: {error}", file=sys.stderr)
            status = error.exit_status
        except KeyboardInterrupt:
            status = 130
        sys.exit(status)

    def _write(self, results: Mapping[str, Any]) -> None:
        target = self.args.output
        if target is None and not self.args.quick:
            target = RESULTS / f"{self.name}.json"
        if target is None:
            note("a trial: no file written (give --output FILE to keep it)")
            return
        record = {
            "name": self.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command_text(["python", f"benchmarks/{self.name}.py", *sys.argv[1:]]),
            "revision": revision(),
            "quick": self.args.quick,
            "rounds": self.args.rounds,
            "machine": self.facts | {"load_average_at_end": [round(value, 2) for value in os.getloadavg()]},
            **results,
        }
        write_json(target, record)
        note(f"written: {portable(target)}")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def corpus_and_count(text: str, default: int) -> tuple[Path, int]:
    """`PATH:COUNT` or `PATH` of a corpus and how many of its documents are drawn.

    Raises:
        DataError: nothing there.
        UsageError: a count that is not a positive number.
    """
    path, colon, number = text.rpartition(":")
    if not colon or Path(text).exists():
        path, number = text, str(default)
    if not number.isdigit() or int(number) < 1:
        raise UsageError(f"--corpus {text}: the count after ':' must be a positive number")
    if not Path(path).exists():
        raise DataError(path, "no such corpus", remedy="give the path of a corpus (.jsonl) or collection directory")
    return Path(path), int(number)


def claim(
    what: str, value: Mapping[str, Any], aim: float | None = None, *, at_most: bool = False, unit: str = "×"
) -> dict[str, Any]:
    """A result with its range and its aim, as it goes into the file; also a line on standard output.

    Args:
        what: of what over what.
        value: from `spread` or `paired_ratio`.
        aim: what the median should be at least, or at most.
        unit: `×` for ratios.
    """
    verdict = ""
    reached = None
    if aim is not None:
        reached = value["median"] <= aim if at_most else value["median"] >= aim
        verdict = f"  aim {'≤' if at_most else '≥'} {aim:g}: {'reached' if reached else 'MISSED'}"
    show(what, value, f"{unit}{verdict}")
    return {"what": what, "value": dict(value), "unit": unit, "aim": aim, "at_most": at_most, "reached": reached}


def show(what: str, value: Mapping[str, Any], after: str = "") -> None:
    """A line on standard output: median and range."""
    numbers = f"{value['median']:10.4g}  [{value['min']:.4g}, {value['max']:.4g}]"
    print(f"{what:<60} {numbers} {after}".rstrip(), flush=True)
