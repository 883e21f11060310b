"""What the load benchmarks share: commands with their time and memory, and the claims on memory."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from functools import partial
from typing import Any, TypeVar

from common import claim, spread
from material import in_words
from processes import run_ours, stop_all

from pyserini_sdr.core.progress import warn

AIM_GB = 4.0
"""Memory that a command may take, all its processes together."""
GROWTH_GB = 0.5
"""What of it ten times as much work may add."""

Stage = dict[str, Any]
T = TypeVar("T")


def planned(name: str, size: int, module: str, *arguments: object) -> dict[str, Callable[[], Stage]]:
    """A `stage` to run later, under a name that tells it from the same command at another size."""
    return {f"{name}, {in_words(size)}": partial(stage, name, size, module, *arguments)}


def stage(name: str, size: int, module: str, *arguments: object) -> Stage:
    """Runs a command of ours once.

    Args:
        name: of the command in the tables.
        size: what it works through: topics, vectors.
        module, arguments: the command.

    Returns:
        `name`, `size`, `seconds`, `peak_memory_bytes` of all its processes together, `load_average` before and after.
    """
    before = os.getloadavg()[0]
    done = run_ours(module, *arguments, tree=True)
    load = [round(value, 1) for value in (before, os.getloadavg()[0])]
    print(
        f"{name:<32} {in_words(size):>8} {done.seconds:10.1f} s {done.peak_memory_bytes / 1e6:8.0f} MB  load {load[0]}",
        flush=True,
    )
    return {
        "name": name,
        "size": size,
        "seconds": done.seconds,
        "peak_memory_bytes": done.peak_memory_bytes,
        "load_average": load,
    }


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Adds `--jobs`."""
    text = "commands run at a time (default: 1); with more, only their memory tells something, not their times"
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help=text)


def side_by_side(jobs: int, calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """What calls return, by their names; `jobs` of them run at a time.

    Ctrl-C and SIGTERM end those that run: what is finished by then is returned. An error of one ends them all.
    """
    with ThreadPoolExecutor(jobs) as pool:
        futures = {name: pool.submit(call) for name, call in calls.items()}
        try:
            for future in as_completed(futures.values()):
                future.result()
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            finished = {name: future for name, future in futures.items() if _is_well(future)}
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures.values()):  # one more may just have begun
                stop_all()
                time.sleep(0.1)
            if isinstance(error, Exception) or not finished:
                raise
            warn(f"ended early: {len(finished)} of {len(futures)} are finished")
            futures = finished
        return {name: future.result() for name, future in futures.items()}


def _is_well(future: Future[Any]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def memory_claims(stages: Sequence[Stage], what: str) -> list[dict[str, Any]]:
    """The greatest peak, and the greatest growth of a command from its smallest size to its largest.

    Args:
        stages: what `stage` gave.
        what: is counted by their sizes.
    """
    worst = max(stages, key=lambda one: one["peak_memory_bytes"])
    peak = spread([worst["peak_memory_bytes"] / 1e9])
    claims = [claim(f"greatest peak memory ({worst['name']})", peak, AIM_GB, at_most=True, unit="GB")]
    growths = []
    for name in dict.fromkeys(one["name"] for one in stages):
        own = sorted((one for one in stages if one["name"] == name), key=lambda one: one["size"])
        if own[0]["size"] < own[-1]["size"]:
            growths.append((own[-1]["peak_memory_bytes"] - own[0]["peak_memory_bytes"], name, own))
    if growths:
        growth, name, own = max(growths, key=lambda found: found[0])
        text = f"greatest growth from {in_words(own[0]['size'])} to {in_words(own[-1]['size'])} {what} ({name})"
        claims.append(claim(text, spread([growth / 1e9]), GROWTH_GB, at_most=True, unit="GB"))
    return claims
