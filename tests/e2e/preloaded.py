"""A `python` for scripts under test whose `-m` commands are forked from a process that has imported torch already.

Importing torch and transformers takes seconds, and a script starts a dozen commands that work for a tenth of one. Each
still is a process of its own with its own arguments, working directory, streams and exit status.
"""

from __future__ import annotations

import json
import os
import runpy
import shlex
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

_PRELOADED = (
    "transformers.models.bert.modeling_bert",
    *(f"pyserini_sdr.{part}" for part in ("mine.engine", "search.commands", "train.engine")),
)
_CLIENT = """\
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect(sys.argv[1])
    socket.send_fds(server, [json.dumps([os.getcwd(), sys.argv[2:]]).encode()], [0, 1, 2])
    status = server.recv(1)
sys.exit(status[0] if status else 1)
"""


@contextmanager
def preloaded(environment: Mapping[str, str]) -> Iterator[Path]:
    """Yields a folder with such a `python`, for the head of PATH; its commands see `environment`."""
    with tempfile.TemporaryDirectory() as name, socket.socket(socket.AF_UNIX) as listening:
        folder = Path(name)
        listening.bind(f"{name}/socket")  # a short path: the name of a socket has 100 bytes or so
        listening.listen()
        (folder / "client").write_text(_CLIENT)
        real = shlex.quote(sys.executable)
        words = f'[ "$1" = -m ] || exec {real} "$@"\nshift\nexec {real} -I -S {name}/client {name}/socket "$@"\n'
        (folder / "python").write_text(f"#!/bin/sh\n{words}")
        (folder / "python").chmod(0o755)
        number = listening.fileno()
        server = subprocess.Popen([sys.executable, __file__, str(number)], pass_fds=[number], env=dict(environment))
        listening.close()  # if the server ends, its clients shall not wait for it
        try:
            yield folder
        finally:
            server.kill()
            server.wait()


def serve(listening: socket.socket) -> None:
    """Runs one command after the other, each in a child."""
    for name in _PRELOADED:
        import_module(name)
    while True:
        connection, _ = listening.accept()
        message, streams, _, _ = socket.recv_fds(connection, 1 << 16, 3)
        child = os.fork()
        if child == 0:
            _run(*json.loads(message), streams)
        for stream in streams:
            os.close(stream)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.sendall(bytes([status & 255]))
        connection.close()


def _run(folder: str, arguments: list[str], streams: list[int]) -> None:
    status: object = 0
    try:
        os.chdir(folder)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        sys.argv = arguments
        runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
    except SystemExit as exit:
        status = exit.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else 1)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
