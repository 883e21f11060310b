"""One of two processes under `torchrun` is killed at every kind of moment; the job has to end, say so, and go on.

    python -m tests.faults.processes --output table.md

After each kill the launcher has to end within a minute with a status that is not 0, exactly one line has to say which
process has died, and the same command has to end with the result of an undisturbed run: weights to 1e-6, an index byte
by byte.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from ..conftest import ROOT
from ..tiny import make_tiny_encoder
from .struck import MOMENTS, OF_THE_FIRST

LONGEST = 120
"""Seconds from the start of a job, on a busy machine, to its end after a kill."""
WORDS = {
    "train": "--collection collection --encoder checkpoint --groups groups.jsonl --output {out} --precision fp32 "
    "--loss infonce --negatives 2 --max-steps 8 --eval-steps 2 --batch-size 8 --learning-rate 1e-3",
    "encode": "input --corpus collection output --embeddings {out} --to-faiss --chunk-size 2 "
    "encoder --encoder checkpoint --precision fp32",
}
MADE = {"train": ("model.safetensors",), "encode": ("index", "docid")}


@dataclass(frozen=True)
class Ended:
    """How a job ended: status of the launcher, what was said, seconds."""

    status: int
    said: str
    seconds: float

    @property
    def errors(self) -> list[str]:
        """Our lines, without those that the launcher's report quotes."""
        return [line for line in re.split(r"[\n\r]", self.said) if line.startswith(("error: ", "interrupted"))]


def torchrun(*words: str, folder: Path, processes: int = 2) -> Ended:
    """`torchrun -m WORDS` in a folder."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    done = subprocess.run(
        [*launcher, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST
    )
    return Ended(done.returncode, done.stderr, time.monotonic() - start)


def words_of(command: str, out: Path) -> list[str]:
    """What follows the name of the command."""
    return WORDS[command].format(out=out).split()


def result(command: str, out: Path) -> dict[str, object]:
    """What the command made, as it is compared."""
    if command == "train":
        return dict(load_file(out / "model.safetensors"))
    return {name: (out / name).read_bytes() for name in MADE[command]}


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    """Weights to 1e-6, bytes exactly."""
    return one.keys() == other.keys() and all(
        np.abs(one[key] - other[key]).max() <= 1e-6 if isinstance(one[key], np.ndarray) else one[key] == other[key]
        for key in one
    )


def strike(command: str, rank: int, moment: str, material: Path, out: Path, whole: dict[str, object]) -> list[str]:
    """Kills a process at a moment and gives the command again; returns what is wrong."""
    wrong = []
    words = words_of(command, out)
    ended = torchrun("tests.faults.struck", str(rank), moment, command, *words, folder=material)
    if ended.status == 0:
        return ["was not struck"]
    if len(ended.errors) != 1 or not ended.errors[0].startswith(f"error: rank {rank} of 2 has died"):
        wrong.append(f"says {ended.errors}")
    if "give the same command again" not in "".join(ended.errors):
        wrong.append("does not say how to go on")
    if ended.said.count("Traceback") != 1:  # the launcher's own
        wrong.append(f"{ended.said.count('Traceback')} tracebacks: {ended.said[-3000:]}")
    again = torchrun(f"pyserini_sdr.{command}", *words, folder=material)
    if again.status:
        return [*wrong, f"given again it ends with {again.status}: {again.said[-2000:]}"]
    if not same(result(command, out), whole):
        wrong.append("given again it gives another result")
    return [*wrong, *(f"stays: {path.name}" for path in out.iterdir() if path.name.startswith("."))]


def points() -> list[tuple[str, str, int]]:
    """Command, moment and process of every kill."""
    return [
        (command, moment, rank)
        for command, moments in MOMENTS.items()
        for moment in moments
        for rank in ((0,) if moment in OF_THE_FIRST else (0, 1))
    ]


def make_material(folder: Path) -> Path:
    """See `material.make_material`; in a process of its own, as that works in the current directory."""
    make_tiny_encoder(folder / "encoder")
    (folder / "m").mkdir()
    code = "import sys, pathlib as p, tests.faults.material as m; m.make_material(*map(p.Path, sys.argv[1:]))"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(folder / "m"), str(folder / "encoder")]
    subprocess.run(command, cwd=folder / "m", env=environment, check=True, capture_output=True)
    return folder / "m"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.processes", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--output", type=Path, help="where to write the table")
    options = parser.parse_args()
    lines, bad = ["| command | moment | rank 0 | rank 1 |", "|---|---|---|---|"], 0
    with tempfile.TemporaryDirectory(prefix="sdr-processes-") as name:
        material = make_material(Path(name))
        whole: dict[str, dict[str, object]] = {}
        rows: dict[tuple[str, str], dict[int, str]] = {}
        for command, moment, rank in points():
            if command not in whole:
                out = Path(name) / f"whole-{command}"
                ended = torchrun(f"pyserini_sdr.{command}", *words_of(command, out), folder=material)
                assert ended.status == 0, ended.said
                whole[command] = result(command, out)
            out = Path(name) / "out"
            shutil.rmtree(out, ignore_errors=True)
            wrong = strike(command, rank, moment, material, out, whole[command])
            print(command, moment, rank, wrong or "ok", file=sys.stderr, flush=True)
            rows.setdefault((command, moment), {})[rank] = "; ".join(wrong) or "goes on"
            bad += bool(wrong)
    lines += [f"| {c} | {m} | {found.get(0, '')} | {found.get(1, '')} |" for (c, m), found in rows.items()]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output:
        options.output.write_text(text, "utf-8")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
