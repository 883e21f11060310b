from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.core.command import main
from pyserini_sdr.run.command import COMMAND
from pyserini_sdr.trec.run import iter_run, read_run


def run(*argv) -> int:
    with pytest.raises(SystemExit) as exit:
        main(COMMAND, "pyserini_sdr.run", [str(a) for a in argv])
    return exit.value.code


CLEAN = "1 Q0 b 1 2.5 t\n1 Q0 a 2 2.5 t\n1 Q0 c 3 1 t\n2 Q0 a 1 7 t\n"


def test_clean_run(tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text(CLEAN)
    assert run("check", "--run", path, "--output", tmp_path / "fixed.txt", "--depth", 3) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: 2 topics, 4 lines, at most 3 documents per topic, 1 ties, trec format, tag t\n")
    assert out.splitlines()[1:] == [
        f"{path}:2: note: ties in topic '1': 1, the first at 2.5",
        f"{path}:4: note: topic '2' has 1 documents, fewer than 3",
    ]
    assert (tmp_path / "fixed.txt").read_text() == CLEAN


@pytest.mark.parametrize(
    ("text", "finding", "fixed"),
    [
        ("1 Q0 a 1 1 t\n1 Q0 b 2 2 t\n", "2: error: rank 2 of topic '1' has the score 2, above rank 1 with 1", "ba"),
        ("1 Q0 a 1 3 t\n1 Q0 b 2 2 t\n1 Q0 a 3 9 t\n", "3: error: document 'a' twice in topic '1' (first on l", "ab"),
        ("1 Q0 a 1 3 t\n1 Q0 b 3 2 t\n", "2: warning: rank 3 of topic '1' follows 1", "ab"),
        ("1 Q0 a 0 3 t\n1 Q0 b 1 2 t\n", "1: warning: ranks of topic '1' begin with 0, not 1", "ab"),
        ("1 Q0 a 1 3 t\n1 Q0 b 1 2 t\n", "2: warning: rank 1 twice in topic '1' (first on line 1)", "ab"),
        ("1 Q0 b 2 2 t\n1 Q0 a 1 3 t\n", "2: warning: rank 1 of topic '1' stands below a higher one", "ab"),
        ("1 Q0 a 1 3 t\n1 Q0 b 2 3 t\n", "2: warning: ties of topic '1' are not in trec_eval's order", "ba"),
        (
            "1 Q0 b 1 1.00000002 t\n1 Q0 a 2 1.00000001 t\n",
            "2: warning: scores 1.00000002 and 1.00000001",
            "ba",
        ),
        ("1 Q0 b 1 2 t\n1 0 a 2 1 t\n", "2: warning: second column is '0'", "ba"),
        ("1\tb\t1\n1\ta\t3\n", "2: warning: rank 3 of topic '1' follows 1", "ba"),
    ],
)
def test_faults_that_are_repaired(tmp_path, capsys, text, finding, fixed):
    path = tmp_path / "run.txt"
    path.write_text(text)
    assert run("check", "--run", path) == (1 if "error" in finding else 0)
    assert f"{path}:{finding}" in capsys.readouterr().out
    assert run("check", "--run", path, "--output", tmp_path / "fixed.txt") == 0
    assert [d for d, _ in next(iter_run(tmp_path / "fixed.txt"))[1]] == list(fixed)
    capsys.readouterr()
    assert run("check", "--run", tmp_path / "fixed.txt") == 0
    assert "error" not in capsys.readouterr().out


def test_scattered_topics_are_gathered_and_the_same_faults_counted(tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text("1 Q0 a 1 3 t\n2 Q0 a 1 3 u\n1 Q0 b 2 2 t\n3 Q0 a 1 1 t\n2 Q0 b 2 2 t\n")
    assert run("check", "--run", path) == 1
    out = capsys.readouterr().out
    assert f"{path}:3: error: topic '1' continues here after other topics\n" in out
    assert f"{path}:5: error: topic '2' continues here after other topics\n" in out
    assert run("check", "--run", path, "--show", 1) == 1
    out = capsys.readouterr().out
    assert f"{path}:3: error: topic '1' continues here after other topics (and 1 more)\n" in out
    assert "2 different tags: ['t', 'u']" in out
    assert run("check", "--run", path, "--output", tmp_path / "f.txt", "--tag", "mine") == 0
    assert read_run(tmp_path / "f.txt") == {"1": {"a": 3, "b": 2}, "2": {"a": 3, "b": 2}, "3": {"a": 1}}
    assert (tmp_path / "f.txt").read_text().startswith("1 Q0 a 1 3 mine\n1 Q0 b")


def test_a_faulty_line_does_not_part_a_topic(tmp_path, capsys):
    """What stands in place of its topic is no topic: the lines around it are together, and nothing waits for others."""
    path = tmp_path / "run.txt"
    path.write_text("1 Q0 a 1 3 t\nnone at all\n1 Q0 b 2 2 t\n2 Q0 a 1 nan t\n1 Q0 c 3 1 t\n3 Q0 a 1 1 t\n")
    assert run("check", "--run", path) == 1
    out = capsys.readouterr().out
    assert f"{path}:2: error: 3 columns instead of 6" in out and f"{path}:4: error: score 'nan'" in out
    assert "continues here" not in out and "2 topics, 4 lines, at most 3 documents" in out


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("1 Q0 z 2", "2: error: 4 columns instead of 6: '1 Q0 z 2'"),
        ("1 Q0 z 2 nan t", "2: error: score 'nan' is no finite float32 number"),
        ("1 Q0 z 2 1e40 t", "2: error: score '1e40' is no finite float32 number"),
        ("1 Q0 z two 1 t", "2: error: rank 'two' is no integer"),
    ],
)
def test_faults_that_no_repair_mends_write_nothing(tmp_path, capsys, line, finding):
    path = tmp_path / "run.txt"
    path.write_text(f"1 Q0 a 1 3 t\n{line}\n")
    assert run("check", "--run", path, "--output", tmp_path / "fixed.txt") == 1
    captured = capsys.readouterr()
    assert f"{path}:{finding}" in captured.out
    assert "not written, 1 errors cannot be repaired" in captured.err
    assert [p.name for p in tmp_path.iterdir()] == ["run.txt"]


