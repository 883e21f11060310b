"""`adapt.sh` at tiny size: from a bare corpus to a checkpoint, an index and a report; twice; and what it refuses."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import ROOT
from .preloaded import preloaded

ENVIRONMENT = os.environ | {
    "VENV": "none",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


def adapt(folder: Path, *words: object, python: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = ENVIRONMENT if python is None else {**ENVIRONMENT, "PATH": f"{python}:{ENVIRONMENT['PATH']}"}
    command = ["bash", str(ROOT / "run_scripts" / "adapt.sh"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_collection: Path, tiny_encoder: Path) -> Path:
    """A corpus, real topics and qrels, and an encoder that says how it pools, in a folder with a space in its name."""
    from pyserini_sdr.model.checkpoint import save_checkpoint
    from pyserini_sdr.model.encoder import BiEncoder

    folder = tmp_path_factory.mktemp("adapt") / "my data"
    folder.mkdir()
    (folder / "corpus.jsonl").write_bytes((tiny_collection / "corpus" / "part-0.jsonl").read_bytes())
    for name in ("topics.test.tsv", "qrels.test.txt"):
        (folder / name).write_bytes((tiny_collection / name).read_bytes())
    encoder = BiEncoder.load(tiny_encoder, device="cpu", raw_backbone=True)
    save_checkpoint(folder / "encoder", encoder.backbone, encoder.tokenizer, encoder.spec)
    return folder


WORDS = (
    *("corpus.jsonl", "--topics", "topics.test.tsv", "--qrels", "qrels.test.txt", "--encoder", "encoder"),
    *("--method", "inverse-cloze", "--steps", "02", "--max-length", 48, "--no-bm25", "--output", "it's out"),
)


def test_from_a_corpus_to_a_report_and_no_work_twice(folder: Path) -> None:
    with preloaded(ENVIRONMENT) as python:
        done = adapt(folder, *WORDS, python=python)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    out = folder / "it's out"
    for made in ("checkpoint/sdr_train.json", "index/sdr_index.json", "pseudo/collection.json", "report.html"):
        assert (out / made).exists()
    report = (out / "report.md").read_text()
    assert report.index("## Real queries") < report.index("## Held-out pseudo-queries (known-item)")
    assert "Known-item task: " in report and "not how well it serves real queries" in report
    assert report.startswith("# encoder adapted to corpus.jsonl\n")
    assert ("No gain: " in report) != ("by which the checkpoint was selected" in report) and report in done.stdout
    assert report.count("\n| adapted ") == 2 * (1 + 3) + 1  # two tables of means, two of comparisons, and training
    assert "Held-out pseudo-queries (known-item)" in (out / "report.html").read_text()
    search = next(line for line in done.stdout.splitlines() if "--topics TOPICS.tsv" in line)
    assert str(out / "index") in shlex.split(search)
    titles = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    again = adapt(folder, *WORDS)
    assert again.returncode == 0, again.stderr[-3000:]
    told = [line for line in again.stdout.splitlines() if line.startswith("== ")]
    assert [line.partition(": done before (")[0] for line in told] == titles and len(titles) == 13
    assert sum(": done before (" in line for line in told) == 12  # all but the report
    message = f"error: {out} was made with other options or inputs; give another --output or remove it\n"
    other = adapt(folder, *WORDS, "--seed", 1)
    assert other.returncode == 2 and other.stderr.endswith(message)
    topics = folder / "topics.test.tsv"
    topics.write_text(topics.read_text().replace("what is", "who was", 1))  # as long as before
    changed = adapt(folder, *WORDS)
    assert changed.returncode == 2 and changed.stderr.endswith(message)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ((), 2, "a corpus is required (see --help)"),
        (("none.jsonl",), 2, "none.jsonl: no such corpus"),
        (("corpus.jsonl", "--topics", "topics.test.tsv"), 2, "--topics and --qrels go together"),
        (("corpus.jsonl", "--topics", "no.tsv", "--qrels", "no.txt"), 2, "no.tsv: no such file"),
        (("corpus.jsonl", "--stepz", "1"), 2, "unknown option --stepz (see --help)"),
        (("corpus.jsonl", "--steps"), 2, "--steps needs a value"),
        (("corpus.jsonl", "--steps", "many"), 2, "--steps many: expected a number of at least 1"),
        (("corpus.jsonl", "--steps", "00"), 2, "--steps 00: expected a number of at least 1"),
        (("corpus.jsonl", "qrels.test.txt"), 2, "one corpus, not two"),
        (
            ("corpus.jsonl", "--topics", "topics.test.tsv", "--qrels", "wrong.txt"),
            1,
            "none of its 1 relevant documents",
        ),
    ],
)
def test_refusals(folder: Path, words: tuple[str, ...], status: int, message: str) -> None:
    (folder / "wrong.txt").write_text("q059 0 elsewhere 1\n")
    done = adapt(folder, *words)
    assert done.returncode == status
    assert message in done.stderr.splitlines()[-1] and done.stderr.splitlines()[-1].startswith("error: ")
    assert not (folder / "adapted").exists()


def test_help_names_every_option(folder: Path) -> None:
    done = adapt(folder, "--help")
    assert done.returncode == 0 and "--method" in done.stdout and "VENV=none" in done.stdout
    script = (ROOT / "run_scripts" / "adapt.sh").read_text()
    options = script[script.index("-h|--help") : script.index("[ $# -ge 2 ]")].replace("\\\n", "").split(")", 2)[1]
    for option in options.replace("usage; exit 0 ;;", "").strip().split("|"):
        assert f"{option.strip()} " in done.stdout or option == "-h"
