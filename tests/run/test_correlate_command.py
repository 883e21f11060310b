from __future__ import annotations

import json

import pytest

from pyserini_sdr.core.command import main
from pyserini_sdr.run.command import COMMAND


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Three systems: the first puts the relevant document first, the second second, the third third."""
    monkeypatch.chdir(tmp_path)
    for name, order in (("a", "rxy"), ("b", "xry"), ("c", "xyr")):
        lines = [f"{q} Q0 {d} {i} {9 - i} t\n" for q in ("007", "8") for i, d in enumerate(order, start=1)]
        (tmp_path / name).write_text("".join(lines))
    (tmp_path / "d").write_text("8 Q0 r 1 2 t\n8 Q0 z 2 1 t\n9 Q0 r 1 2 t\n")
    (tmp_path / "q1").write_text("007 0 r 1\n8 0 r 1\n")
    (tmp_path / "q2").write_text("007 0 y 1\n8 0 y 1\n")
    return tmp_path


def correlate(*argv) -> int:
    with pytest.raises(SystemExit) as exit:
        main(COMMAND, "pyserini_sdr.run", ["correlate", *map(str, argv)])
    return exit.value.code


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("|")[1:-1]]


def test_systems_under_two_measures_and_two_judgements(files, capsys):
    argv = ["--runs", "a", "b", "c", "--metrics", "RR@10", "nDCG@10", "P@3", "--output", "c.json"]
    assert correlate(*argv, "--qrels", "q1") == 0
    out = capsys.readouterr().out.splitlines()
    assert cells(out[2]) == ["a", "1.0000", "1.0000", "0.3333"]
    assert cells(out[8])[:1] + cells(out[8])[1::2] == ["recip_rank_cut_10 : ndcg_cut_10", "1.0000", "1.0000"]
    assert cells(out[9]) == ["recip_rank_cut_10 : P_3", "–", "–", "–", "–"]  # all level under P@3
    found = json.loads((files / "c.json").read_text())
    assert found["pairs"][0]["tau"] == pytest.approx(1.0) and found["pairs"][1]["tau"] is None
    assert found["means"]["recip_rank_cut_10"] == pytest.approx({"a": 1.0, "b": 1 / 2, "c": 1 / 3})
    assert correlate("--runs", "a", "b", "c", "--qrels", "q1", "q2", "--metrics", "RR@10", "--output", "c.json") == 0
    found = json.loads((files / "c.json").read_text())["pairs"]
    # y stands third, third, second: ranks a = b < c
    assert [(pair["first"], pair["second"]) for pair in found] == [("recip_rank_cut_10, q1", "recip_rank_cut_10, q2")]
    assert found[0]["tau"] == pytest.approx(-2 / (3 * 2) ** 0.5)


def test_rankings_topic_by_topic(files, capsys):
    assert correlate("--runs", "a", "b", "d", "--p", 0.5, "--per-topic", "--output", "r.json") == 0
    out = capsys.readouterr().out.splitlines()
    # a and b: agreement 0, 1, 1 and 1 beyond
    assert cells(out[2]) == ["a : b", "0.5000", "0.3333", "1.0000", "2", "0"]
    assert cells(out[3])[0::4] == ["a : d", "1"] and cells(out[3])[2] == "–" and cells(out[3])[5] == "2"
    assert cells(out[8]) == ["007", "0.5000", "0.3333", "3 of 3"]
    found = json.loads((files / "r.json").read_text())
    assert found["pairs"][1]["topics"]["8"]["tau"] is None
    assert found["pairs"][1]["topics"]["8"]["common"] == 1
    assert correlate("--runs", "a", "b", "--depth", 1) == 0
    assert cells(capsys.readouterr().out.splitlines()[2]) == ["a : b", "0.0000", "–", "0.0000", "2", "0"]


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["--runs", "a"], 2, "give at least two"),
        (["--runs", "a", "a"], 2, "the same file twice"),
        (["--runs", "a", "b", "--metrics", "map"], 2, "measures need --qrels"),
        (["--runs", "a", "b", "--qrels", "q1", "--per-topic"], 2, "--per-topic: has no meaning here"),
        (["--runs", "a", "b", "--qrels", "q1", "--metrics", "map"], 2, "one ranking only"),
        (["--runs", "a", "b", "--qrels", "q1", "q1"], 2, "the same file twice"),
        (["--runs", "a", "b", "--p", "1"], 2, "must lie between 0 and 1"),
        (["--runs", "a", "none"], 1, "no such run file"),
        (["--runs", "a", "e"], 1, "shares no topic"),
    ],
)
def test_misuse(files, capsys, argv, status, message):
    (files / "e").write_text("5 Q0 r 1 1 t\n")
    assert correlate(*argv) == status
    assert message in capsys.readouterr().err
