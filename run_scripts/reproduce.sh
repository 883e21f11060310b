#!/usr/bin/env bash
# Reproduces a matrix of runs and compares the scores with the expected ones, in a virtual environment of its own:
#   bash run_scripts/reproduce.sh pydocs        # and any other flags of: python -m pyserini_sdr.reproduce --help
set -euo pipefail
CALLER="$PWD"
cd "$(dirname "$0")/.."
source run_scripts/stages.sh
environment "quickstart,java,ir-datasets"
cd "$CALLER"
exec python -m pyserini_sdr.reproduce "$@"
