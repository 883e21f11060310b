"""Corpora that are not what they should be, and who reads them."""

from __future__ import annotations

import gzip

import pytest

from .conftest import Case, Run, refuses
from .material import ENCODE, TRAIN, add, all_of, cut_gzip, remove, write

CORPUS_FILE = "collection/corpus/part-0.jsonl"
ENCODE_FILE = ENCODE.replace("--corpus collection", "--corpus c.jsonl")
GOOD = '{"id": "a", "contents": "river"}\n'
MINE = "mine --collection collection --runs train.trec --output out.jsonl"
TEACH = "teach --groups groups.jsonl --collection collection --teacher cross --output out.jsonl"
TEACH_TSV = "teach --groups teacher.tsv --collection collection --teacher cross --output out.jsonl"
KL = TRAIN.replace("groups.jsonl", "scored.jsonl") + " --loss kl --negatives 2"
BUILD = "collection build beir out"
PRETRAIN = "pretrain --corpus c.jsonl --encoder encoder --output out --max-steps 2 --precision fp32"


def corpus(*lines: str) -> object:
    return write("c.jsonl", GOOD + "".join(f"{line}\n" for line in lines))


CORPORA = [
    Case("absent", ENCODE.replace("--corpus collection", "--corpus none"), r"none: no such corpus"),
    Case(
        "no files",
        ENCODE.replace("--corpus collection", "--corpus empty"),
        r"empty: no corpus here.*;",
        write("empty/x.txt", ""),
    ),
    Case("empty", ENCODE_FILE, r"c\.jsonl: the corpus has no documents", write("c.jsonl", "\n\n")),
    Case("cut line", ENCODE_FILE, r"c\.jsonl:2: invalid JSON", corpus('{"id": "b", "cont')),
    Case("list", ENCODE_FILE, r"c\.jsonl:2: expected a JSON object", corpus("[]")),
    Case("no id", ENCODE_FILE, r"c\.jsonl:2: no document id.*--docid-field", corpus('{"contents": "x"}')),
    Case("blank in id", ENCODE_FILE, r"c\.jsonl:2: .*white space.*;", corpus('{"id": "b c", "contents": "x"}')),
    Case("empty id", ENCODE_FILE, r"c\.jsonl:2: .*empty id", corpus('{"id": "", "contents": "x"}')),
    Case("id is a fraction", ENCODE_FILE, r"c\.jsonl:2: .*not a string", corpus('{"id": 1.5, "contents": "x"}')),
    Case("id is a list", ENCODE_FILE, r"c\.jsonl:2: .*not a string", corpus('{"id": ["b"], "contents": "x"}')),
    Case(
        "id twice",
        ENCODE_FILE,
        r"c\.jsonl:3: duplicate document id 'a', first at c\.jsonl:1;",
        corpus('{"id": "b", "contents": "x"}', '{"id": "a", "contents": "x"}'),
    ),
    Case(
        "no text",
        ENCODE_FILE,
        r"c\.jsonl:2: no text: neither 'contents' nor 'text'.*;",
        corpus('{"id": "b", "body": "x"}'),
    ),
    Case(
        "empty text",
        ENCODE_FILE,
        r"c\.jsonl:2: document 'b' has an empty text;",
        corpus('{"id": "b", "contents": " \\n"}'),
    ),
    Case(
        "text is null", ENCODE_FILE, r"c\.jsonl:2: 'contents' must be a string", corpus('{"id": "b", "contents": null}')
    ),
    Case(
        "title is a number",
        ENCODE_FILE,
        r"c\.jsonl:2: 'title' must be a string",
        corpus('{"id": "b", "title": 3, "contents": "x"}'),
    ),
    Case(
        "half a surrogate",
        ENCODE_FILE,
        r"c\.jsonl:2: .*not valid Unicode;",
        corpus('{"id": "b", "contents": "x \\udc00"}'),
    ),
    Case(
        "half a surrogate in the id",
        ENCODE_FILE,
        r"c\.jsonl:2: .*not valid Unicode",
        corpus('{"id": "b\\udc00", "contents": "x"}'),
    ),
    Case(
        "not UTF-8",
        ENCODE_FILE,
        r"c\.jsonl:2: not UTF-8.*;",
        write("c.jsonl", GOOD.encode() + b'{"id": "b", "contents": "\xe9"}\n'),
    ),
    Case(
        "number of 5,000 digits",
        ENCODE_FILE,
        r"c\.jsonl:2: invalid JSON",
        corpus(f'{{"id": {"9" * 5000}, "contents": "x"}}'),
    ),
    Case("deep", ENCODE_FILE, r"c\.jsonl:2: invalid JSON", corpus("[" * 100_000)),
    Case("deep in an object", ENCODE_FILE, r"c\.jsonl:2: invalid JSON", corpus('{"id": ' + "[" * 100_000)),
    Case(
        "cut gzip",
        ENCODE.replace("--corpus collection", "--corpus c.jsonl.gz"),
        r"c\.jsonl\.gz:\d+: cannot be read",
        cut_gzip("c.jsonl.gz", CORPUS_FILE),
    ),
    Case(
        "damaged gzip",
        ENCODE.replace("--corpus collection", "--corpus c.jsonl.gz"),
        r"c\.jsonl\.gz:\d+: cannot be read",
        write("c.jsonl.gz", gzip.compress(GOOD.encode() * 50)[:30] + b"\0" * 40),
    ),
    Case(
        "fields that are not there",
        f"{ENCODE_FILE.replace('output', '--fields title text output', 1)}",
        r"c\.jsonl:1: 'contents' has 1 fields.*;",
        corpus(),
    ),
    Case(
        "fields without text",
        f"{ENCODE_FILE.replace('output', '--fields title output', 1)}",
        r"'text' is not among input --fields",
        corpus(),
        status=2,
    ),
    Case(
        "mine: cut gzip",
        MINE,
        r"part-0\.jsonl\.gz:?\d*: cannot be read",
        all_of(cut_gzip("collection/corpus/part-0.jsonl.gz", CORPUS_FILE), remove(CORPUS_FILE)),
    ),
    Case(
        "train: cut gzip",
        TRAIN,
        r"part-0\.jsonl\.gz:?\d*: cannot be read",
        all_of(cut_gzip("collection/corpus/part-0.jsonl.gz", CORPUS_FILE), remove(CORPUS_FILE)),
    ),
    Case(
        "train: id twice",
        TRAIN,
        r"part-0\.jsonl:31: duplicate document id 'd000'",
        add(CORPUS_FILE, '{"id": "d000", "contents": "x"}\n'),
    ),
    Case("pretrain: cut line", PRETRAIN, r"c\.jsonl:2: invalid JSON", corpus("{")),
    Case("pretrain: empty", PRETRAIN, r"c\.jsonl", write("c.jsonl", "")),
    Case(
        "pseudo-queries: cut line",
        "collection pseudo-queries c.jsonl --output out",
        r"c\.jsonl:2: invalid JSON",
        corpus("{"),
    ),
    Case(
        "passages: bad document",
        "collection passages collection --output out",
        r"part-0\.jsonl:31: no document id",
        add(CORPUS_FILE, "{}\n"),
    ),
    Case("build: bad document", BUILD, r"beir/corpus\.jsonl:31: no document id", add("beir/corpus.jsonl", "{}\n")),
    Case("build: no queries", BUILD, r"beir/queries\.jsonl: no such file;", remove("beir/queries.jsonl")),
    Case("build: no qrels", BUILD, r"beir/qrels: no qrels", remove("beir/qrels/test.tsv")),
    Case(
        "build: query twice",
        BUILD,
        r"queries\.jsonl:7: duplicate query id 'q024';",
        add("beir/queries.jsonl", '{"_id": "q024", "text": "x"}\n'),
    ),
    Case(
        "build: query without text",
        BUILD,
        r"queries\.jsonl:7: query 'x' has no text;",
        add("beir/queries.jsonl", '{"_id": "x"}\n'),
    ),
    Case(
        "build: judged document absent",
        BUILD,
        r"test\.tsv: document 'no', judged.*--drop-invalid",
        add("beir/qrels/test.tsv", "q024\tno\t1\n"),
    ),
    Case(
        "build: judged query absent",
        BUILD,
        r"test\.tsv: query 'no' is judged but has no text;",
        add("beir/qrels/test.tsv", "no\td001\t1\n"),
    ),
    Case(
        "build: MS MARCO line without a tab",
        "collection build msmarco:mm out",
        r"collection\.tsv:1: expected id, tab, text",
        all_of(
            write("mm/collection.tsv", "1 a\n"),
            write("mm/queries.train.tsv", "1\ta\n"),
            write("mm/qrels.train.tsv", "1 0 1 1\n"),
        ),
    ),
]


@pytest.mark.parametrize("case", CORPORA, ids=lambda case: case.name)
def test_corpora(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


def test_the_undamaged_material_is_taken(place, run: Run) -> None:
    """The cases above differ from these in their damage alone."""
    lines = [f"{ENCODE} --precision fp32", BUILD.replace("out", "out5")]
    for line in lines:
        outcome = run(line)
        assert outcome.status == 0, outcome.stderr
