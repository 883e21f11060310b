"""The JVM in this process: started once, our way, so that any Java 21 or newer will do.

Stock Pyserini starts the JVM with `--add-modules=jdk.incubator.vector`, and a runtime without that module then takes
the process down. When the JVM runs already, Pyserini swallows its own attempt, so starting it first makes stock
modules work on every runtime.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..core.errors import SdrError
from . import compat
from .java import VECTOR_MODULE, Java, find_java, java_environment

HEAP_MB = 2048
"""What Java may keep of objects where we search, at most; by itself it takes a quarter of the machine's memory.

A search needs some tens of MB (an index is mapped, not loaded), and the stored documents of its hits. Java's usual
collector (G1) lets the heap grow to its bound nevertheless; the serial one only with what is in use.
"""
_GIVEN = ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS")
"""Where users give options of their own."""
_HEAP_FLAGS = re.compile(r"(?<!\S)-(Xmx|XX:(MaxHeapSize|MaxRAM|MaxRAMPercentage)=)")
_COLLECTOR_FLAGS = re.compile(r"(?<!\S)-XX:\+Use\w+GC\b")
_BENIGN = re.compile(rb"WARNING: Using incubator modules: [\w., ]+")
_quiet_loggers: list[Any] = []


def start(heap_mb: int | None = HEAP_MB) -> Java:
    """Starts the JVM with Anserini's jar if it does not run yet, and sets this process's environment for it.

    Args:
        heap_mb: the most that its heap may become, where the user's `JAVA_TOOL_OPTIONS` or `_JAVA_OPTIONS` do not tell;
            None leaves it to Java, as indexing needs it, and stock modules expect it.

    Returns:
        The Java found. If somebody else started the JVM before, it is left as it is.

    Raises:
        NoJavaError: no Java 21 or newer was found.
        SdrError: it does not start; it has said why on standard error.
    """
    java = find_java()
    environment = java_environment(java)
    os.environ.update(environment)
    if "JVM_PATH" not in environment:
        os.environ.pop("JVM_PATH", None)
    import jnius_config

    if jnius_config.vm_running:
        return java
    jnius_config.add_classpath(str(compat.fatjar()))
    compat.defer_downloads()
    jnius_config.add_options(*jvm_options(java, heap_mb))
    with _quiet_boot():
        try:
            from jnius import autoclass

            autoclass("java.lang.System")
        except SystemError as error:
            given = [f"{name}={os.environ[name]!r}" for name in _GIVEN if os.environ.get(name)]
            remedy = f"correct {' and '.join(given)}" if given else "see `python -m pyserini_sdr.doctor`"
            raise SdrError(f"the JVM of {java} does not start ({error}); {remedy}") from error
    _quiet_lucene()
    return java


def jvm_options(java: Java, heap_mb: int | None = None, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Options for a JVM inside a Python process; arguments as of `start`."""
    options = [
        "-Xrs",  # leave SIGINT and SIGTERM to Python, which cleans up half-written files
        "--enable-native-access=ALL-UNNAMED",
        "-Dslf4j.internal.verbosity=WARN",
    ]
    given = " ".join(environment.get(name, "") for name in _GIVEN)
    if heap_mb is not None and not _HEAP_FLAGS.search(given):  # an option of ours would win over JAVA_TOOL_OPTIONS
        options.append(f"-Xmx{heap_mb}m")
    if heap_mb is not None and not _COLLECTOR_FLAGS.search(given):  # Java refuses to start with two
        options.append("-XX:+UseSerialGC")
    if java.has_vector:
        options.append(f"--add-modules={VECTOR_MODULE}")
    if java.major >= 24:  # the flag exists since 23; the warning it silences since 24
        options.append("--sun-misc-unsafe-memory-access=allow")
    return options


def autoclass(name: str) -> Any:
    """The Java class `name`; starts the JVM if need be."""
    start()
    from jnius import autoclass as jnius_autoclass

    return jnius_autoclass(name)


@contextmanager
def prints_to_stderr() -> Iterator[None]:
    """What Java prints on standard output goes to standard error inside the block: ours is for results."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@contextmanager
def _quiet_boot() -> Iterator[None]:
    """Drops the JVM's warning about the incubator module, which no option silences; all else is passed on."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            caught.seek(0)
            for line in caught:
                if not _BENIGN.fullmatch(line.strip()):
                    os.write(2, line)


def _quiet_lucene() -> None:
    """Lucene reports at start which vector instructions it uses: nothing a user has to act on."""
    from jnius import autoclass as jnius_autoclass

    logger = jnius_autoclass("java.util.logging.Logger").getLogger("org.apache.lucene")
    logger.setLevel(jnius_autoclass("java.util.logging.Level").SEVERE)
    _quiet_loggers.append(logger)  # the log manager keeps only weak references
