"""The command `doctor`."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.command import Command
from ..core.options import option


@dataclass
class DoctorOptions:
    json: bool = option(False, help="print one JSON object instead of lines")


COMMAND = Command(
    summary="says what works on this machine, and what to do about what does not",
    options=DoctorOptions,
    run="pyserini_sdr.doctor.report:run",
    details="""\
Looks at Java, pyserini, faiss, torch, transformers, the other packages, the bundled encoder, memory and disk. Makes no
network call. Exit status 0 if everything necessary works, else 1; a warning (!) does not count.""",
    examples="""\
  python -m pyserini_sdr.doctor
  python -m pyserini_sdr.doctor --json > machine.json
  PYSERINI_SDR_JAVA_HOME=/opt/jdk-21 python -m pyserini_sdr.doctor""",
)
