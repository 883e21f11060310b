#!/usr/bin/env bash
# Makes or updates the virtual environment: bash run_scripts/setup.sh [EXTRAS], e.g. "quickstart,java" or "test".
# Skips what is done. Variables: VENV (default .venv), PYTHON (default: python3.11 to python3.13, else python3), TORCH_VERSION.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTRAS="${1:-quickstart,java}"
VENV="${VENV:-.venv}"
TORCH_VERSION="${TORCH_VERSION:-$(sed -n 's/^torch==//p' constraints.txt)}"

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3.13 python3 python; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"; return
    fi
  done
  fail "no Python 3.11 or newer with venv (Debian: apt-get install python3-venv); install one or set PYTHON=/path/to/python3"
}

has_gpu() { command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; }

# torch's default Linux build brings several GB of CUDA libraries. Without a GPU: if pip would take that build, let uv
# (which knows where PyTorch keeps its CPU builds, --torch-backend) install it; otherwise pip's choice is small already.
install_torch() {
  "$VENV/bin/python" -c 'import torch' 2>/dev/null && return
  if has_gpu || [ "$(uname -s)" != Linux ]; then
    say "torch $TORCH_VERSION"
    "$VENV/bin/python" -m pip install -q "torch==$TORCH_VERSION"
    return
  fi
  say "torch $TORCH_VERSION for the CPU (no NVIDIA GPU here)"
  local plan
  plan="$(mktemp)"
  if "$VENV/bin/python" -m pip install -q --dry-run --ignore-installed --report "$plan" "torch==$TORCH_VERSION" 2>/dev/null \
      && ! grep -qiE '"name": *"(nvidia|cuda)[-_]' "$plan"; then
    "$VENV/bin/python" -m pip install -q "torch==$TORCH_VERSION"
  else
    "$VENV/bin/python" -m pip install -q uv
    "$VENV/bin/uv" pip install -q --python "$VENV/bin/python" --torch-backend cpu "torch==$TORCH_VERSION"
  fi
  rm -f "$plan"
}

STAMP="$VENV/.pyserini_sdr-$(echo "$EXTRAS" | tr ',' '-')"
WANTED="$(cat setup.cfg constraints.txt | cksum)"
if [ -f "$STAMP" ] && [ "$(cat "$STAMP")" = "$WANTED" ]; then
  echo "environment $VENV is up to date"
  exit 0
fi
START=$SECONDS
if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then  # none, or one that was left half-made
  INTERPRETER="$(find_python)"
  say "virtual environment $VENV ($("$INTERPRETER" --version))"
  "$INTERPRETER" -m venv --clear "$VENV"
  "$VENV/bin/python" -m pip install -q --upgrade pip
fi
install_torch
say "pyserini_sdr[$EXTRAS] and what it needs"
"$VENV/bin/python" -m pip install -q -c constraints.txt -e ".[$EXTRAS]"
echo "$WANTED" > "$STAMP"
echo "environment ready in $((SECONDS - START)) s"
