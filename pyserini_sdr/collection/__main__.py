"""`python -m pyserini_sdr.collection`."""

from __future__ import annotations

from ..core.command import main
from .commands import COMMAND

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.collection")
