from ..core.command import main
from .command import COMMAND

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.doctor")
