"""The processes of a job under `torchrun`, as far as each has to know of the others when one ends.

torchrun ends all of them when one fails, and reports it at length; the user is to read one line that says why. The
processes of a machine share the folder that torchrun makes for their error files. Each holds a lock on a file in it for
as long as it lives, by which the others see who has died; the first that has something to say takes the word.

ATTEMPT/process-N      locked while process N lives; not empty if it has ended by itself, for whatever reason
ATTEMPT/word           who says why the job has ended
ATTEMPT/N/error.json   what torchrun's report quotes, by local rank
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .progress import close_bars

GO_ON = "what is finished is kept, give the same command again to go on"
_PATIENCE = 2.0
"""Seconds in which a process that has died is seen to be dead, and in which one that is told to stop begins to."""


def rank() -> int:
    """The number of this process in its job, from 0."""
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    """How many processes the job has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@dataclass
class Job:
    """This process among those of its job.

    Args:
        index: from 0.
        size: number of processes.
        folder: that the processes of this machine share; None if nothing is known of them.
    """

    index: int
    size: int
    folder: Path | None
    _lock: int | None = None
    _hears: bool = False
    _heard: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def of_environment(cls) -> Job:
        """As `torchrun` says."""
        file = os.environ.get("TORCHELASTIC_ERROR_FILE")
        folder = Path(file).parent.parent if file and world() > 1 else None
        return cls(rank(), world(), folder if folder is not None and folder.is_dir() else None)

    def enter(self) -> None:
        """Lets the others see that this process lives, and hears signals while this process waits for the others.

        Waiting is done in C++, where no handler of Python's is called: a thread is told of a signal too, and ends the
        process if it does not begin to stop by itself.
        """
        signal.signal(signal.SIGTERM, self.stop)
        if self.size == 1:
            return
        with contextlib.suppress(OSError):
            if self.folder is not None:
                hidden = self.folder / f".process-{self.index}"
                self._lock = os.open(hidden, os.O_CREAT | os.O_RDWR, 0o600)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                hidden.rename(self.folder / f"process-{self.index}")  # nobody sees it without its lock
        self._hears = True
        signal.signal(signal.SIGINT, self._interrupted)
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(reading,), name="signals", daemon=True).start()

    def leave(self) -> None:
        """Tells the others that this process ends by itself."""
        self._end()
        if self._lock is not None:
            with contextlib.suppress(OSError):
                os.pwrite(self._lock, b"ended", 0)

    def stop(self, number: int, _frame: object = None) -> None:
        """What is done at SIGTERM: an exception, so that temporary files are removed.

        It may come twice, as from `timeout` (to the process, then to its group) and from batch systems, whose signal
        torchrun passes on: the second must not cut the removal short.
        """
        self._end()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.exit(128 + number)

    def takes_word(self) -> bool:
        """Whether this process is the one that says why the job ends; always the same answer once it was yes."""
        if self.folder is None:
            return True
        mine, word = str(self.index), self.folder / "word"
        try:
            with word.open("x") as file:
                file.write(mine)
        except FileExistsError:
            return word.read_text() == mine
        except OSError:  # the folder is gone
            return True
        return True

    def say(self, message: str) -> None:
        """Prints the line that says why, unless another process has said it."""
        self._end()
        close_bars()
        if not self.takes_word():
            return
        print(message, file=sys.stderr, flush=True)
        if self.folder is not None:
            with contextlib.suppress(OSError, KeyError):
                report = json.dumps({"message": message, "timestamp": int(time.time())})
                Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(report, "utf-8")

    def dead(self, *, wait: bool = False) -> list[int]:
        """Processes of this machine that were ended: they live no more, and have not said that they leave.

        Args:
            wait: until there is one, or one that says why the job ends, for two seconds at most.
        """
        if self.folder is None:
            return []
        end = time.monotonic() + _PATIENCE
        while True:
            found = sorted(filter(self._is_dead, self._known()))
            if found or not wait or (self.folder / "word").exists() or time.monotonic() > end:
                return found
            time.sleep(0.05)

    def obituary(self, *, wait: bool = False) -> str:
        """The line that says which process has ended, and what to do."""
        dead = self.dead(wait=wait)
        if not dead:
            return f"another process of this job has ended (its own message says why); {GO_ON}"
        which = f"rank {dead[0]} of {self.size} has" if len(dead) == 1 else f"ranks {', '.join(map(str, dead))} have"
        return f"{which} died (killed, out of memory, or crashed); {GO_ON}"

    def say_who_has_died(self) -> None:
        """For a process that was told to stop: if another one has died without a word, says so."""
        if self.size > 1 and self.dead():
            self.say(f"error: {self.obituary()}")

    def _known(self) -> list[int]:
        """The others that have got as far as to lock their file."""
        assert self.folder is not None
        with contextlib.suppress(OSError):
            names = [path.name for path in self.folder.iterdir() if path.name.startswith("process-")]
            return [number for number in (int(name.partition("-")[2]) for name in names) if number != self.index]
        return []

    def _is_dead(self, number: int) -> bool:
        assert self.folder is not None
        try:
            handle = os.open(self.folder / f"process-{number}", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # its own lock goes when it dies
            return not os.read(handle, 1)
        except OSError:
            return False
        finally:
            os.close(handle)

    def _end(self) -> None:
        """From here on the process is ending: a signal to do so must not cut its message, nor make one of its own."""
        self._heard.set()
        if self._hears and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)

    def _interrupted(self, *_: object) -> None:
        self._end()
        raise KeyboardInterrupt

    def _listen(self, reading: int) -> None:
        told = os.read(reading, 1)
        if not told or self._heard.wait(_PATIENCE):
            return
        self.say_who_has_died()
        self.leave()
        os._exit(128 + told[0])
