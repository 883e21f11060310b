"""The JVM in a process: quiet, once, and not in the way of Python's signals."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.anserini.java import Java
from pyserini_sdr.anserini.jvm import jvm_options


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_options_follow_the_java():
    new, trimmed = Java(Path("/x"), "25.0.3", True, "PATH"), Java(Path("/x"), "21.0.4", False, "PATH")
    assert "--add-modules=jdk.incubator.vector" in jvm_options(new)
    assert not [option for option in jvm_options(trimmed) if "vector" in option or "unsafe" in option]


def test_the_heap_is_bounded_unless_the_user_tells_how():
    java = Java(Path("/x"), "25.0.3", True, "PATH")
    assert "-Xmx2048m" in jvm_options(java, 2048, {"JAVA_TOOL_OPTIONS": "-Dx=-Xmx1g", "_JAVA_OPTIONS": "-Xms1g"})
    assert not [option for option in jvm_options(java, None, {}) if "Xmx" in option]
    for given in ("-Xmx1g", "-Dx=y -Xmx1g", "-XX:MaxRAMPercentage=50", "-XX:MaxHeapSize=1g"):
        for name in ("JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"):
            assert not [option for option in jvm_options(java, 2048, {name: given}) if "Xmx" in option], given


def test_the_collector_is_the_serial_one_unless_the_user_chooses():
    java, serial = Java(Path("/x"), "25.0.3", True, "PATH"), "-XX:+UseSerialGC"
    assert serial in jvm_options(java, 2048, {"JAVA_TOOL_OPTIONS": "-Xmx1g"})
    assert serial not in jvm_options(java, None, {})
    assert serial not in jvm_options(java, 2048, {"_JAVA_OPTIONS": "-Xmx1g -XX:+UseG1GC"})


@pytest.mark.usefixtures("found_java")
@pytest.mark.parametrize(
    ("environment", "most"),
    [({}, 2048), ({"JAVA_TOOL_OPTIONS": "-Xmx300m -XX:+UseG1GC"}, 300), ({"_JAVA_OPTIONS": "-Xmx3g"}, 3072)],
)
def test_java_takes_the_bound(environment: dict[str, str], most: int):
    code = (
        "from pyserini_sdr.anserini import jvm\n"
        "print(jvm.autoclass('java.lang.Runtime').getRuntime().maxMemory() >> 20)\n"
    )
    assert abs(int(python(code, **environment).stdout) - most) <= 0.05 * most  # some collectors leave out a part


@pytest.mark.usefixtures("found_java")
def test_start_is_quiet_and_may_be_repeated():
    done = python(
        "from pyserini_sdr.anserini import jvm\n"
        "assert jvm.start() == jvm.start()\n"
        "import pyserini.pyclass\n"
        "from pyserini.pyclass import JString\n"
        "print(jvm.autoclass('io.anserini.search.SimpleSearcher').__name__)\n"
    )
    assert (done.stdout, done.stderr) == ("io.anserini.search.SimpleSearcher\n", "")


@pytest.mark.usefixtures("found_java")
def test_options_that_java_does_not_know_are_told_in_one_line():
    code = (
        "from pyserini_sdr.anserini import jvm\nfrom pyserini_sdr.core.errors import SdrError\n"
        "try:\n    jvm.start()\nexcept SdrError as error:\n    print(error)\n"
    )
    done = python(code, _JAVA_OPTIONS="-XX:+Nonsense")
    assert "Unrecognized VM option 'Nonsense'" in done.stderr and "Traceback" not in done.stderr
    assert "does not start" in done.stdout and done.stdout.endswith("; correct _JAVA_OPTIONS='-XX:+Nonsense'\n")


@pytest.mark.usefixtures("found_java")
def test_other_messages_at_start_are_passed_on():
    done = python("from pyserini_sdr.anserini import jvm; jvm.start()", JAVA_TOOL_OPTIONS="-Dx=y")
    assert done.stderr == "Picked up JAVA_TOOL_OPTIONS: -Dx=y\n"


@pytest.mark.usefixtures("found_java")
def test_interrupt_reaches_python():
    """The JVM would end the process on SIGINT, and half-written files would stay."""
    done = python(
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a job in the background starts without
        "from pyserini_sdr.anserini import jvm\n"
        "jvm.start()\n"
        "try:\n"
        "    os.kill(os.getpid(), signal.SIGINT); time.sleep(5)\n"
        "except KeyboardInterrupt:\n"
        "    print('cleaned up')\n"
    )
    assert (done.returncode, done.stdout) == (0, "cleaned up\n")


@pytest.mark.usefixtures("found_java")
def test_java_prints_beside_the_results():
    done = python(
        "from pyserini_sdr.anserini import jvm\n"
        "out = jvm.autoclass('java.lang.System').out\n"
        "print('before')\n"
        "with jvm.prints_to_stderr(): out.println('from Java')\n"
        "print('after')\n"
    )
    assert (done.stdout, done.stderr) == ("before\nafter\n", "from Java\n")
