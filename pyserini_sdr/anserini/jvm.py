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
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import compat
from .java import VECTOR_MODULE, Java, find_java, java_environment

_BENIGN = re.compile(rb"WARNING: Using incubator modules: [\w., ]+")
_quiet_loggers: list[Any] = []


def start() -> Java:
    """Starts the JVM with Anserini's jar if it does not run yet, and sets this process's environment for it.

    Returns:
        The Java found. If somebody else started the JVM before, it is left as it is.

    Raises:
        NoJavaError: no Java 21 or newer was found.
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
    jnius_config.add_options(*jvm_options(java))
    with _quiet_boot():
        from jnius import autoclass

        autoclass("java.lang.System")
    _quiet_lucene()
    return java


def jvm_options(java: Java) -> list[str]:
    """Options for a JVM inside a Python process."""
    options = [
        "-Xrs",  # leave SIGINT and SIGTERM to Python, which cleans up half-written files
        "--enable-native-access=ALL-UNNAMED",
        "-Dslf4j.internal.verbosity=WARN",
    ]
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
