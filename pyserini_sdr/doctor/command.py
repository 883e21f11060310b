"""The command `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.command import Command
from ..core.options import at_least, option


@dataclass
class DoctorOptions:
    paths: list[str] = option([], help="checkpoints, indexes, collections, runs … to look at", positional=True)
    json: bool = option(False, help="print one JSON object instead of lines (docs/doctor.md)")
    color: bool = option(True, help="colours, if standard output is a terminal and NO_COLOR is not set")
    limit: float = option(8.0, help="seconds after which what has not answered is told as such", check=at_least(0.1))


COMMAND = Command(
    summary="says what works on this machine, and what to do about what does not",
    options=DoctorOptions,
    run="pyserini_sdr.doctor.report:run",
    details="""\
Looks at Python and the packages, the processor, memory and limits, Java and Pyserini, torch, transformers, faiss,
several processes, the bundled encoder, the model hub (unless HF_HUB_OFFLINE is set), the disks; and at the paths that
are named: what they hold, whether that is finished, what is wrong with it. Exit status 1 if something necessary does
not work (✗) or a path is damaged, else 0; a warning (!) does not count.""",
    examples="""\
  python -m pyserini_sdr.doctor
  python -m pyserini_sdr.doctor checkpoint index run.trec
  python -m pyserini_sdr.doctor --json > machine.json
  PYSERINI_SDR_JAVA_HOME=/opt/jdk-21 python -m pyserini_sdr.doctor""",
)
