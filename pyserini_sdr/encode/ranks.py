"""Processes under `torchrun`: which one this is, and waiting for the others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from ..core.errors import SdrError
from ..core.progress import note

_GO_ON = "finished chunks are kept, give the same command again to go on"


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
        """Waits until every process is here.

        Raises:
            SdrError: one of them has ended.
        """
        if self.world > 1:
            import torch.distributed as dist

            try:
                dist.barrier()
            except RuntimeError as error:
                raise SdrError(f"another process of this job has ended (its own message says why): {_GO_ON}") from error


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
    rank = Rank(dist.get_rank(), world)
    try:
        yield rank
    except SystemExit:  # SIGTERM: the launcher ends all when one of them dies, and says so at length
        note(f"process {rank.index} was told to stop, as another one has ended: {_GO_ON}")
        raise
    finally:
        dist.destroy_process_group()
