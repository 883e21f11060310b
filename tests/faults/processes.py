"""One of two processes under `torchrun` is killed at every kind of moment; the job has to end, say so, and go on.

    python -m tests.faults.processes --output table.md

Here the agent of torchrun and its processes are forked from one that has imported torch, as starting them anew takes
longer than all they do; `test_processes.py` runs `torchrun` itself.

After each kill the launcher has to end within a minute with a status that is not 0, exactly one line has to say which
process has died, and the same command has to end with the result of an undisturbed run: weights to 1e-6, an index byte
by byte.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a pool of threads does not survive a fork

import numpy as np
from safetensors.numpy import load_file

from pyserini_sdr.core.command import main as main_of_a_command

from ..conftest import ROOT
from .struck import MOMENTS, OF_THE_FIRST, run

PRELOADED = ("transformers.models.bert.modeling_bert", "matplotlib.figure", "torch.distributed.launcher.api")

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

    @property
    def tracebacks(self) -> int:
        """How many there are; torch puts a rank before those of a process, and the agent a time before what it logs."""
        return len(re.findall(r"^(\[rank\d+\]: ?)?Traceback", self.said, re.MULTILINE))


def torchrun(*words: str, folder: Path, processes: int = 2) -> Ended:
    """`torchrun -m WORDS` in a folder."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    start = time.monotonic()
    done = subprocess.run(
        [*launcher, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=LONGEST
    )
    return Ended(done.returncode, done.stderr, time.monotonic() - start)


def forked(*words: str, folder: Path, processes: int = 2) -> Ended:
    """What `torchrun` does, by forks of this process, which must not have computed anything with torch."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        agent = os.fork()
        if agent == 0:
            _be_agent(words, folder, processes, said.fileno())
        status = os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1])
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    return Ended(status, text, time.monotonic() - start)


def _be_agent(words: Sequence[str], folder: Path, processes: int, said: int) -> None:
    """In the child: does not return."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    signal.alarm(LONGEST)  # nobody catches it
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    os.chdir(folder)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        run_id=uuid.uuid4().hex,
        start_method="fork",
        max_restarts=0,
    )
    status = 0
    try:
        elastic_launch(config, _work)(*words)
    except ChildFailedError:
        traceback.print_exc()
        status = 1
    sys.stderr.flush()
    os._exit(status)


def _work(module: str, *words: str) -> None:
    """In a process of the job: `python -m MODULE WORDS`."""
    signal.alarm(0)
    if module == "tests.faults.struck":
        run(*words)
    command = import_module(f"{module}.__main__").COMMAND
    main_of_a_command(command, module, words)


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


def strike(
    command: str,
    rank: int,
    moment: str,
    material: Path,
    out: Path,
    whole: dict[str, object],
    launch: Callable[..., Ended] = torchrun,
) -> list[str]:
    """Kills a process at a moment and gives the command again; returns what is wrong."""
    wrong = []
    words = words_of(command, out)
    ended = launch("tests.faults.struck", str(rank), moment, command, *words, folder=material)
    if ended.status == 0:
        return ["was not struck"]
    if len(ended.errors) != 1 or not ended.errors[0].startswith(f"error: rank {rank} of 2 has died"):
        wrong.append(f"says {ended.errors}")
    if "give the same command again" not in "".join(ended.errors):
        wrong.append("does not say how to go on")
    if ended.tracebacks != 1:  # the launcher's own
        wrong.append(f"{ended.tracebacks} tracebacks: {ended.said[-3000:]}")
    again = launch(f"pyserini_sdr.{command}", *words, folder=material)
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
    (folder / "m").mkdir()
    code = (
        "import sys, pathlib, tests.tiny, tests.faults.material as m\n"
        "folder, encoder = map(pathlib.Path, sys.argv[1:])\n"
        "m.make_material(folder, tests.tiny.make_tiny_encoder(encoder))"
    )
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
    for name in (*PRELOADED, "pyserini_sdr.train.engine", "pyserini_sdr.train.finish", "pyserini_sdr.encode.engine"):
        import_module(name)
    lines, bad = ["| command | moment | rank 0 | rank 1 |", "|---|---|---|---|"], 0
    with tempfile.TemporaryDirectory(prefix="sdr-processes-") as name:
        material = make_material(Path(name))
        whole: dict[str, dict[str, object]] = {}
        rows: dict[tuple[str, str], dict[int, str]] = {}
        for command, moment, rank in points():
            if command not in whole:
                out = Path(name) / f"whole-{command}"
                ended = forked(f"pyserini_sdr.{command}", *words_of(command, out), folder=material)
                assert ended.status == 0, ended.said
                whole[command] = result(command, out)
            out = Path(name) / "out"
            shutil.rmtree(out, ignore_errors=True)
            wrong = strike(command, rank, moment, material, out, whole[command], forked)
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
