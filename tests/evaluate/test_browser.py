"""The page in a browser: tables sort by a click, numbers as numbers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from pyserini_sdr.evaluate.engine import evaluate_runs
from pyserini_sdr.evaluate.report import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
TABLE = [
    ["name", "triples", "share", "best", "note"],
    ["b", "1,024", "0.25 (3 of 12)", "0.7000 (16)", "10 a"],
    ["a", "96", "0.1250 (1 of 8)", "", "9 a"],
    ["c", "20,000", "-0.5", "0.0900 (8)", "2 b"],
]
CLICKS = [[0], [1], [1, 1], [2], [3], [3, 3], [4]]
"""Headings that are clicked one after the other, per case."""


def dump(page: Path, profile: Path) -> str:
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("no Chromium or Chrome here")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--virtual-time-budget=2000"]
    command = [browser, *flags, "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_tables_sort(files, tmp_path):
    runs = {"</script><script>document.title='broken'</script>": files / "tuned.txt", "bm25": files / "bm25.txt"}
    path = tmp_path / "report.html"
    write_report(path, evaluate_runs(files / "qrels.txt", runs), title="whole", sections=[("Costs", TABLE)])
    script = f"""<script>
      const table = [...document.querySelectorAll("table")].find((t) => t.textContent.includes("triples"));
      const heads = table.tHead.rows[0].cells, orders = [];
      for (const clicks of {CLICKS}) {{
        for (const head of heads) head.removeAttribute("aria-sort");
        for (const i of clicks) heads[i].click();
        const direction = heads[clicks[0]].ariaSort;
        orders.push([[...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(""), direction]);
      }}
      heads[1].dispatchEvent(new KeyboardEvent("keydown", {{ key: "Enter", bubbles: true }}));
      orders.push([[...table.tBodies[0].rows].map((row) => row.cells[0].textContent).join(""), heads[1].ariaSort]);
      document.body.append(Object.assign(document.createElement("output"), {{ textContent: JSON.stringify(orders) }}));
    </script></body>"""
    path.write_text(path.read_text().replace("</body>", script))
    page = dump(path, tmp_path / "profile")
    assert "<title>whole</title>" in page
    assert json.loads(unescape(re.search(r"<output>(.*?)</output>", page)[1])) == [
        ["abc", "ascending"],
        ["cba", "descending"],  # 20,000, then 1,024, then 96
        ["abc", "ascending"],
        ["bac", "descending"],
        ["bca", "descending"],  # blanks stay last
        ["cba", "ascending"],
        ["cab", "ascending"],
        ["cba", "descending"],
    ]
