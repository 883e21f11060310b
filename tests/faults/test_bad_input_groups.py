"""Pairs, training groups and teacher scores that are not what they should be, and who reads them."""

from __future__ import annotations

import pytest

from .conftest import Case, Run, refuses
from .material import TRAIN, add, all_of, cut, edit_line, remove, replace, write

MINE = "mine --collection collection --runs train.trec --output out.jsonl"
TEACH = "teach --groups groups.jsonl --collection collection --teacher cross --output out.jsonl"
TEACH_TSV = "teach --groups teacher.tsv --collection collection --teacher cross --output out.jsonl"
KL = TRAIN.replace("groups.jsonl", "scored.jsonl") + " --loss kl --negatives 2"

PAIRS = "collection/train.pairs.tsv"
GROUPS = [
    Case(
        "pairs: one column", MINE, r"train\.pairs\.tsv:19: expected query id, tab, document id.*;", add(PAIRS, "q001\n")
    ),
    Case("pairs: blanks", MINE, r"train\.pairs\.tsv:19: expected", add(PAIRS, "q001 d001\n")),
    Case("pairs: unknown query", MINE, r"'nobody'", add(PAIRS, "nobody\td001\n")),
    Case(
        "pairs: none",
        MINE,
        r"collection: no training pairs.*;",
        all_of(remove(PAIRS), remove("collection/qrels.train.txt")),
    ),
    Case("absent", TRAIN, r"groups\.jsonl: no such file", remove("groups.jsonl")),
    Case("empty", TRAIN, r"groups\.jsonl: no groups in the file", write("groups.jsonl", "")),
    Case("cut", TRAIN, r"groups\.jsonl:\d+: invalid JSON", cut("groups.jsonl", 0.52)),
    Case(
        "other keys",
        TRAIN,
        r"groups\.jsonl:1: not a training group.*expected",
        write("groups.jsonl", '{"qid": "1", "pos": []}\n'),
    ),
    Case(
        "no positives",
        TRAIN,
        r"groups\.jsonl:2: query 'q001' has no positives;",
        edit_line("groups.jsonl", 2, lambda g: g.update(positives=[])),
    ),
    Case(
        "positives no list",
        TRAIN,
        r"groups\.jsonl:2: 'positives' must be a list",
        edit_line("groups.jsonl", 2, lambda g: g.update(positives="d1")),
    ),
    Case(
        "document is a string",
        TRAIN,
        r"groups\.jsonl:2: 'negatives': expected",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=["d1"])),
    ),
    Case(
        "document without id and text",
        TRAIN,
        r"groups\.jsonl:2: 'negatives': expected",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=[{}])),
    ),
    Case(
        "text is empty",
        TRAIN,
        r"groups\.jsonl:2: .*empty text;",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=[{"text": " "}])),
    ),
    Case(
        "query is empty",
        TRAIN,
        r"groups\.jsonl:2: query 'q001' is empty;",
        edit_line("groups.jsonl", 2, lambda g: g.update(query="")),
    ),
    Case(
        "query is null",
        TRAIN,
        r"groups\.jsonl:2: 'query' must be a string",
        edit_line("groups.jsonl", 2, lambda g: g.update(query=None)),
    ),
    Case(
        "query with half a surrogate",
        TRAIN,
        r"groups\.jsonl:2: .*not valid Unicode",
        edit_line("groups.jsonl", 2, lambda g: g.update(query="a \ud800")),
    ),
    Case(
        "text with half a surrogate",
        TRAIN,
        r"groups\.jsonl:2: .*not valid Unicode",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=[{"text": "a \ud800"}])),
    ),
    Case(
        "query twice",
        TRAIN,
        r"groups\.jsonl:2: query 'q000' has a group at line 1 already;",
        edit_line("groups.jsonl", 2, lambda g: g.update(query_id="q000")),
    ),
    Case(
        "positive and negative",
        TRAIN,
        r"groups\.jsonl:2: .*'d001' is positive and negative at once;",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=[{"id": "d001"}])),
    ),
    Case(
        "absent document",
        TRAIN,
        r"groups\.jsonl: 1 documents are not in the corpus \(first: 'no'\).*collection\?",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=[{"id": "no"}])),
    ),
    Case(
        "absent document, then mended",
        TRAIN.replace("--groups", "--max-steps 2 --groups"),
        r"first: 'no'",
        edit_line("groups.jsonl", 1, lambda g: g.update(negatives=[{"id": "no"}])),
    ),
    Case(
        "too few",
        TRAIN,
        r"1 training queries, 2 are needed",
        write(
            "groups.jsonl",
            '{"query_id": "q000", "query": "a", "positives": [{"id": "d000"}], "negatives": [{"id": "d001"}]}\n',
        ),
        status=2,
    ),
    Case(
        "no negatives for the loss",
        f"{TRAIN} --loss distributed-margin",
        r"--loss distributed-margin: needs negatives; give --groups",
        write(
            "groups.jsonl",
            "".join(f'{{"query_id": "q00{n}", "query": "a", "positives": [{{"id": "d00{n}"}}]}}\n' for n in range(4)),
        ),
        status=2,
    ),
    Case(
        "Tevatron: passage without text",
        TRAIN,
        r"groups\.jsonl:1: 'positive_passages': expected",
        write("groups.jsonl", '{"query_id": "1", "query": "a", "positive_passages": [{"docid": "1"}]}\n'),
    ),
    Case(
        "collection of no split",
        TRAIN,
        r"unknown split 'dev'",
        all_of(remove("collection/topics.dev.tsv"), remove("collection/qrels.dev.txt")),
        status=2,
    ),
    Case(
        "dev without relevant ones",
        TRAIN,
        r"qrels\.dev\.txt: no topic of the split",
        write("collection/qrels.dev.txt", "q018 0 d001 0\n"),
    ),
    Case(
        "mine from groups: cut",
        "mine --collection collection --groups groups.jsonl --output out.jsonl",
        r"groups\.jsonl:\d+: invalid JSON",
        cut("groups.jsonl", 0.52),
    ),
    Case("mine: no source", "mine --collection collection --output out.jsonl", r"--runs", status=2),
    Case(
        "document queries: no list",
        f"{TRAIN} --document-queries q.jsonl",
        r"q\.jsonl:1: 'queries' of 'd000' must be a list.*;",
        write("q.jsonl", '{"id": "d000", "queries": "x"}\n'),
    ),
    Case(
        "document queries: of others",
        f"{TRAIN} --document-queries q.jsonl",
        r"q\.jsonl: has no query of any document.*;",
        write("q.jsonl", '{"id": "other", "queries": ["x"]}\n'),
    ),
]

