"""What the load benchmarks share: commands with their time and memory, and the claims on memory."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, TypeVar

from common import claim, spread
from material import in_words
from processes import run_ours, stop_all

AIM_GB = 4.0
"""Memory that a command may take, all its processes together."""
GROWTH_GB = 0.5
"""What of it ten times as much work may add."""

Stage = dict[str, Any]
T = TypeVar("T")


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


def side_by_side(jobs: int, calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, in their order; `jobs` of them run at a time. An error of one ends them all."""
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(call) for call in calls]
        try:
            for future in as_completed(futures):
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(future.done() for future in futures):  # one more may just have begun
                stop_all()
                time.sleep(0.1)
            raise
        return [future.result() for future in futures]


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
