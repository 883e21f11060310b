"""Documentation strings of Python source files, parsed statically: nothing is imported or executed."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DOC_CALLS = ("add_docstr", "add_newdoc")  # torch._torch_docs and numpy._core._add_newdocs document compiled functions


@dataclass(frozen=True, slots=True)
class Docstring:
    """A documentation string.

    Args:
        name: qualified name of what it documents, `scipy.stats.norm_gen.pdf`.
        module: the module of that, `scipy.stats`.
        text: the string as written, indentation removed.
    """

    name: str
    module: str
    text: str


def module_name(relative: Path) -> str:
    """`torch/nn/__init__.py` → `torch.nn`."""
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_docstrings(file: Path, module: str) -> Iterator[Docstring]:
    """Yields the documentation strings of a file's public module, classes, methods and functions, in source order.

    Files that cannot be read or parsed (templates, other Python versions) yield nothing.
    """
    try:
        source = file.read_bytes()
    except OSError:
        return
    if b'"""' not in source and b"'''" not in source:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's code
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    yield from _walk(tree, module, module)


def _walk(node: ast.Module | ast.ClassDef, name: str, module: str) -> Iterator[Docstring]:
    text = ast.get_docstring(node)
    if text:
        yield Docstring(name, module, text)
    for child in _statements(node.body):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if child.name.startswith("_"):
                continue
            if isinstance(child, ast.ClassDef):
                yield from _walk(child, f"{name}.{child.name}", module)
            else:
                text = ast.get_docstring(child)
                if text:
                    yield Docstring(f"{name}.{child.name}", module, text)
        elif isinstance(child, ast.Expr) and isinstance(child.value, ast.Call):
            documented = _documented_by_call(child.value, module)
            if documented:
                yield documented


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a body and of the conditionals in it (`if TYPE_CHECKING`, `try: import`)."""
    for child in body:
        yield child
        if isinstance(child, ast.If | ast.Try):
            yield from _statements(child.body)


def _documented_by_call(call: ast.Call, module: str) -> Docstring | None:
    """`add_docstr(torch.abs, "text")`, `add_newdoc("numpy._core.umath", "absolute", "text")`."""
    if not isinstance(call.func, ast.Name) or call.func.id not in _DOC_CALLS or len(call.args) not in (2, 3):
        return None
    *target, text = call.args
    if isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute) and text.func.attr == "format":
        text = text.func.value
    if not isinstance(text, ast.Constant) or not isinstance(text.value, str):
        return None
    if all(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in target):
        name = ".".join(part.value for part in target)  # type: ignore[attr-defined]
    else:
        name = ".".join(ast.unparse(part) for part in target)
    if "." not in name:
        name = f"{module.rpartition('.')[0] or module}.{name}"
    text = "\n".join(line.strip() for line in text.value.strip("\n").splitlines())
    return Docstring(name, name.rpartition(".")[0], text)
