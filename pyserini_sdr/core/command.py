"""Commands: what `python -m pyserini_sdr.NAME` does with its arguments, errors and exit status.

A command is declared by light modules (no torch, faiss, pandas or JVM), so that `--help` is immediate; its work is
named by a `"module:function"` string and imported only when it runs.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from . import options as opt
from .errors import SdrError, UsageError, unknown
from .job import Job
from .runtime import share_cores, uncollected


def load(target: str) -> Any:
    """The object named by `"package.module:attribute"`."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


@dataclass(frozen=True)
class Command:
    """One command with flags.

    Args:
        summary: one line for the list of commands.
        options: dataclass of `core.options.option` fields.
        run: `"module:function"`; the function takes the options and may return an exit status.
        examples: shown under `--help`, as they would be typed.
        details: text between summary and flags.
    """

    summary: str
    options: type
    run: str
    examples: str = ""
    details: str = ""

    def execute(self, prog: str, argv: Sequence[str]) -> int:
        parser = opt.Parser(
            prog=prog,
            description="\n\n".join(filter(None, [self.summary, self.details.strip("\n")])),
            epilog=f"examples:\n{self.examples.strip(chr(10))}" if self.examples else None,
            formatter_class=opt.HelpFormatter,
        )
        options, text = opt.parse(parser, self.options, argv)
        if options is None:
            print(text, end="")
            return 0
        with uncollected():
            run = load(self.run)
        return run(options) or 0


@dataclass(frozen=True)
class CommandGroup:
    """A command whose first word picks a sub-command, as in `search dense`."""

    summary: str
    commands: Mapping[str, Command]
    examples: str = ""

    def execute(self, prog: str, argv: Sequence[str]) -> int:
        if not argv or argv[0] in ("-h", "--help"):
            width = max(map(len, self.commands))
            print(f"usage: {prog} {{{','.join(self.commands)}}} ...\n\n{self.summary}\n\nsub-commands:")
            for name, command in self.commands.items():
                print(f"  {name:<{width}}  {command.summary}")
            if self.examples:
                print(f"\nexamples:\n{self.examples.strip(chr(10))}")
            print(f"\n{prog} SUB-COMMAND --help tells the flags.")
            if argv:
                return 0
            raise UsageError(f"a sub-command is required: {', '.join(self.commands)}")
        if argv[0] not in self.commands:
            raise UsageError(unknown("sub-command", argv[0], self.commands))
        return self.commands[argv[0]].execute(f"{prog} {argv[0]}", argv[1:])


def main(command: Command | CommandGroup | Any, module: str, argv: Sequence[str] | None = None) -> None:
    """Runs a command as a process: one-line errors on standard error, exit status 2 for usage and 1 for failure."""
    prog = f"python -m {module}"
    job = Job.of_environment()
    job.enter()
    share_cores()
    try:
        status = command.execute(prog, list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except SdrError as error:
        status = _fail(job, f"error: {' '.join(str(error).splitlines())}", error.exit_status)
    except KeyboardInterrupt:
        status = _fail(job, "interrupted", 130)
    except BrokenPipeError:  # `... | head`: the reader has what it wanted
        _print_no_more()
        status = 0
    except OSError as error:  # a path of the user's that no reader or writer has put into words
        if error.filename is not None:
            status = _fail(job, f"error: {error.filename}: {error.strerror or error}", 1)
        elif error.errno in _FULL:  # writers put it into words, printing does not
            try:
                sys.stdout.flush()
            except OSError:
                _print_no_more()
            status = _fail(job, f"error: {error.strerror}; free some space or write elsewhere", 1)
        else:
            raise
    except MemoryError:
        status = _fail(job, _MEMORY, 1)
    except RuntimeError as error:  # torch's, on a GPU and on a CPU, oneDNN's, and Python's for want of a stack
        if not any(words in str(error) for words in _OF_MEMORY):
            raise
        status = _fail(job, _MEMORY, 1)
    except SystemExit:
        job.say_who_has_died()
        raise
    finally:
        job.leave()
    sys.exit(status)


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OF_MEMORY = ("out of memory", "can't allocate memory", "could not create a primitive", "can't start new thread")
_MEMORY = "error: out of memory; use smaller batches (encode: a smaller --token-budget, with --overwrite)"


def _print_no_more() -> None:
    """What is still held back for standard output is dropped: to write it at the end would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(job: Job, message: str, status: int) -> int:
    job.say(message)
    return status
