"""Topics, judgements and runs that are not what they should be, for every command that reads them."""

from __future__ import annotations

import os

import pytest

from .conftest import Case, Run, refuses
from .material import DENSE, add, all_of, cut_gzip, remove, replace, write

SEARCH = "search dense --index index --output out.trec --hits 5 --topics"
EVALUATE = "evaluate --qrels qrels.txt --runs run.trec --output out"
FUSE = "run fuse --runs run.trec other.trec --output out.trec"

TOPICS = [
    Case("absent", f"{SEARCH} none.tsv", r"none\.tsv.*no such"),
    Case("directory", f"{SEARCH} collection", r"collection.*directory"),
    Case("empty", f"{SEARCH} topics.tsv", r"topics\.tsv: holds no topics", write("topics.tsv", "")),
    Case("blank lines", f"{SEARCH} topics.tsv", r"topics\.tsv: holds no topics", write("topics.tsv", "\n \n\t\n")),
    Case("no tab", f"{SEARCH} topics.tsv", r"topics\.tsv:2: no tab.*qid<TAB>", write("topics.tsv", "1\ta\n2 b\n")),
    Case(
        "empty query",
        f"{SEARCH} topics.tsv",
        r"topics\.tsv:2: query '2' is empty.*;",
        write("topics.tsv", "1\ta\n2\t \n"),
    ),
    Case("empty id", f"{SEARCH} topics.tsv", r"topics\.tsv:1: empty id", write("topics.tsv", "\ta\n")),
    Case(
        "blank in id",
        f"{SEARCH} topics.tsv",
        r"topics\.tsv:1: id '1 2' contains white space",
        write("topics.tsv", "1 2\ta\n"),
    ),
    Case(
        "id twice",
        f"{SEARCH} topics.tsv",
        r"topics\.tsv:3: duplicate query id '1' \(first on line 1\);",
        write("topics.tsv", "1\ta\n2\tb\n1\tc\n"),
    ),
    Case(
        "not UTF-8",
        f"{SEARCH} topics.tsv",
        r"topics\.tsv:2: not UTF-8.*convert",
        write("topics.tsv", b"1\ta\n2\t\xe9\n"),
    ),
    Case("UTF-16", f"{SEARCH} topics.tsv", r"topics\.tsv:1: not UTF-8", write("topics.tsv", "1\ta\n".encode("utf-16"))),
    Case(
        "unknown ending",
        f"{SEARCH} topics.csv",
        r"topics\.csv: unknown topics format '\.csv'.*\.tsv",
        write("topics.csv", "1,a\n"),
    ),
    Case("no gzip", f"{SEARCH} topics.tsv.gz", r"topics\.tsv\.gz:1: cannot be read", write("topics.tsv.gz", "1\ta\n")),
    Case(
        "cut gzip",
        f"{SEARCH} topics.tsv.gz",
        r"topics\.tsv\.gz:\d+: cannot be read",
        cut_gzip("topics.tsv.gz", "topics.tsv"),
    ),
    Case("JSON: cut", f"{SEARCH} t.json", r"t\.json:1: invalid JSON", write("t.json", '{"1": {"title": "a"')),
    Case("JSON: list", f"{SEARCH} t.json", r"t\.json: expected an object of topics", write("t.json", '["a"]')),
    Case(
        "JSON: no title",
        f"{SEARCH} t.json",
        r"t\.json: topic '1' has no text.*expected",
        write("t.json", '{"1": {"text": 3}}'),
    ),
    Case(
        "JSON: key twice",
        f"{SEARCH} t.json",
        r"t\.json: duplicate key '1';",
        write("t.json", '{"1": {"title": "a"}, "1": {"title": "b"}}'),
    ),
    Case(
        "JSON: number of 5,000 digits",
        f"{SEARCH} t.json",
        r"t\.json:?\d*: invalid JSON",
        write("t.json", '{"1": ' + "9" * 5000 + "}"),
    ),
    Case("JSON: deep", f"{SEARCH} t.json", r"t\.json:?\d*: invalid JSON", write("t.json", "[" * 100_000)),
    Case(
        "JSONL: no id",
        f"{SEARCH} t.jsonl",
        r"t\.jsonl:2: topic without id.*use",
        write("t.jsonl", '{"id": "1", "title": "a"}\n{"title": "a"}\n'),
    ),
    Case(
        "JSONL: no text", f"{SEARCH} t.jsonl", r"t\.jsonl:1: topic without text.*use", write("t.jsonl", '{"id": "1"}\n')
    ),
    Case(
        "JSONL: float id",
        f"{SEARCH} t.jsonl",
        r"t\.jsonl:1: id and title must be strings",
        write("t.jsonl", '{"id": 1.5, "title": "a"}\n'),
    ),
    Case(
        "JSONL: truth as id",
        f"{SEARCH} t.jsonl",
        r"t\.jsonl:1: id and title must be strings",
        write("t.jsonl", '{"id": true, "title": "a"}\n'),
    ),
    Case("JSONL: array", f"{SEARCH} t.jsonl", r"t\.jsonl:1: expected a JSON object", write("t.jsonl", "[1]\n")),
    Case(
        "JSONL: half a surrogate",
        f"{SEARCH} t.jsonl",
        r"t\.jsonl:1: .*not valid Unicode",
        write("t.jsonl", '{"id": "1", "title": "a \\ud800 b"}\n'),
    ),
    Case(
        "TREC: open",
        f"{SEARCH} t.trec",
        r"t\.trec:1: <top> without </top>",
        write("t.trec", "<top>\n<num> 1\n<title> a\n"),
    ),
    Case(
        "TREC: no number",
        f"{SEARCH} t.trec",
        r"t\.trec:1: topic without <num>",
        write("t.trec", "<top>\n<title> a\n</top>\n"),
    ),
    Case("TREC: nested", f"{SEARCH} t.trec", r"t\.trec:2: <top> before", write("t.trec", "<top>\n<top>\n")),
]

