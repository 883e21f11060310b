"""`from_scratch.sh` at tiny size: from a bare corpus to an index and a report, twice; and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT
from ..e2e.preloaded import preloaded

ENVIRONMENT = os.environ | {
    "VENV": "none",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
SIZES = ("--layers", 1, "--hidden-size", 16, "--heads", 2, "--vocab-size", 150, "--max-length", 48)
WORDS = (*("corpus.jsonl", "--pretrain-steps", 2, "--method", "inverse-cloze", "--steps", 2, "--no-bm25"), *SIZES)


def script(folder: Path, *words: object, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT if python is None else {**ENVIRONMENT, "PATH": f"{python}:{ENVIRONMENT['PATH']}"}
    command = ["bash", str(ROOT / "run_scripts" / "from_scratch.sh"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_collection: Path) -> Path:
    """A corpus in a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("scratch") / "my data"
    folder.mkdir()
    (folder / "corpus.jsonl").write_bytes((tiny_collection / "corpus" / "part-0.jsonl").read_bytes())
    return folder


def test_from_raw_text_to_a_report_and_no_work_twice(folder: Path) -> None:
    with preloaded(ENVIRONMENT) as python:
        done = script(folder, *WORDS, python=python)
        assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
        again = script(folder, *WORDS, python=python)
    out = folder / "from-scratch"
    trained = json.loads((out / "checkpoint" / "sdr_train.json").read_text())
    assert trained["config"]["encoder"] == str(out / "encoder") and trained["config"]["learning_rate"] == 1e-4
    assert trained["spec"]["dimension"] == 16 and (out / "index" / "sdr_index.json").exists()
    assert (out / "report.md").read_text().startswith("# encoder adapted to corpus.jsonl\n")
    titles = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert titles[0] == "== tokenizer, backbone, and cot-mae" and "== negatives, by the untrained encoder" in titles
    assert again.returncode == 0, again.stderr[-3000:]
    told = [line for line in again.stdout.splitlines() if line.startswith("== ")]
    assert all(": done before (" in line for line in told[:-1]) and len(told) == len(titles)
    other = script(folder, *WORDS, "--pretrain-rate", 1)
    assert other.returncode == 2 and "was made with other options or inputs" in other.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "a corpus is required (see --help)"),
        (("none.jsonl",), "none.jsonl: no such corpus"),
        (("corpus.jsonl", "--topics", "corpus.jsonl"), "--topics and --qrels go together"),
        (("corpus.jsonl", "--topics", "no.tsv", "--qrels", "no.txt"), "no.tsv: no such file"),
        (("corpus.jsonl", "--encoder", "x"), "unknown option --encoder (see --help)"),
        (("corpus.jsonl", "--layers"), "--layers needs a value"),
        (("corpus.jsonl", "--pretrain-steps", "0"), "--pretrain-steps 0: expected a number of at least 1"),
        (("corpus.jsonl", "--negatives", "random"), "--negatives random: expected self or bm25"),
    ],
)
def test_refusals(folder: Path, words: tuple[str, ...], message: str) -> None:
    done = script(folder, "--output", "refused", *words)
    assert done.returncode == 2 and done.stderr.splitlines()[-1] == f"error: {message}".replace(
        "error: none.jsonl", f"error: {folder / 'none.jsonl'}"
    )
    assert not (folder / "refused").exists()


def test_help_names_every_option(folder: Path) -> None:
    done = script(folder, "--help")
    text = (ROOT / "run_scripts" / "from_scratch.sh").read_text()
    options = text[text.index("    --output|") : text.index("[ $# -ge 2 ]")].replace("\\\n", "").partition(")")[0]
    assert done.returncode == 0 and len(options.split("|")) > 15
    assert [option for option in options.split("|") if option.strip() not in done.stdout] == []