SCORES = [
    Case(
        "NaN",
        KL,
        r"scored\.jsonl:1: 'scores' of 'bm25': .*expected a finite number",
        replace("scored.jsonl", '"bm25": {', '"bm25": {"x": NaN, '),
    ),
    Case(
        "text",
        KL,
        r"scored\.jsonl:1: 'scores' of 'bm25': .*'high'",
        replace("scored.jsonl", '"bm25": {', '"bm25": {"x": "high", '),
    ),
    Case(
        "list",
        KL,
        r"scored\.jsonl:1: 'scores': expected teacher",
        edit_line("scored.jsonl", 1, lambda g: g.update(scores=[1])),
    ),
    Case(
        "lacking for a document",
        KL,
        r"scored\.jsonl: 1 documents have no score of teacher 'bm25' \(first.*;",
        edit_line("scored.jsonl", 1, lambda g: g["scores"]["bm25"].popitem()),
    ),
    Case("lacking at all", f"{TRAIN} --loss kl", r"needs.*--teacher", status=2),
    Case(
        "unknown teacher",
        f"{KL} --teacher cross-nowhere",
        r"--teacher cross-nowhere: .*the groups hold scores of: bm25",
        status=2,
    ),
    Case(
        "huge number", KL, r"scored\.jsonl:1: ", replace("scored.jsonl", '"bm25": {', f'"bm25": {{"x": {"9" * 400}, ')
    ),
    Case(
        "TSV: four columns",
        TEACH_TSV,
        r"teacher\.tsv:1: expected positive score.*tabs",
        write("teacher.tsv", "1\t2\tq000\td000\n"),
    ),
    Case(
        "TSV: score is a word",
        TEACH_TSV,
        r"teacher\.tsv:1: score 'high' is not",
        write("teacher.tsv", "high\t2\tq000\td000\td001\n"),
    ),
    Case(
        "TSV: NaN", TEACH_TSV, r"teacher\.tsv:1: score 'nan' is not", write("teacher.tsv", "1\tnan\tq000\td000\td001\n")
    ),
    Case(
        "TSV: unknown query",
        TEACH_TSV,
        r"teacher\.tsv:1: query 'no' is not in the topics;",
        write("teacher.tsv", "1\t2\tno\td000\td001\n"),
    ),
    Case("TSV: empty", TEACH_TSV, r"teacher\.tsv: no triples", write("teacher.tsv", "")),
    Case(
        "TSV: train",
        TRAIN.replace("groups.jsonl", "teacher.tsv"),
        r"teacher\.tsv:1: expected",
        write("teacher.tsv", "1\t2\n"),
    ),
    Case(
        "teach: absent document",
        TEACH,
        r"groups\.jsonl:2: document 'no' of query 'q001' is not in the corpus.*;",
        edit_line("groups.jsonl", 2, lambda g: g.update(negatives=[{"id": "no"}])),
    ),
    Case("teach: cut groups", TEACH, r"groups\.jsonl:\d+: invalid JSON", cut("groups.jsonl", 0.52)),
    Case(
        "teach: scores there already",
        "teach --groups scored.jsonl --run train.trec --name bm25 --missing lowest --output out.jsonl",
        r"scored\.jsonl:1: .*scores of 'bm25' already;",
    ),
    Case("teach: run lacks a document", "teach --groups groups.jsonl --run run.trec --output out.jsonl", r"run\.trec"),
    Case(
        "teach --train: one group",
        "teach --train --groups g.jsonl --collection collection --encoder encoder --output out",
        r"g\.jsonl: 1 queries",
        write(
            "g.jsonl",
            '{"query_id": "q000", "query": "a", "positives": [{"id": "d000"}], "negatives": [{"id": "d001"}]}\n',
        ),
    ),
]


@pytest.mark.parametrize("case", GROUPS, ids=lambda case: case.name)
def test_groups(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", SCORES, ids=lambda case: case.name)
def test_scores(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


def test_a_refused_training_goes_on_with_mended_groups(place, run: Run) -> None:
    """What was refused before its first step is not taken for another run that was interrupted."""
    good = (place / "groups.jsonl").read_text()
    line = f"{TRAIN} --max-steps 2 --dev-split none"
    refuses(
        Case(
            "", line, r"not in the corpus", edit_line("groups.jsonl", 1, lambda g: g.update(negatives=[{"id": "no"}]))
        ),
        place,
        run,
    )
    (place / "groups.jsonl").write_text(good)
    outcome = run(line)
    assert outcome.status == 0, outcome.stderr


def test_the_undamaged_material_is_taken(place, run: Run) -> None:
    """The cases above differ from these in their damage alone."""
    lines = [MINE, TEACH.replace("out.jsonl", "2.jsonl"), TEACH_TSV.replace("out.jsonl", "3.jsonl")]
    for line in (*lines, f"{KL} --max-steps 1"):
        outcome = run(line)
        assert outcome.status == 0, outcome.stderr