QRELS = [
    Case("absent", EVALUATE, r"qrels\.txt: no such", remove("qrels.txt")),
    Case("empty", EVALUATE, r"qrels\.txt: holds no judgements", write("qrels.txt", "\n")),
    Case(
        "three columns",
        EVALUATE,
        r"qrels\.txt:2: 3 columns.*expected qid",
        write("qrels.txt", "q024 0 d024 1\nq025 0 1\n"),
    ),
    Case("grade is a word", EVALUATE, r"qrels\.txt:1: grade 'good';", write("qrels.txt", "q024 0 d024 good\n")),
    Case("grade is a fraction", EVALUATE, r"qrels\.txt:1: grade '0\.5';", write("qrels.txt", "q024 0 d024 0.5\n")),
    Case(
        "grade of 5,000 digits",
        EVALUATE,
        r"qrels\.txt:1: grade '9+…?'?;",
        write("qrels.txt", f"q024 0 d024 {'9' * 5000}\n"),
    ),
    Case("grade in other digits", EVALUATE, r"qrels\.txt:1: grade", write("qrels.txt", "q024 0 d024 ١\n")),
    Case(
        "judged twice",
        EVALUATE,
        r"qrels\.txt:2: document 'd024' is judged twice.*keep one",
        write("qrels.txt", "q024 0 d024 1\nq024 0 d024 0\n"),
    ),
    Case("not UTF-8", EVALUATE, r"qrels\.txt:1: not UTF-8", write("qrels.txt", b"q024 0 d\xff 1\n")),
    Case(
        "BEIR with four columns",
        EVALUATE,
        r"qrels\.txt:2: 4 columns.*query-id",
        write("qrels.txt", "query-id\tcorpus-id\tscore\nq024\t0\td024\t1\n"),
    ),
    Case(
        "no such document in the corpus",
        "train --collection collection --encoder checkpoint --output out --groups groups.jsonl --precision fp32",
        r"qrels\.dev\.txt: document 'nowhere' is not in the corpus",
        add("collection/qrels.dev.txt", "q018 0 nowhere 1\n"),
    ),
]

