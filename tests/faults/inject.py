"""Fault injection: commands are struck at random points, given again, and compared with an undisturbed run.

    python -m tests.faults.inject --points 200 --jobs 2 --results faults.jsonl --output table.md
    python -m tests.faults.inject --points 200 --jobs 2 --results faults.jsonl --continue     # after a cut

A point is wrong if what looks finished is not the result of an undisturbed run, if the same command given again does
not give that result, if temporary files stay, or if the user gets a traceback instead of a line. What a point draws
depends on the seed and its number alone; a draw that disturbs nothing is told, and the point drawn anew. As root, the
full disk is a small file system in memory; elsewhere it is a limit on the size of files.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before torch: a pool of threads does not survive a fork
os.environ["RUST_BACKTRACE"] = "0"  # tokenizers out of memory while it prints one waits for itself forever

from .blows import can_mount
from .forks import in_children, preload
from .points import Injector, Outcome
from .scenarios import FAULTS, SCENARIOS
from .tables import table

_DRAWS = 10
"""Draws after which a point is given up."""


def turns(points: int, seed: int, commands: list[str], faults: list[str]) -> Iterator[tuple[int, str, str]]:
    """`(number, command, fault)` of the points wanted: all pairs in turns, in an order drawn once."""
    order = [(name, fault) for name in SCENARIOS for fault in FAULTS]
    random.Random(seed).shuffle(order)
    for number in range(points):
        name, fault = order[number % len(order)]
        if name in commands and fault in faults:
            yield number, name, fault


def draw_until_struck(injector: Injector, seed: int, number: int, name: str, fault: str) -> list[Outcome]:
    """The outcomes of a point's draws; the last one disturbed the command, if any did."""
    found: list[Outcome] = []
    while len(found) < _DRAWS and not (found and (found[-1].struck or found[-1].wrong)):
        found.append(injector.strike(number, name, fault, seed, len(found)))
    return found


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
            os.environ["PYSERINI_SDR_CACHE"] = str(folder / "cache")
            with Path("/dev/null").open("w") as nowhere, contextlib.redirect_stderr(nowhere):
                make_material(folder / "m", make_tiny_encoder(folder / "encoder"))
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0, "the material could not be made"
    return folder / "m"


def inject(options: argparse.Namespace, done: list[Outcome]) -> Iterator[Outcome]:
    """Makes the points that `done` lacks and yields the outcomes of their draws."""
    begin, known = time.monotonic(), {outcome.point for outcome in done}
    with tempfile.TemporaryDirectory(prefix="sdr-faults-") as temporary:
        work = Path(temporary)
        injector = Injector(make(work), work)
        missing = [
            t for t in turns(options.points, options.seed, options.commands, options.faults) if t[0] not in known
        ]
        limited = {name for _, name, fault in missing if fault == "memory"}
        names = sorted({name for _, name, _ in missing})
        references = [partial(injector.refer, name, memory=name in limited) for name in names]
        injector.whole.update(in_children(references, options.jobs, work))

        def tasks() -> Iterator[Callable[[], list[Outcome]]]:
            for number, name, fault in missing:
                if options.seconds is not None and time.monotonic() - begin > options.seconds:
                    return
                yield partial(draw_until_struck, injector, options.seed, number, name, fault)

        for outcomes in in_children(tasks(), options.jobs, work):
            yield from outcomes


def header(options: argparse.Namespace) -> dict[str, object]:
    """What results must have in common to be put together."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        revision = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return {"seed": options.seed, "revision": revision, "mounts": can_mount()}
    return {"seed": options.seed, "revision": "", "mounts": can_mount()}


def read_results(path: Path, head: dict[str, object], parser: argparse.ArgumentParser) -> list[Outcome]:
    """The outcomes of an earlier run; the whole points only, as a run can have been cut between two draws."""
    first, *lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.endswith("}")]
    if first != head:
        parser.error(f"{path} is of {first}, this run of {head}")
    found = [Outcome(**{**line, "wrong": tuple(line["wrong"])}) for line in lines]
    whole = {outcome.point for outcome in found if outcome.struck or outcome.wrong}
    return [outcome for outcome in found if outcome.point in whole]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.inject", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--points", type=int, default=200, help="faults that disturb a command (default: 200)")
    own = "make only the points of these (default: all)"
    parser.add_argument("--commands", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME", help=own)
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="NAME", help=own)
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="points at a time (default: 1)")
    parser.add_argument("--seconds", type=float, help="begin no point after this time")
    parser.add_argument("--results", type=Path, help="where to keep the outcomes, as JSON lines")
    parser.add_argument("--continue", action="store_true", dest="go_on", help="make what --results lacks")
    parser.add_argument("--output", type=Path, help="where to write the table")
    options = parser.parse_args()
    head, done = header(options), []
    if options.go_on and options.results and options.results.exists():
        done = read_results(options.results, head, parser)
    elif options.results and options.results.exists():
        parser.error(f"{options.results} exists; give --continue or another name")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    preload()
    with contextlib.ExitStack() as stack:
        kept = None
        if options.results:
            lines = [head, *map(asdict, done)]
            options.results.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
            kept = stack.enter_context(options.results.open("a", encoding="utf-8"))
        for outcome in inject(options, done):
            done.append(outcome)
            for what in outcome.wrong:
                print(f"{outcome.command}, {outcome.fault}, {outcome.where}: {what}", file=sys.stderr, flush=True)
            if kept:
                kept.write(json.dumps(asdict(outcome)) + "\n")
                kept.flush()
    text = f"`python -m tests.faults.inject {shlex.join(sys.argv[1:])}`, revision {head['revision']}:\n\n{table(done)}"
    print(text)
    if options.output:
        options.output.write_text(text, "utf-8")
    return int(any(outcome.wrong for outcome in done))


if __name__ == "__main__":
    sys.exit(main())
