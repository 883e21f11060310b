"""Bars and messages."""

from __future__ import annotations

import subprocess
import sys

from pyserini_sdr.core.progress import bar, close_bars, note


def test_a_message_after_an_error_has_a_line_of_its_own(capsys):
    open_bar = bar(total=10, unit="doc", desc="left open")
    open_bar.update(3)
    close_bars()
    note("error: something")
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert lines[-1] == "error: something"
    assert any("left open" in line for line in lines[:-1])


def test_the_first_message_makes_no_lock():
    """An interruption while tqdm makes its own lock, which imports multiprocessing, ends in tqdm's traceback."""
    code = (
        "import sys; from pyserini_sdr.core.progress import note; note('one'); "
        "from tqdm.std import TqdmDefaultWriteLock as made; "
        "sys.exit(hasattr(made, 'mp_lock') or 'multiprocessing.synchronize' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
