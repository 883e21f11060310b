"""`python -m pyserini_sdr.evaluate`."""

from __future__ import annotations

from ..core.command import main
from .command import COMMAND

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.evaluate")
