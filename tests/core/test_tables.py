from __future__ import annotations

from pyserini_sdr.core.tables import markdown_table


def test_columns_are_aligned_and_bars_escaped():
    table = markdown_table(["a", "long"], [["x|y", "1"], ["z", "22222"]])
    assert table.splitlines() == [
        "| a    | long  |",
        "|------|-------|",
        "| x\\|y | 1     |",
        "| z    | 22222 |",
    ]
