"""The shape of the project: one-way imports, light start-up, small files, nothing of this machine in the texts."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from .conftest import ROOT

PACKAGE = ROOT / "pyserini_sdr"
ORDER = (
    *("core", "trec", "data", "model", "losses", "anserini", "encode", "index", "search", "evaluate"),
    *("mine", "teach", "train", "pretrain", "recipe", "reproduce"),
)
"""Each package imports only from those before it."""
COMMAND_PACKAGES = ("run", "collection", "doctor")
"""Commands over the packages before `evaluate`; nothing imports from them."""
HEAVY = ("torch", "faiss", "pandas", "transformers", "jnius", "pyserini", "sklearn", "matplotlib", "trectools")
COMMANDS = sorted(path.parent.name for path in PACKAGE.glob("*/__main__.py"))


def module_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Absolute names of the modules a file imports, anywhere in it, and those of its `"module:function"` strings."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(filter(None, [base, node.module]))
            yield name, node.lineno
            yield from ((f"{name}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"pyserini_sdr(\.\w+)+:\w+", str(node.value)):
            yield str(node.value).partition(":")[0], node.lineno


def part(module: str) -> str | None:
    """The package of the project that a module belongs to; None for other modules and the project's top level."""
    names = module.split(".")
    known = {*ORDER, *COMMAND_PACKAGES}
    return names[1] if len(names) > 1 and names[0] == "pyserini_sdr" and names[1] in known else None


def test_every_package_has_its_place() -> None:
    packages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert packages <= {*ORDER, *COMMAND_PACKAGES}


def test_imports_go_one_way() -> None:
    before = {name: set(ORDER[:place]) for place, name in enumerate(ORDER)}
    before |= {name: set(ORDER[: ORDER.index("evaluate")]) for name in COMMAND_PACKAGES}
    wrong = []
    for path in module_files():
        own = part(".".join(path.relative_to(ROOT).with_suffix("").parts))
        if own is None:  # `pyserini_sdr/__init__.py` and `__main__.py` name everything, by strings
            continue
        for module, line in imports(path):
            other = part(module)
            if other is not None and other != own and other not in before[own]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {module}")
    assert not wrong


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [
        (("pyserini", "jnius", "jnius_config"), {"anserini"}),
        (
            ("torch", "transformers", "tokenizers", "safetensors", "accelerate"),
            {*ORDER, "doctor"} - {"core", "trec", "data"},
        ),
    ],
)
def test_who_may_import(modules: tuple[str, ...], allowed: set[str]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for path in module_files()
        for module, line in imports(path)
        if module.split(".")[0] in modules and path.relative_to(PACKAGE).parts[0] not in allowed
    ]
    assert not wrong


def loaded_by(*argv: str) -> tuple[set[str], float, str, int]:
    """Heavy modules that `python -m ARGV` loads, seconds inside the interpreter, its output, its exit status."""
    code = (
        "import json, sys, time\n"
        "start = time.perf_counter()\n"
        "import runpy\n"
        "sys.argv = sys.argv[1:]\n"
        "status = 0\n"
        "try:\n"
        "    runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
        "except SystemExit as stop:\n"
        "    status = stop.code or 0\n"
        "facts = [sorted({name.split('.')[0] for name in sys.modules}), time.perf_counter() - start, status]\n"
        "print(json.dumps(facts), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    modules, seconds, status = json.loads(done.stderr.splitlines()[-1])
    return set(modules) & set(HEAVY), seconds, done.stdout, status


def sub_commands(name: str) -> list[list[str]]:
    """The command lines whose help is to be read: the command, and each of its sub-commands."""
    command = import_module(f"pyserini_sdr.{name}.__main__").COMMAND
    return [[], *([word] for word in getattr(command, "commands", ()))]


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_light_and_fast(name: str) -> None:
    module = f"pyserini_sdr.{name}" if name else "pyserini_sdr"
    command_lines = sub_commands(name) if name else [[]]
    for words in command_lines:
        heavy, seconds, text, status = loaded_by(module, *words, "--help")
        print(f"{module} {' '.join(words)} --help: {seconds:.2f} s")
        assert status == 0
        assert not heavy
        assert seconds < 3  # a second on an idle machine
        if name and (words or len(command_lines) == 1):
            assert re.search(r"^examples?:\n.*(python -m|torchrun)", text, re.MULTILINE | re.DOTALL)


def test_main_lists_every_command() -> None:
    _, _, text, _ = loaded_by("pyserini_sdr", "--help")
    missing = [name for name in COMMANDS if not re.search(rf"\b{name}\b", text)]
    assert not missing


def test_package_import_is_light() -> None:
    code = "import pyserini_sdr, sys; print(' '.join({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {*HEAVY, "numpy"} & set(done.stdout.split())


def test_public_names_are_there() -> None:
    import pyserini_sdr

    for name in pyserini_sdr.__all__:
        assert getattr(pyserini_sdr, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        pyserini_sdr.Nothing  # noqa: B018


def test_files_stay_small() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in module_files()}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def project_files() -> list[Path]:
    """Files of the repository, tracked or about to be."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_text_names_a_place_on_the_authors_machine() -> None:
    place = re.compile(r"(?<![\w./-])/(?:work|root)(?:/|\b)(?![\w-])")
    wrong = []
    for path in project_files():
        if path == Path(__file__).resolve():
            continue
        try:
            lines = path.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}:{n}" for n, line in enumerate(lines, start=1) if place.search(line)]
    assert not wrong
