"""Checks of Java, of Pyserini on it, and of plain `python -m pyserini...`."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from ..anserini import compat
from ..anserini.java import (
    MINIMUM,
    OVERRIDE,
    VECTOR_MODULE,
    Java,
    NoJavaError,
    Rejected,
    find_java,
    inspect,
    java_environment,
    survey,
)
from .finding import Check, Teller

_PROBE = (
    "from pyserini_sdr.anserini import jvm; jvm.autoclass('io.anserini.search.SimpleSearcher'); "
    "print(jvm.autoclass('java.lang.System').getProperty('java.version'))"
)
_OURS = "run stock modules as `python -m pyserini_sdr.anserini MODULE ...`"


def check_java(teller: Teller) -> Check:
    """The Java that commands will use, and why others were passed over."""
    usable, rejected = _surveyed(teller)
    details = {
        "usable": [{**asdict(java), "home": str(java.home)} for java in usable],
        "rejected": [{**asdict(place), "home": str(place.home)} for place in rejected],
    }
    notes = tuple(f"passed over: {place}" for place in rejected)
    if not usable:
        summary = f"no Java {MINIMUM} or newer; BM25, stock Pyserini and trec_eval's own program do not work"
        return Check("java", "warning", summary, _remedy(), details, notes)
    java = usable[0]
    summary = f"{java.version} at {java.home} (from {java.source})"
    if java.has_vector:
        return Check("java", "ok", summary, None, details, notes)
    without = f"{summary}, without {VECTOR_MODULE}: our commands work, plain `python -m pyserini...` cannot start on it"
    return Check("java", "warning", without, f"{_OURS}, or install a full JDK", details, notes)


def check_pyserini(teller: Teller) -> Check:
    """Whether the JVM starts and finds Anserini; tried in a child process, because a failing JVM takes its own down."""
    version = compat.pyserini_version()
    if version is None:
        return Check("pyserini", "failure", "not installed", "do what `packages` says")
    details: dict[str, object] = {"version": version}
    usable, _ = _surveyed(teller)
    if not usable:
        return Check("pyserini", "warning", f"{version}, cannot be tried without Java", _remedy(), details)
    java, jar = usable[0], compat.fatjar()
    details["anserini"] = jar.name
    teller.doing(f"starting the JVM of {java}")
    command = [sys.executable, "-c", _PROBE]
    done = subprocess.run(
        command, env=java_environment(java), capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        said = f"{done.stdout}\n{done.stderr}".strip().splitlines()
        last = said[-1] if said else f"exit status {done.returncode}"
        summary = f"{version}, but the JVM of {java} does not start, so no BM25 and no stock Pyserini: {last}"
        remedy = f"mend what `limits` and `memory` say, or set {OVERRIDE} to another JDK {MINIMUM} or newer"
        return Check("pyserini", "warning", summary, remedy, details)
    return Check("pyserini", "ok", f"{version} with {jar.stem.removesuffix('-fatjar')}; the JVM starts", None, details)


def check_stock(teller: Teller) -> Check:
    """Whether plain `python -m pyserini...` would start in this shell: it looks at JAVA_HOME and PATH alone."""
    version = compat.pyserini_version()
    if version is None:
        return Check("stock", "warning", "pyserini is not installed", "do what `packages` says")
    reasons: list[str] = []
    steps: list[str] = []
    exports: list[str] = []
    key = bool(os.environ.get("OPENAI_API_KEY"))
    if not key and compat.asks_for_key():
        reasons.append(f"pyserini {version} asks for an OPENAI_API_KEY, which may be anything")
        exports.append("OPENAI_API_KEY=unused")
    home, source = _stock_home()
    java = None if home is None else inspect(home, source)
    if not isinstance(java, Java) or not java.has_vector:
        reasons.append(f"{java}" if isinstance(java, Rejected) else _no_java(java, source))
        full = next((other for other in _surveyed(teller)[0] if other.has_vector), None)
        if full is None:
            steps.append(f"install a full JDK {MINIMUM} or newer")
        else:
            exports += [f"JAVA_HOME={full.home}", f"PATH={full.home / 'bin'}:$PATH"]
    details = {"java": None if java is None else str(java), "openai_api_key": key}
    if reasons:
        summary = f"plain `python -m pyserini...` does not start: {'; '.join(reasons)}"
        steps += [f"export {' '.join(exports)}"] if exports else []
        return Check("stock", "warning", summary, f"{' and '.join(steps)}; or {_OURS}", details)
    summary = f"plain `python -m pyserini...` starts on {java}"
    if not compat.starts_without_network():
        summary += f", where there is a network: pyserini {version} asks for one while it starts (ours do not)"
    return Check("stock", "ok", summary, None, details)


@functools.cache
def _surveyed(teller: Teller) -> tuple[list[Java], list[Rejected]]:
    return survey(told=lambda home: teller.doing(f"looking at the Java in {home}"))


def _stock_home() -> tuple[Path | None, str]:
    """Where pyjnius looks for Java, and why."""
    if os.environ.get("JAVA_HOME"):
        return Path(os.environ["JAVA_HOME"]), "JAVA_HOME"
    on_path = shutil.which("java")
    return (None, "PATH") if on_path is None else (Path(on_path).resolve().parent.parent, "PATH")


def _no_java(java: Java | None, source: str) -> str:
    if java is None:
        return "JAVA_HOME is not set, and no java is on PATH"
    return f"{java} (from {source}) lacks {VECTOR_MODULE}"


def _remedy() -> str:
    try:
        find_java()
    except NoJavaError as error:
        return error.remedy
    return ""
