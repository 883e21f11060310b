"""The command `doctor`: what works on this machine, and what to do about what does not."""

import sys

try:
    from ..core.command import main
    from .command import COMMAND
except ModuleNotFoundError as error:  # what every command begins with
    sys.exit(f"x packages: {error.name} is not installed\n  -> run `pip install .` in the folder of pyserini_sdr")

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.doctor")