RUNS = [
    Case("absent", EVALUATE, r"run\.trec: no such", remove("run.trec")),
    Case("empty", EVALUATE, r"run\.trec: holds no results", write("run.trec", "")),
    Case("five columns", EVALUATE, r"run\.trec:1: 5 columns.*expected", write("run.trec", "q024 Q0 d024 1 0.5\n")),
    Case(
        "column lost on the way",
        EVALUATE,
        r"run\.trec:2: 5 columns",
        write("run.trec", "q024 Q0 d1 1 2.0 x\nq024 Q0 d2 2 x\n"),
    ),
    Case("score is a word", EVALUATE, r"run\.trec:1: score 'high';", write("run.trec", "q024 Q0 d024 1 high x\n")),
    Case("score is NaN", EVALUATE, r"run\.trec:1: score 'nan';", write("run.trec", "q024 Q0 d024 1 nan x\n")),
    Case("score is infinite", EVALUATE, r"run\.trec:1: score '-inf';", write("run.trec", "q024 Q0 d024 1 -inf x\n")),
    Case("score beyond float32", EVALUATE, r"run\.trec:1: score '1e39';", write("run.trec", "q024 Q0 d024 1 1e39 x\n")),
    Case(
        "document twice",
        EVALUATE,
        r"run\.trec:2: document 'd1' twice in topic 'q024';",
        write("run.trec", "q024 Q0 d1 1 2 x\nq024 Q0 d1 2 1 x\n"),
    ),
    Case(
        "topic in two places",
        EVALUATE,
        r"run\.trec:3: topic 'a' continues here.*run check",
        write("run.trec", "a Q0 d1 1 2 x\nb Q0 d1 1 2 x\na Q0 d2 2 1 x\n"),
    ),
    Case("MS MARCO: rank 0", EVALUATE, r"run\.trec:1: rank '0';", write("run.trec", "q024\td024\t0\n")),
    Case(
        "MS MARCO: rank of 5,000 digits",
        EVALUATE,
        r"run\.trec:1: rank",
        write("run.trec", f"q024\td024\t{'9' * 5000}\n"),
    ),
    Case("not UTF-8", EVALUATE, r"run\.trec:1: not UTF-8", write("run.trec", b"q024 Q0 \xff 1 2 x\n")),
    Case(
        "cut gzip",
        "evaluate --qrels qrels.txt --runs r.gz --output out",
        r"r\.gz:\d+: cannot be read",
        cut_gzip("r.gz", "run.trec"),
    ),
    Case("fuse: broken second", FUSE, r"other\.trec:\d+: \d columns", add("other.trec", "q024 Q0\n")),
    Case("fuse: one run", "run fuse --runs run.trec --output out.trec", r"two", status=2),
    Case("fuse: weights do not fit", f"{FUSE} --method linear --weights 1 2 3", r"weights", status=2),
    Case(
        "rerank: broken run",
        "search rerank --run run.trec --topics topics.tsv --corpus collection --cross-encoder cross --output out.trec",
        r"run\.trec:1: score",
        write("run.trec", "q024 Q0 d024 1 x x\n"),
    ),
    Case(
        "rerank: document not in the corpus",
        "search rerank --run run.trec --topics topics.tsv --corpus collection --cross-encoder cross --output out.trec",
        r"'nowhere'",
        write("run.trec", "q024 Q0 nowhere 1 1 x\n"),
    ),
    Case(
        "mine: broken run",
        "mine --collection collection --runs run.trec --output out.jsonl",
        r"run\.trec:1: 2 columns",
        write("run.trec", "q0 d1\n"),
    ),
    Case(
        "teach: broken run",
        "teach --groups groups.jsonl --run run.trec --missing lowest --output out.jsonl",
        r"run\.trec:1: score",
        write("run.trec", "q0 Q0 d1 1 nan x\n"),
    ),
    Case("evaluate: no such metric", f"{EVALUATE} --metrics nDCG@ten", r"nDCG@ten", status=2),
    Case(
        "evaluate: a name too few",
        "evaluate --qrels qrels.txt --runs run.trec other.trec --names a",
        r"--names",
        status=2,
    ),
]


@pytest.mark.parametrize("case", TOPICS, ids=lambda case: case.name)
def test_topics(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", QRELS, ids=lambda case: case.name)
def test_qrels(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", RUNS, ids=lambda case: case.name)
def test_runs(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


def test_output_that_cannot_be_written(place, run: Run) -> None:
    if os.geteuid() == 0:
        line, says = DENSE.replace("out.trec", "/proc/nowhere/out.trec"), r"/proc/nowhere/out\.trec: cannot be written"
    else:
        (place / "locked").mkdir(mode=0o500)
        line, says = DENSE.replace("out.trec", "locked/out.trec"), r"locked/out\.trec: cannot be written"
    refuses(Case("unwritable", line, says), place, run)


def test_topics_of_another_ending_are_read_where_the_text_is_the_same(place, run: Run) -> None:
    """The cases above differ from this in their damage alone."""
    all_of(replace("topics.tsv", "what is", "what was"))()
    assert run(f"{SEARCH} topics.tsv").status == 0
    assert run(EVALUATE).status == 0
    assert run(FUSE.replace("out.trec", "out2.trec")).status == 0
