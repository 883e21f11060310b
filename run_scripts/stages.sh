# Functions of the scripts that run a pipeline; sourced by them in the repository root, with CALLER set to where they
# were called from.

# absolute PATH: as seen from where the script was called
absolute() { case "$1" in /*) echo "$1" ;; *) echo "$CALLER/$1" ;; esac; }

# environment EXTRAS: sets up the virtual environment VENV and puts it first on PATH; with VENV=none, the Python on PATH
# is taken as it is
environment() {
  VENV="${VENV:-.venv}"
  [ "$VENV" != none ] || return 0
  bash run_scripts/setup.sh "$1"
  PATH="$(cd "$VENV/bin" && pwd):$PATH"
  export PATH
}

# at_least_one FLAG VALUE: prints a number of at least 1 without leading zeros, which would make bash read it as octal
at_least_one() {
  case "$2" in
    ''|*[!0-9]*) ;;
    *) if [ $((10#$2)) -ge 1 ]; then echo $((10#$2)); return; fi ;;
  esac
  echo "error: $1 $2: expected a number of at least 1" >&2
  exit 2
}

# one_set_of_options OUTPUT OPTIONS: stages that are done are skipped by the name of what they made, so an output belongs
# to one set of options
one_set_of_options() {
  if [ -e "$1/options" ] && [ "$(cat "$1/options")" != "$2" ]; then
    echo "error: $1 was made with other options or inputs; give another --output or remove it" >&2
    exit 2
  fi
  printf '%s\n' "$2" > "$1/options"
}

# stage FILE TITLE COMMAND...: runs the command unless FILE, which it makes last, is there
stage() {
  local made="$1" title="$2" start=$SECONDS
  shift 2
  if [ -e "$made" ]; then printf '\n== %s: done before (%s)\n' "$title" "$made"; return; fi
  printf '\n== %s\n%s\n' "$title" "$(printf ' %q' "$@" | sed 's/^ /$ /')"
  "$@"
  printf '   %s: %d s\n' "$title" $((SECONDS - start))
}

# peak_memory OUTPUT: the most that a command needed, from the manifests, which tell what every artefact cost
peak_memory() {
  python - "$1" <<'PY'
import json, pathlib, sys
found = []
for path in pathlib.Path(sys.argv[1]).rglob("*.json"):
    if path.stat().st_size < 1 << 20:
        value = json.loads(path.read_text())
        if isinstance(value, dict) and "peak_memory_bytes" in (value.get("cost") or {}):
            found.append((value["cost"]["peak_memory_bytes"], value["kind"]))
peak, kind = max(found)
print(f"{peak / 2**30:.1f} GiB ({kind})")
PY
}