def test_a_file_of_another_kind_is_told_line_by_line(tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text("a b\n" * 5)
    assert run("check", "--run", path, "--show", 2) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1] == f"{path}:1: error: 2 columns instead of 6 (TREC) or 3 (MS MARCO): 'a b'"
    assert out[2] == f"{path}:2: error: 2 columns instead of 6 (TREC) or 3 (MS MARCO): 'a b' (and 3 more)"


def test_distances_are_recognised(tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text("".join(f"{q} Q0 d{i} {i} {i / 10} t\n" for q in range(3) for i in range(1, 6)))
    assert run("check", "--run", path, "--output", tmp_path / "fixed.txt") == 1
    out = capsys.readouterr().out
    assert "error: scores rise with the rank, so trec_eval reads the run upside down" in out
    assert "above rank" not in out


def test_a_run_of_which_no_document_is_judged_is_warned_of(tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text(CLEAN)
    (tmp_path / "q.txt").write_text("1 0 other 1\n2 0 other 1\n")
    assert run("check", "--run", path, "--qrels", tmp_path / "q.txt") == 0
    out = capsys.readouterr().out
    assert "warning: 0.0% of the ten first documents of judged topics are judged; are these the qrels of" in out


def test_topics_qrels_and_depth(tmp_path, capsys):
    path = tmp_path / "run.txt"
    path.write_text(CLEAN)
    (tmp_path / "t.tsv").write_text("1\tone\n3\tthree\n")
    (tmp_path / "q.txt").write_text("1 0 a 1\n9 0 a 1\n")
    argv = ["check", "--run", path, "--topics", tmp_path / "t.tsv", "--qrels", tmp_path / "q.txt", "--depth", 2]
    assert run(*argv) == 1
    out = capsys.readouterr().out
    assert f"{path}:4: error: topic '2' is not in the topics" in out
    assert f"{path}:1: error: topic '1' has 3 documents, more than 2" in out
    assert "warning: no results for 1 of 2 topics, as '3'" in out
    assert "warning: no results for 1 of 2 judged topics, as '9' (they count 0)" in out
    assert "note: 1 of 2 topics are not in the qrels" in out
    assert "note: 33.3% of the ten first documents of judged topics are judged" in out
    assert run(*argv, "--output", tmp_path / "f.txt") == 0
    assert (tmp_path / "f.txt").read_text() == "1 Q0 b 1 2.5 t\n1 Q0 a 2 2.5 t\n"


def test_foreign_qrels_are_an_error(tmp_path, capsys):
    (tmp_path / "run.txt").write_text(CLEAN)
    (tmp_path / "q.txt").write_text("9 0 a 1\n")
    assert run("check", "--run", tmp_path / "run.txt", "--qrels", tmp_path / "q.txt") == 1
    assert "none of its topics is in the qrels" in capsys.readouterr().out


def test_empty_and_missing_files(tmp_path, capsys):
    (tmp_path / "run.txt").write_text("\n")
    assert run("check", "--run", tmp_path / "run.txt") == 1
    assert run("check", "--run", tmp_path / "none.txt") == 1
    error = capsys.readouterr().err
    assert "run.txt: holds no results" in error
    assert "none.txt: no such run file" in error
    assert run("check") == 2
    assert run("chek") == 2


@pytest.mark.parametrize(
    ("tag", "flags", "finding"),
    [
        ("a" * 20, (), None),
        ("a" * 21, (), "21 characters, more than 20 (--tag gives another)"),
        ("a" * 21, ("--tag-length", 21), None),
        ("bm25-k1=0.9", (), "letters, digits, '.', '_' and '-' only"),
        ("größe", (), "letters, digits"),
    ],
)
def test_tags(tmp_path, capsys, tag, flags, finding):
    path = tmp_path / "run.txt"
    path.write_text(f"1 Q0 a 1 3 {tag}\n1 Q0 b 2 2 {tag}\n")
    assert run("check", "--run", path, *flags) == 0
    out = capsys.readouterr().out
    assert ("warning" in out) is (finding is not None) and (finding is None or finding in out)
    assert run("check", "--run", path, *flags, "--strict") == (finding is not None)
    assert run("check", "--run", path, *flags, "--strict", "--output", tmp_path / "o.txt") == (finding is not None)
    assert (tmp_path / "o.txt").exists() is (finding is None)
    repair = ("--output", tmp_path / "fixed.txt", "--tag", "group-1.b_2")
    assert run("check", "--run", path, *flags, "--strict", *repair) == 0
    assert (tmp_path / "fixed.txt").read_text() == "1 Q0 a 1 3 group-1.b_2\n1 Q0 b 2 2 group-1.b_2\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--tag", "t"), "--tag t: needs --output"),
        (("--tag", "a=b", "--output", "o"), "--tag a=b: a tag for TREC has letters"),
        (("--tag", "a" * 21, "--output", "o"), "21 characters, more than 20"),
        (("--corpus", "c", "--collection", "d"), "one of --collection and --corpus"),
        (("--show", 0), "--show 0: must be at least 1"),
    ],
)
def test_misuse(tmp_path, capsys, flags, message):
    (tmp_path / "run.txt").write_text(CLEAN)
    assert run("check", "--run", tmp_path / "run.txt", *flags) == 2
    assert message in capsys.readouterr().err


