"""Bars and messages."""

from __future__ import annotations

from pyserini_sdr.core.progress import bar, close_bars, note


def test_a_message_after_an_error_has_a_line_of_its_own(capsys):
    open_bar = bar(total=10, unit="doc", desc="left open")
    open_bar.update(3)
    close_bars()
    note("error: something")
    lines = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert lines[-1] == "error: something"
    assert any("left open" in line for line in lines[:-1])
