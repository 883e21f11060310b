"""Topics and qrels by path and by stock name."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from pyserini_sdr.anserini import jvm
from pyserini_sdr.anserini.java import NoJavaError
from pyserini_sdr.anserini.topics import load_qrels, load_topics
from pyserini_sdr.core.errors import DataError, SdrError


def test_paths_need_no_java(monkeypatch: pytest.MonkeyPatch, tiny_collection: Path):
    monkeypatch.setattr(jvm, "start", lambda: pytest.fail("the JVM was started"))
    assert len(load_topics(tiny_collection / "topics.test.tsv")) == 12
    assert load_qrels(str(tiny_collection / "qrels.test.txt"))["q048"] == {"d048": 1}
    with pytest.raises(DataError, match=r"^missing\.tsv: no such topics file"):
        load_topics("missing.tsv")


def test_name_without_java_says_that_it_was_taken_for_a_name(monkeypatch: pytest.MonkeyPatch):
    def no_java():
        raise NoJavaError("no Java 21 or newer", "install one")

    monkeypatch.setattr(jvm, "start", no_java)
    with pytest.raises(NoJavaError, match=r"^dl19-passage: no such file, .* no Java 21 or newer; install one$"):
        load_topics("dl19-passage")


@pytest.mark.usefixtures("found_java")
def test_without_a_table_of_names_a_path_is_asked_for(monkeypatch: pytest.MonkeyPatch):
    jvm.start()
    base = import_module("pyserini.search._base")
    for table in ("topics_mapping", "qrels_mapping"):
        monkeypatch.delattr(base, table, raising=False)  # as in 2.4
    for load in (load_topics, load_qrels):
        with pytest.raises(SdrError, match=r"^pyserini \S+ has no table of stock names; give the path of a file"):
            load("dl19-passage")


@pytest.mark.usefixtures("stock_tables")
def test_unknown_name_is_compared_with_the_known_ones():
    with pytest.raises(DataError, match=r"^dl19-pasage: neither a file nor topics .*did you mean 'dl19-passage'"):
        load_topics("dl19-pasage")
    with pytest.raises(DataError, match=r"nothing-like-it: neither a file nor qrels .* give the path of a file"):
        load_qrels("nothing-like-it")


def load_by_name(home: Path) -> subprocess.CompletedProcess[str]:
    """Loads stock topics and qrels in a process whose home directory, and with it Anserini's cache, is `home`."""
    code = (
        "from pyserini_sdr.anserini.topics import load_qrels, load_topics\n"
        "from pyserini_sdr.core.errors import SdrError\n"
        "for load in (load_topics, load_qrels):\n"
        "    try: print(load('beir-v1.0.0-scifact-test'))\n"
        "    except SdrError as error: print('error:', error)\n"
    )
    # An address that answers nothing keeps a machine with a network from downloading.
    options = f"-Duser.home={home} -Dhttps.proxyHost=127.0.0.1 -Dhttps.proxyPort=9"
    environment = {**os.environ, "JAVA_TOOL_OPTIONS": options}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def test_stock_names_read_the_cached_files(stock_tables, tmp_path: Path):
    cache = tmp_path / ".cache" / "pyserini" / "topics-and-qrels"
    cache.mkdir(parents=True)
    with gzip.open(cache / "topics.beir-v1.0.0-scifact.test.tsv.gz", "wt", encoding="utf-8") as handle:
        handle.write("10\tten herons\n2\ttwo herons\n")
    (cache / "qrels.beir-v1.0.0-scifact.test.txt").write_text("2 0 007 1\n")
    assert load_by_name(tmp_path).stdout == "{'2': 'two herons', '10': 'ten herons'}\n{'2': {'007': 1}}\n"


def test_without_network_the_place_for_the_file_is_named(stock_tables, tmp_path: Path):
    topics, qrels = load_by_name(tmp_path).stdout.splitlines()
    cache = tmp_path / ".cache" / "pyserini" / "topics-and-qrels"
    assert topics.startswith("error: beir-v1.0.0-scifact-test: its file cannot be had (")
    assert topics.endswith(f"put the file at {cache}/topics.beir-v1.0.0-scifact.test.tsv.gz")
    assert qrels.endswith(f"put the file at {cache}/qrels.beir-v1.0.0-scifact.test.txt")
