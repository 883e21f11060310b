"""Stock command lines one after another in one process: starting Python and a JVM for each takes most of the time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

from pyserini_sdr.anserini.stock import StockCommand

_CODE = """\
import contextlib, io, json, runpy, sys
from pyserini_sdr.anserini import jvm
jvm.start()
printed = []
for module, words in json.load(sys.stdin):
    sys.argv = [module, *words]
    with contextlib.redirect_stdout(io.StringIO()) as text:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    printed.append(text.getvalue())
json.dump(printed, sys.stdout)
"""


def run_together(commands: Sequence[StockCommand]) -> list[str]:
    """What each prints, run as `python -m` would run it."""
    lines = json.dumps([(command.module, command.args) for command in commands])
    done = subprocess.run([sys.executable, "-c", _CODE], input=lines, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