def test_strictly_every_topic_must_be_answered(tmp_path, capsys):
    (tmp_path / "run.txt").write_text(CLEAN)
    (tmp_path / "t.tsv").write_text("1\tone\n2\ttwo\n3\tthree\n4\tfour\n")
    argv = ["check", "--run", tmp_path / "run.txt", "--topics", tmp_path / "t.tsv"]
    assert run(*argv) == 0
    assert run(*argv, "--strict", "--output", tmp_path / "f.txt") == 1
    assert "error: no results for 2 of 4 topics, as '3', '4'" in capsys.readouterr().out
    assert not (tmp_path / "f.txt").exists()


def test_unknown_documents(tmp_path, capsys):
    """Of a corpus, a collection and indexes; a repair leaves them out."""
    for folder, ids in (("corpus", ["a", "7"]), ("shards/s0", ["a"]), ("shards/s1", ["7"])):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "docs.jsonl").write_text("".join(f'{{"id": "{d}", "contents": "x"}}\n' for d in ids))
        (tmp_path / folder / "docid").write_text("".join(f"{d}\n" for d in ids))
        (tmp_path / folder / "index").write_bytes(b"never read")
    path = tmp_path / "run.txt"
    path.write_text("1 Q0 a 1 3 t\n1 Q0 07 2 2 t\n1 Q0 7 3 1 t\n2 Q0 b 1 1 t\n")
    shards = [tmp_path / "shards" / name for name in ("s0", "s1")]
    for flags in (["--corpus", tmp_path / "corpus"], ["--collection", tmp_path], ["--index", tmp_path / "shards"]):
        assert run("check", "--run", path, *flags) == 1
        out = capsys.readouterr().out
        assert f"{path}:2: error: there is no document '07' (topic '1')\n" in out
        assert f"{path}:4: error: there is no document 'b' (topic '2')\n" in out
        assert out.count("there is no document") == 2
        assert run("check", "--run", path, *flags, "--output", tmp_path / "f.txt") == 0
        assert (tmp_path / "f.txt").read_text() == "1 Q0 a 1 3 t\n1 Q0 7 2 1 t\n"
        capsys.readouterr()
    assert run("check", "--run", path, "--index", *shards) == 1
    assert run("check", "--run", path, "--index", tmp_path / "corpus" / "none") == 1
    (tmp_path / "bm25").mkdir()
    (tmp_path / "bm25" / "segments_1").write_bytes(b"")
    assert run("check", "--run", path, "--index", tmp_path / "bm25") == 1
    assert "is a Lucene index, which has no list of its ids; give what it was made of" in capsys.readouterr().err
    (tmp_path / "corpus" / "docs.jsonl").write_text('{"id": "z", "contents": "x"}\n')
    argv = ["--corpus", tmp_path / "corpus", "--output", tmp_path / "empty.txt"]
    capsys.readouterr()
    assert run("check", "--run", path, *argv) == 1
    assert "nothing is left of it after the repair" in capsys.readouterr().err
    assert not (tmp_path / "empty.txt").exists()


line = st.tuples(st.sampled_from("12"), st.sampled_from("abc"), st.integers(1, 4), st.sampled_from(["1", "2", "0.5"]))


@settings(max_examples=40, deadline=None)
@given(st.lists(line, min_size=1, max_size=8))
def test_a_repaired_run_is_one_that_the_strict_reader_takes(tmp_path_factory, lines):
    folder = tmp_path_factory.mktemp("c")
    (folder / "run.txt").write_text("".join(f"{q} Q0 {d} {r} {s} t\n" for q, d, r, s in lines))
    assert run("check", "--run", folder / "run.txt", "--output", folder / "f.txt") == 0
    expected: dict[str, dict[str, float]] = {}
    for qid, docid, _, score in lines:
        best = expected.setdefault(qid, {})
        best[docid] = max(float(score), best.get(docid, 0.0))
    assert read_run(folder / "f.txt") == expected
