#!/usr/bin/env bash
# The contract tests under other versions: bash run_scripts/matrix.sh [--list] [--cell NAME ...]   (docs/compatibility.md)
# Makes an environment per cell of run_scripts/matrix.tsv in .matrix/ and keeps it. A cell that fails does not end it; the
# exit status is then 1. uv makes the environments: its variables hold (UV_TORCH_BACKEND=cpu, UV_FIND_LINKS, UV_CONSTRAINT ...).
set -euo pipefail
cd "$(dirname "$0")/.."
MATRIX="${MATRIX:-.matrix}"

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  echo "error: no Python 3.11 or newer with venv; install one or set PYTHON=/path/to/python3" >&2; exit 1
}

PYTHON="$(find_python)"
if ! command -v uv >/dev/null; then
  if ! "$MATRIX/uv/bin/uv" --version >/dev/null 2>&1; then
    "$PYTHON" -m venv --clear "$MATRIX/uv"
    "$MATRIX/uv/bin/python" -m pip install -q uv
  fi
  export PATH="$PWD/$MATRIX/uv/bin:$PATH"
fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=true OMP_WAIT_POLICY=PASSIVE
"$PYTHON" run_scripts/matrix.py --folder "$MATRIX" "$@"
