#!/usr/bin/env bash
# Sets up .venv (skipped if done) and runs all checks and tests: bash run_scripts/test.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "$0")/.."
VENV="${VENV:-.venv}"
bash run_scripts/setup.sh "test,java,ir-datasets,dev"
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=true OMP_WAIT_POLICY=PASSIVE
"$VENV/bin/ruff" check .
"$VENV/bin/ruff" format --check .
START=$SECONDS
"$VENV/bin/python" -m pytest "$@"
echo "tests took $((SECONDS - START)) s"
