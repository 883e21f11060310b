"""Processes under `torchrun`: which one this is, and what becomes of it when another one ends."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from ..core.errors import SdrError, UsageError
from ..core.job import Job, world

_GONE = re.compile(
    r"(closed|reset) by peer|connection (refused|was likely closed)|broken pipe|timed out|remote (process|worker)", re.I
)
"""In what gloo says when another process has gone; the store and NCCL have errors of their own."""


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

            with _gone_in_words():
                dist.barrier()


ALONE = Rank(0, 1)
"""The only process there is."""


@contextmanager
def one_of_a_job() -> Iterator[None]:
    """Runs what may be one of several processes: it leaves their group at the end, and says who of them has died.

    Where a group is left to the end of the interpreter, its threads may still let go of tensors while there is no
    interpreter any more, which aborts the process ("terminate called without an active exception").

    Raises:
        UsageError: there are others, and nothing says where.
    """
    if world() == 1:
        yield
        return
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"WORLD_SIZE={world()} is set without {', '.join(missing)}; start with torchrun, or unset WORLD_SIZE"
        )
    try:
        with _gone_in_words():
            yield
    except Exception:
        Job.of_environment().takes_word()  # before the others can notice that this process leaves
        raise
    finally:
        dist = sys.modules.get("torch.distributed")
        if dist is not None and dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def join_ranks() -> Iterator[Rank]:
    """The rank given by `torchrun`, or the only one."""
    if world() == 1:
        yield ALONE
        return
    with one_of_a_job():
        import torch.distributed as dist

        dist.init_process_group("gloo", timeout=timedelta(days=7))  # a barrier waits for the slowest encoder
        yield Rank(dist.get_rank(), world())


@contextmanager
def _gone_in_words() -> Iterator[None]:
    """Says that another process has ended where torch says that it cannot be reached."""
    try:
        yield
    except RuntimeError as error:
        dist = sys.modules.get("torch.distributed")
        if not _GONE.search(str(error)) and not (dist is not None and isinstance(error, dist.DistError)):
            raise
        raise SdrError(Job.of_environment().obituary(wait=True)) from error
