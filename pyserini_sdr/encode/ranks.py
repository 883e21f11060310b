"""Processes under `torchrun`: which one this is, and waiting for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Rank:
    """This process among those that share the work.

    Args:
        index: from 0.
        world: number of processes.
    """

    index: int
    world: int

    def barrier(self) -> None:
        """Waits until every process is here; ends with an error when one of them died."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()


ALONE = Rank(0, 1)
"""The only process there is."""


@contextmanager
def join_ranks() -> Iterator[Rank]:
    """The rank given by `torchrun`, or the only one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=timedelta(days=7))  # a barrier waits for the slowest encoder
    try:
        yield Rank(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()
