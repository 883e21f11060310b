from __future__ import annotations

import json
from typing import get_args, get_type_hints

import pytest

from pyserini_sdr.core.command import main
from pyserini_sdr.run.command import COMMAND, FuseOptions
from pyserini_sdr.trec.fuse import RULES
from pyserini_sdr.trec.run import read_run


@pytest.fixture
def runs(tmp_path):
    (tmp_path / "dense.txt").write_text("007 Q0 a 1 0.9 d\n007 Q0 b 2 0.5 d\n")
    (tmp_path / "bm25.txt").write_text("007 Q0 b 1 12 s\n007 Q0 c 2 8 s\n")
    return [tmp_path / "dense.txt", tmp_path / "bm25.txt"]


def fuse(*argv) -> int:
    with pytest.raises(SystemExit) as exit:
        main(COMMAND, "pyserini_sdr.run", ["fuse", *map(str, argv)])
    return exit.value.code


def test_default_is_rrf_with_tag_and_manifest(runs, tmp_path):
    output = tmp_path / "out" / "fused.txt"
    assert fuse("--runs", *runs, "--output", output) == 0
    assert read_run(output)["007"] == pytest.approx({"b": 1 / 62 + 1 / 61, "a": 1 / 61, "c": 1 / 62})
    assert all(line.endswith(" rrf") for line in output.read_text().splitlines())
    manifest = json.loads((tmp_path / "out" / "fused.txt.json").read_text())
    assert manifest["kind"] == "run"
    assert [item["path"] for item in manifest["inputs"]] == list(map(str, runs))


def test_stock_hybrid_states_itself_in_the_tag(runs, tmp_path):
    output = tmp_path / "fused.txt"
    assert fuse("--runs", *runs, "--output", output, "--method", "stock-hybrid", "--alpha", 0.1, "--hits", 2) == 0
    # b: 0.1 * 12 + 0.5 and a: 0.1 * 8 + 0.9 tie at 1.7
    tag = "stock-hybrid-alpha0.1"
    assert output.read_text() == f"007 Q0 b 1 1.70000005 {tag}\n007 Q0 a 2 1.70000005 {tag}\n"


def test_every_method_of_the_flag_is_a_rule(runs, tmp_path):
    literal, _ = get_args(get_type_hints(FuseOptions)["method"])
    choices = get_args(literal)
    assert sorted(choices) == sorted(RULES)
    for rule in RULES:
        assert fuse("--runs", *runs, "--output", tmp_path / f"{rule}.txt", "--method", rule) == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--alpha", "0.5"], "--alpha 0.5: not used by --method rrf"),
        (["--method", "average", "--weight-on-dense"], "--weight-on-dense True: not used"),
        (["--method", "stock-hybrid", "--normalization", "z-score"], "--normalization z-score: stock-hybrid knows"),
        (["--method", "linear", "--weights", "1", "2", "3"], "3 weights for 2 runs"),
        (["--method", "linear", "--weights", "1", "nan"], "--weights [1.0, nan]: must be finite"),
        (["--method", "stock-hybrid", "--alpha", "inf"], "--alpha inf: must be finite"),
        (["--rrf-k", "inf"], "--rrf-k inf: must be finite"),
        (["--method", "borda"], "invalid choice: 'borda'"),
        (["--hits", "0"], "--hits 0: must be at least 1"),
        (["--tag", "two words"], "white space"),
    ],
)
def test_misuse(runs, tmp_path, capsys, argv, message):
    assert fuse("--runs", *runs, "--output", tmp_path / "f.txt", *argv) == (1 if "--tag" in argv else 2)
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bm25.txt", "dense.txt"]


def test_one_run_is_refused(runs, tmp_path, capsys):
    assert fuse("--runs", runs[0], "--output", tmp_path / "f.txt") == 2
    assert "needs at least two runs" in capsys.readouterr().err


@pytest.fixture
def tuned(tmp_path):
    """What `search tune` writes, for what is read of it."""
    path = tmp_path / "tuned.json"
    options = {"weights": [0.75, 0.25], "normalization": "z-score"}
    path.write_text(
        json.dumps(
            {
                "kind": "tuned-fusion",
                "rule": "linear",
                "options": options,
                "depth": 1,
                "runs": [{"path": "a"}, {"path": "b"}],
            }
        )
    )
    return path


def test_a_tuned_fusion_is_that_of_its_flags(runs, tmp_path, tuned):
    assert fuse("--runs", *runs, "--output", tmp_path / "t.txt", "--tuned", tuned) == 0
    flags = ["--method", "linear", "--weights", 0.75, 0.25, "--normalization", "z-score", "--depth", 1]
    assert fuse("--runs", *runs, "--output", tmp_path / "f.txt", *flags) == 0
    assert (tmp_path / "t.txt").read_bytes() == (tmp_path / "f.txt").read_bytes()
    assert fuse("--runs", *runs, "--output", tmp_path / "d.txt", "--tuned", tuned, "--depth", 1) == 0
    manifest = json.loads((tmp_path / "t.txt.json").read_text())
    assert manifest["fusion"] == {"rule": "linear", "weights": [0.75, 0.25], "normalization": "z-score"}
    assert manifest["inputs"][-1]["path"] == str(tuned)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--method", "linear"], "--method linear: "),
        (["--alpha", "0.1"], "--alpha 0.1: "),
        (["--weights", "0.75", "0.25"], "--weights [0.75, 0.25]: "),
        (["--no-weight-on-dense"], "--weight-on-dense False: "),
        (["--rrf-k", "60"], "--rrf-k 60.0: "),
        (["--depth", "2"], "--depth 2: "),
    ],
)
def test_flags_beside_a_tuned_file_are_refused(runs, tmp_path, tuned, capsys, flags, message):
    assert fuse("--runs", *runs, "--output", tmp_path / "f.txt", "--tuned", tuned, *flags) == 2
    error = capsys.readouterr().err
    assert message in error and "tuned.json" in error
    assert not (tmp_path / "f.txt").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "run"}, "is no tuned fusion"),
        ({"runs": [{"path": "a"}] * 3}, "was tuned for 3 runs, here are 2"),
        ({"rule": "borda"}, "unknown fusion rule 'borda'"),
        ({"options": {"alpha": 0.1}}, "takes no option 'alpha'"),
        ({"options": {"weights": ["a", "b"]}}, "holds no usable setting"),
        ({"depth": "x"}, "is no tuned fusion"),
        ({"runs": ["a", "b"]}, "is no tuned fusion"),
    ],
)
def test_tuned_files_that_are_none(runs, tmp_path, tuned, capsys, change, message):
    tuned.write_text(json.dumps(json.loads(tuned.read_text()) | change))
    assert fuse("--runs", *runs, "--output", tmp_path / "f.txt", "--tuned", tuned) == 1
    assert message in capsys.readouterr().err
    assert fuse("--runs", *runs, "--output", tmp_path / "f.txt", "--tuned", tmp_path / "none.json") == 1
