from __future__ import annotations

import json

import pytest

from pyserini_sdr.core.command import main
from pyserini_sdr.run.command import COMMAND
from pyserini_sdr.trec.qrels import read_qrels


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "a.txt").write_text("007 Q0 d1 1 3 a\n007 Q0 d2 2 2 a\n8 Q0 d1 1 1 a\n")
    (tmp_path / "b.txt").write_text("007 Q0 d2 1 3 b\n007 Q0 d3 2 2 b\n")
    (tmp_path / "q.txt").write_text("007 0 d1 1\n007 0 d2 0\n")
    return [tmp_path / "a.txt", tmp_path / "b.txt"]


def pool(*argv) -> int:
    with pytest.raises(SystemExit) as exit:
        main(COMMAND, "pyserini_sdr.run", ["pool", *map(str, argv)])
    return exit.value.code


def test_pool_with_its_holes(runs, tmp_path, capsys):
    output = tmp_path / "pool.txt"
    assert pool("--runs", *runs, "--output", output, "--qrels", tmp_path / "q.txt") == 0
    assert output.read_text() == "007 0 d1 1\n007 0 d2 0\n007 0 d3 -1\n8 0 d1 -1\n"
    out = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in out[2].split("|")[1:-1]] == ["a.txt", "3", "75.0%", "2", "2 (66.7%)", "1", "1"]
    assert [cell.strip() for cell in out[4].split("|")[1:-1]] == ["pool", "4", "100.0%", "3", "2 (50.0%)", "1", "1"]
    assert out[-2:] == [
        "2 topics, 2.0 documents each (at least 1, at most 3)",
        "holes: 2 of 4 are not judged (50.0%)",
    ]
    manifest = json.loads((tmp_path / "pool.txt.json").read_text())
    assert manifest["kind"] == "pool" and manifest["pool"]["judged"] == 2
    assert pool("--runs", *runs, "--output", output, "--qrels", tmp_path / "q.txt", "--holes-only") == 0
    assert read_qrels(output) == {"007": {"d3": -1}, "8": {"d1": -1}}
    assert pool("--runs", *runs, "--output", output, "--depth", 1) == 0
    assert read_qrels(output) == {"007": {"d1": -1, "d2": -1}, "8": {"d1": -1}}
    assert "judged" not in capsys.readouterr().out.splitlines()[-6]


@pytest.mark.parametrize(
    ("flags", "status", "message"),
    [
        (["--holes-only"], 2, "--holes-only: needs --qrels"),
        (["--depth", "0"], 2, "must be at least 1"),
        (["--qrels", "foreign.txt"], 1, "judges no topic of the runs"),
    ],
)
def test_misuse(runs, tmp_path, monkeypatch, capsys, flags, status, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "foreign.txt").write_text("9 0 d1 1\n")
    assert pool("--runs", *runs, "--output", "pool.txt", *flags) == status
    assert message in capsys.readouterr().err
    assert not (tmp_path / "pool.txt").exists()
    assert pool("--runs", runs[0], runs[0], "--output", "pool.txt") == 2
    assert pool("--runs", "none.txt", "--output", "pool.txt") == 1
