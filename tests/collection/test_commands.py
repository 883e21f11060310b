"""`collection build` and `collection check` as a user meets them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pyserini_sdr.collection.check import check_collection
from pyserini_sdr.collection.commands import COMMAND
from pyserini_sdr.core.errors import SdrError, UsageError


def execute(*argv: object) -> int:
    return COMMAND.execute("collection", [str(item) for item in argv])


@pytest.fixture
def copy(tiny_collection: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_collection, tmp_path / "c"))


def append(path: Path, text: str) -> None:
    with path.open("ab") as handle:
        handle.write(text.encode("utf-8", "surrogateescape"))


def messages(directory: Path, level: str, *groups: Path) -> list[str]:
    return [
        f.message.removeprefix(f"{directory}/")
        for f in check_collection(directory, groups).findings
        if f.level == level
    ]


def test_sound_collection(tiny_collection: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute("check", tiny_collection) == 0
    out = capsys.readouterr().out
    assert "documents: 60" in out and "train pairs: 36" in out and out.endswith("0 errors, 0 warnings\n")


def test_every_fault_is_found(copy: Path) -> None:
    corpus = copy / "corpus" / "part-0.jsonl"
    append(corpus, '{"id": "d001", "contents": "again"}\n')
    append(copy / "qrels.test.txt", "q059 0 gone 1\nq999 0 d001 1\n")
    append(copy / "train.pairs.tsv", "q000\tgone\nq998\td001\nq000\td000\n")
    append(
        copy / "topics.dev.tsv",
        "q900\t" + (copy / "topics.train.tsv").read_text().split("\t")[1].split("\n")[0].upper() + "\n",
    )
    groups = copy / "groups.jsonl"
    groups.write_text(
        '{"query_id": "q000", "query": "x", "positives": [{"id": "d000"}], "negatives": [{"id": "lost"}],'
        ' "scores": {"t": {"d000": 1, "other": 2}}}\n'
    )
    assert messages(copy, "error", groups) == [
        f"corpus/part-0.jsonl:61: duplicate document id 'd001', first at {corpus}:2; remove one",
        "qrels.test.txt:13: document 'gone' is not in the corpus",
        "qrels.test.txt:14: query 'q999' is not in topics.test.tsv",
        "train.pairs.tsv:37: document 'gone' is not in the corpus",
        "train.pairs.tsv:38: query 'q998' is not in topics.train.tsv",
        "groups.jsonl:1: document 'lost' is not in the corpus",
        "groups.jsonl:1: document 'other' is not in the corpus",
    ]
    assert messages(copy, "warning") == [
        "topics.dev.tsv:13: query 'q900' has no relevant document",
        "train.pairs.tsv:39: pair q000 d000 occurs again",
        "topics.dev.tsv:13: query 'q900' equals training query 'q000'",
    ]


def test_bad_documents_do_not_hide_each_other(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(copy / "corpus" / "part-0.jsonl", '{\n{"id": "a b", "contents": "x"}\n{"id": "e", "contents": " "}\n')
    append(copy / "corpus" / "part-1.jsonl", '{"id": "f", "contents": "x"}\n{"id": "g", "contents": "\udcff"}\n')
    found = messages(copy, "error")
    assert [message.split(": ")[0] for message in found] == [
        "corpus/part-0.jsonl:61", "corpus/part-0.jsonl:62", "corpus/part-0.jsonl:63", "corpus/part-1.jsonl:2",
    ]  # fmt: skip
    assert execute("check", copy, "--max-findings", "2") == 1
    out = capsys.readouterr().out
    assert "error: ... and 2 more of this kind (bad document)" in out and "4 errors, 0 warnings" in out


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("topics.dev.tsv", "q1 no tab\n", "topics.dev.tsv:13: "),
        ("qrels.dev.txt", "q036 0 d036 x\n", "qrels.dev.txt:13: "),
        ("train.pairs.tsv", "q036\n", "train.pairs.tsv:37: "),
    ],
)
def test_malformed_files(copy: Path, name: str, text: str, message: str) -> None:
    append(copy / name, text)
    (error,) = messages(copy, "error")
    assert error.startswith(message)


def test_json_report(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    append(copy / "qrels.test.txt", "q059 0 gone 1\n")
    assert execute("check", copy, "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["errors"] == 1 and report["counts"]["documents"] == 60
    assert report["findings"][0]["kind"] == "absent document in qrels"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("build", "pydcos", "DIR"), "unknown collection 'pydcos'; did you mean 'pydocs'?"),
        (("build", "no/such/folder", "DIR"), "no such folder"),
        (("build", "DIR", "DIR", "--packages", "x"), "--packages is for pydocs only"),
        (("build", "pydocs"), "DIR is required"),
        (("build", "pydocs", "DIR", "--max-documents", "0"), "must be at least 1"),
        (("chekc",), "unknown sub-command 'chekc'; did you mean 'check'?"),
    ],
)
def test_usage_errors(tmp_path: Path, argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        execute(*(str(tmp_path / "out") if item == "DIR" else item for item in argv))
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_build_beir_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "source", tmp_path / "beir set"
    (source / "qrels").mkdir(parents=True)
    (source / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "x"}\n')
    (source / "queries.jsonl").write_text('{"_id": "q1", "text": "ask"}\n')
    (source / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    assert execute("build", source, target) == 0
    out = capsys.readouterr().out
    assert f"{target}: 1 documents, 1 test queries" in out
    assert f"--input '{target}/corpus'" in out
    assert execute("check", target) == 0
    manifest = json.loads((target / "collection.json").read_text())
    assert manifest["kind"] == "collection" and manifest["config"]["name"] == str(source)
    with pytest.raises(SdrError, match="--overwrite"):
        execute("build", source, target)
    assert execute("build", source, target, "--overwrite") == 0


def test_errors_of_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pyserini_sdr.collection"]
    done = subprocess.run([*command, "build", str(tmp_path / "none"), "x"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    done = subprocess.run([*command, "check", str(tmp_path / "none")], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == f"error: {tmp_path / 'none'}: no such collection directory\n"


@pytest.mark.parametrize("argv", [("--help",), ("build", "--help"), ("check", "--help")])
def test_help_is_light(argv: tuple[str, ...]) -> None:
    code = (
        f"import sys, runpy\nsys.argv[1:] = {list(argv)!r}\n"
        "try: runpy.run_module('pyserini_sdr.collection', run_name='__main__')\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'faiss', 'pandas', 'numpy', 'scipy', 'jnius', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "examples:" in done.stdout or argv == ("--help",)
