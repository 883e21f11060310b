"""Two processes that meet on this machine by gloo."""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta

_SECONDS = 5


def rendezvous() -> str | None:
    """What keeps two processes from adding their numbers; None if nothing does. Nothing may have computed before."""
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_gloo_available():
        return "this torch has no gloo"
    reading, writing = os.pipe()
    store = dist.TCPStore("127.0.0.1", 0, 2, True, timedelta(seconds=_SECONDS), wait_for_workers=False)
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            os.close(reading)
            _meet(rank, store.port, writing)
        children.append(child)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8", errors="replace") as said:
        problems = said.read().splitlines()
    statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    if any(statuses) and not problems:
        return f"they end with {' and '.join(map(str, statuses))}"
    return problems[0] if problems else None


def _meet(rank: int, port: int, writing: int) -> None:
    """In the child: meets the other and adds; writes what goes wrong. Does not return."""
    import torch
    import torch.distributed as dist

    signal.alarm(2 * _SECONDS)
    status = 1
    try:
        limit = timedelta(seconds=_SECONDS)
        store = dist.TCPStore("127.0.0.1", port, 2, False, limit)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=limit)
        total = torch.tensor([rank + 1.0])
        dist.all_reduce(total)
        status = 0
        if total.item() != 3:
            os.write(writing, f"their sum is {total.item()}, not 3\n".encode())
    except Exception as error:  # whatever torch raises is what the user wants to know
        os.write(writing, f"{' '.join(str(error).split())[:200]}\n".encode())
    finally:
        sys.stderr.flush()
        os._exit(status)
