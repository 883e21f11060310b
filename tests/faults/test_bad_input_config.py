"""Command lines, configuration files, recipes and unfinished work that are not what they should be."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ..conftest import ROOT
from .conftest import Case, Run, refuses
from .material import DENSE, ENCODE, TRAIN, all_of, cut, write

CONFIG = "search dense --config c.yaml"
GOOD = "index: [index]\ntopics: topics.tsv\noutput: out.trec\n"
RECIPE = "recipe r.yaml --collection collection --encoder checkpoint --output out --dry-run"
STAGE = "stages:\n  - name: student\n    do: train\nresult: student\n"

USAGE = [
    Case("no flags", "search dense", r"--index is required", status=2),
    Case("unknown flag", f"{DENSE} --colour red", r"unrecognized arguments: --colour red \(see .* --help\)", status=2),
    Case("unknown sub-command", "search sparse", r"unknown sub-command 'sparse'", status=2),
    Case("no sub-command", "index", r"a sub-command is required", status=2),
    Case("number expected", DENSE.replace("--hits 5", "--hits five"), r"--hits.*'five'", status=2),
    Case("below the least", DENSE.replace("--hits 5", "--hits 0"), r"--hits 0: must be at least 1", status=2),
    Case("unknown choice", f"{DENSE} --output-format html", r"--output-format.*'html'", status=2),
    Case("value is missing", f"{DENSE} --tag", r"--tag", status=2),
    Case("blank in a tag", f"{DENSE} --tag 'a b'", r"white space", status=1),
    Case("index given twice", DENSE.replace("--index index", "--index index index"), r"index is given twice", status=2),
    Case("unknown loss", f"{TRAIN} --loss magic", r"magic", status=2),
    Case("unknown option of a loss", f"{TRAIN} --loss-option infonce.colour=1", r"infonce|colour", status=2),
    Case("weight of a loss", f"{TRAIN} --loss infonce:much", r"much", status=2),
    Case(
        "weight of a collection",
        TRAIN.replace("--collection collection", "--collection collection:-1"),
        r"must be positive",
        status=2,
    ),
    Case("device that is not there", f"{TRAIN} --device cuda:99", r"cuda:99", status=2),
    Case("device of no kind", f"{DENSE} --device quantum", r"quantum", status=2),
    Case("words of encode", "encode input --corpus collection", r"output", status=2),
    Case(
        "shard beyond the number",
        ENCODE.replace("collection output", "collection --shard-id 3 --shard-num 2 output"),
        r"shard",
        status=2,
    ),
    Case(
        "shard is empty",
        ENCODE.replace("collection output", "collection --shard-id 0 --shard-num 99 output"),
        r"--shard-num 99: shard 0 of 30",
        status=2,
    ),
    Case("doctor: unknown flag", "doctor --colour", r"--colour", status=2),
]

CONFIGS = [
    Case("absent", CONFIG, r"c\.yaml: no such configuration file"),
    Case("directory", CONFIG.replace("c.yaml", "collection"), r"collection: is a directory"),
    Case("tab", CONFIG, r"c\.yaml:2: invalid YAML", write("c.yaml", "index: index\n\ttopics: x\n")),
    Case("open bracket", CONFIG, r"c\.yaml:\d: invalid YAML", write("c.yaml", "index: [index\n")),
    Case("list", CONFIG, r"c\.yaml: expected a mapping", write("c.yaml", "- index\n")),
    Case("number", CONFIG, r"c\.yaml: expected a mapping", write("c.yaml", "3\n")),
    Case("key is a number", CONFIG, r"c\.yaml: expected a mapping", write("c.yaml", "3: index\n")),
    Case("key is a list", CONFIG, r"c\.yaml:1: invalid YAML", write("c.yaml", "[a, b]: index\n")),
    Case(
        "unknown option",
        CONFIG,
        r"c\.yaml: unknown option 'hit'; did you mean 'hits'",
        write("c.yaml", GOOD + "hit: 3\n"),
    ),
    Case("not UTF-8", CONFIG, r"c\.yaml: invalid YAML", write("c.yaml", b"index: \xff\n")),
    Case("control character", CONFIG, r"c\.yaml: invalid YAML", write("c.yaml", b"index: \x07\n")),
    Case("date that is none", CONFIG, r"c\.yaml: invalid YAML", write("c.yaml", GOOD + "tag: 2024-13-45\n")),
    Case("number of 5,000 digits", CONFIG, r"c\.yaml: invalid YAML", write("c.yaml", GOOD + f"hits: {'9' * 5000}\n")),
    Case("deep", CONFIG, r"c\.yaml: invalid YAML", write("c.yaml", "[" * 3_000)),
    Case(
        "Python object",
        CONFIG,
        r"c\.yaml:4: invalid YAML",
        write("c.yaml", GOOD + "tag: !!python/object/apply:os.system ['true']\n"),
    ),
    Case("alias of nothing", CONFIG, r"c\.yaml:4: invalid YAML", write("c.yaml", GOOD + "tag: *x\n")),
    Case("truth for a number", CONFIG, r"--hits True: expected int", write("c.yaml", GOOD + "hits: yes\n"), status=2),
    Case("text for a number", CONFIG, r"--hits 'five': expected int", write("c.yaml", GOOD + "hits: five\n"), status=2),
    Case(
        "fraction for a number", CONFIG, r"--hits 1\.5: expected int", write("c.yaml", GOOD + "hits: 1.5\n"), status=2
    ),
    Case(
        "infinity for a number", CONFIG, r"--hits inf: expected int", write("c.yaml", GOOD + "hits: .inf\n"), status=2
    ),
    Case(
        "mapping for a path",
        CONFIG,
        r"--topics \{'a': 1\}: expected str",
        write("c.yaml", GOOD + "topics: {a: 1}\n"),
        status=2,
    ),
    Case(
        "list for one value",
        CONFIG,
        r"--topics \['a'\]: expected str",
        write("c.yaml", GOOD + "topics: [a]\n"),
        status=2,
    ),
    Case("nothing for a path", CONFIG, r"--topics None: expected", write("c.yaml", GOOD + "topics: null\n"), status=2),
    Case(
        "number of an unknown choice",
        CONFIG,
        r"--output-format 3: expected one of trec, msmarco",
        write("c.yaml", GOOD + "output_format: 3\n"),
        status=2,
    ),
    Case(
        "JSON: cut", CONFIG.replace("yaml", "json"), r"c\.json:\d+: invalid YAML", write("c.json", '{"index": ["index"')
    ),
    Case(
        "null byte in a path",
        CONFIG,
        r"--topics 'a.*: expected str",
        write("c.yaml", 'index: [index]\ntopics: "a\\0b.tsv"\noutput: out.trec\n'),
        status=2,
    ),
    Case(
        "null byte in the output",
        CONFIG,
        r"--output 'out.*: expected Path",
        write("c.yaml", 'index: [index]\ntopics: topics.tsv\noutput: "out\\0.trec"\n'),
        status=2,
    ),
    Case(
        "train: NaN as a rate",
        "train --config c.yaml",
        r"--learning-rate",
        write(
            "c.yaml",
            "collection: [collection]\nencoder: checkpoint\noutput: out\ngroups: [groups.jsonl]\nlearning_rate: .nan\n",
        ),
        status=2,
    ),
]

RECIPES = [
    Case("unknown", RECIPE.replace("r.yaml", "tas-c"), r"unknown recipe 'tas-c'; did you mean 'tas-b'", status=2),
    Case("absent", RECIPE, r"r\.yaml: no such recipe"),
    Case("list", RECIPE, r"r\.yaml: expected a recipe", write("r.yaml", "[]")),
    Case("tab", RECIPE, r"r\.yaml:1: invalid YAML", write("r.yaml", "\tx: 1\n")),
    Case("date that is none", RECIPE, r"r\.yaml: invalid YAML", write("r.yaml", "summary: 2024-13-45\n" + STAGE)),
    Case("deep", RECIPE, r"r\.yaml: invalid YAML", write("r.yaml", "{a: " * 3_000)),
    Case(
        "Python object",
        RECIPE,
        r"r\.yaml:1: invalid YAML",
        write("r.yaml", "summary: !!python/name:os.system\n" + STAGE),
    ),
    Case("unknown key", RECIPE, r"r\.yaml: unknown key 'stage'", write("r.yaml", "stage: 1\n" + STAGE)),
    Case("no stages", RECIPE, r"r\.yaml: stages: expected a list", write("r.yaml", "result: x\n")),
    Case("no result", RECIPE, r"r\.yaml: result", write("r.yaml", STAGE.replace("result: student", ""))),
    Case(
        "unknown command",
        RECIPE,
        r"r\.yaml:2: unknown command 'fly'",
        write("r.yaml", STAGE.replace("do: train", "do: fly")),
    ),
    Case(
        "stage without do", RECIPE, r"r\.yaml: stages: expected", write("r.yaml", "stages:\n  - name: x\nresult: x\n")
    ),
    Case("stage is a text", RECIPE, r"r\.yaml: stages: expected", write("r.yaml", "stages: [x]\nresult: x\n")),
    Case(
        "name of a folder above",
        RECIPE,
        r"r\.yaml:2: stage: '\.\./x' cannot be the name",
        write("r.yaml", STAGE.replace("name: student", "name: ../x")),
    ),
    Case(
        "unknown flag",
        RECIPE,
        r"unknown flag of train 'colour'",
        write("r.yaml", STAGE.replace("do: train", "do: train\n    with: {colour: red}")),
        status=2,
    ),
    Case(
        "unknown name in a flag",
        RECIPE,
        r"nothing",
        write("r.yaml", STAGE.replace("do: train", "do: train\n    with: {groups: '{nothing}'}")),
    ),
    Case(
        "file above a stage's folder",
        RECIPE,
        r"r\.yaml:2: stage student: \{here/\.\./x\} leads out",
        write("r.yaml", STAGE.replace("do: train", "do: train\n    with: {groups: '{here/../x}'}")),
    ),
    Case(
        "use of an unknown stage",
        RECIPE,
        r"r\.yaml:2: use: unknown stage of base\.yaml 'x'",
        write("r.yaml", "stages:\n  - use: x\nresult: x\n"),
    ),
    Case(
        "use of a list", RECIPE, r"r\.yaml:2: use: unknown stage", write("r.yaml", "stages:\n  - use: [x]\nresult: x\n")
    ),
    Case(
        "repeat of a text",
        RECIPE,
        r"recipe r: often must be a whole number",
        status=2,
        damage=write(
            "r.yaml", "stages:\n  - repeat: often\n    stages:\n      - {name: student, do: train}\nresult: student\n"
        ),
    ),
    Case(
        "repeat without end",
        RECIPE,
        r"recipe r: 1000000000 is",
        status=2,
        damage=write(
            "r.yaml",
            "stages:\n  - repeat: 1000000000\n    stages:\n      - {name: student, do: train}\nresult: student\n",
        ),
    ),
    Case(
        "command is a list",
        RECIPE,
        r"r\.yaml:2: unknown command",
        write("r.yaml", STAGE.replace("do: train", "do: [train]")),
    ),
    Case("summary is a number", RECIPE, r"r\.yaml: summary: expected text", write("r.yaml", "summary: 3\n" + STAGE)),
    Case(
        "setting of no name",
        f"{RECIPE} --set steps",
        r"--set steps: expected NAME=VALUE",
        write("r.yaml", STAGE),
        status=2,
    ),
    Case(
        "unknown setting",
        f"{RECIPE} --set colour=3",
        r"--set colour=3: unknown setting",
        write("r.yaml", STAGE),
        status=2,
    ),
    Case(
        "number of 5,000 digits",
        f"{RECIPE} --set train.max-steps={'9' * 5000}",
        r"max-steps",
        write("r.yaml", STAGE),
        status=2,
    ),
    Case(
        "state: cut",
        RECIPE,
        r"stages\.json:\d+: invalid JSON",
        all_of(write("r.yaml", STAGE), write("out/stages.json", "{")),
    ),
    Case(
        "state: list",
        RECIPE,
        r"stages\.json: expected a JSON object",
        all_of(write("r.yaml", STAGE), write("out/stages.json", "[]")),
    ),
    Case(
        "state: stages a list",
        RECIPE,
        r"stages\.json: does not tell stages;",
        all_of(write("r.yaml", STAGE), write("out/stages.json", '{"stages": []}')),
    ),
    Case(
        "state: an entry a number",
        RECIPE,
        r"stages\.json: .*;",
        all_of(write("r.yaml", STAGE), write("out/stages.json", '{"stages": {"1-student": 3, "01-student": 3}}')),
    ),
]

WORK = [
    Case(
        "encode: plan cut",
        ENCODE,
        r"plan\.json:\d+: invalid JSON|plan\.json",
        write("out/.encode/plan.json", '{"a"'),
        leaves=("out/.encode/corpus.json",),
    ),
    Case(
        "encode: plan a list",
        ENCODE,
        r"plan\.json: expected a JSON object;",
        write("out/.encode/plan.json", "[]"),
        leaves=("out/.encode/corpus.json",),
    ),
    Case(
        "encode: plan of another",
        ENCODE,
        r"out: holds an unfinished encoding with another.*;|plan\.json",
        write("out/.encode/plan.json", '{"a": 1}'),
        leaves=("out/.encode/corpus.json",),
    ),
    Case("encode: output is there", ENCODE, r"out: already holds.*;", write("out/index", "x")),
    Case("encode: output is a file", ENCODE, r"out: is a file", write("out", "x")),
    Case("train: plan cut", TRAIN, r"plan\.json:\d+: invalid JSON", write("out/.train/plan.json", '{"a"')),
    Case(
        "train: plan of another",
        TRAIN,
        r"out: holds an interrupted training with another.*;",
        write("out/.train/plan.json", '{"seed": 99}'),
    ),
    Case(
        "train: output is there", TRAIN, r"out: already holds a trained checkpoint;", write("out/sdr_train.json", "{}")
    ),
    Case("train: output is not empty", TRAIN, r"out: already exists and is not empty;", write("out/x", "")),
    Case("train: output is a file", TRAIN, r"out: is a file", write("out", "")),
    Case(
        "mine: output is there",
        "mine --collection collection --runs train.trec --output groups.jsonl",
        r"groups\.jsonl: already exists.*;",
    ),
    Case(
        "teach: output is there",
        "teach --groups groups.jsonl --run train.trec --missing lowest --output scored.jsonl",
        r"scored\.jsonl: already exists;",
    ),
    Case(
        "evaluate: output is there",
        "evaluate --qrels qrels.txt --runs run.trec --output collection",
        r"collection: already exists.*;",
    ),
    Case("build: output is there", "collection build beir collection", r"collection: already exists.*;"),
    Case(
        "evaluate: training manifest cut",
        "evaluate --qrels qrels.txt --runs run.trec --output out --training run=t",
        r"sdr_train\.json",
        all_of(write("t/sdr_train.json", '{"kind": "checkpoint"}'), cut("t/sdr_train.json")),
    ),
]


@pytest.mark.parametrize("case", USAGE, ids=lambda case: case.name)
def test_usage(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", CONFIGS, ids=lambda case: case.name)
def test_configurations(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", RECIPES, ids=lambda case: case.name)
def test_recipes(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", WORK, ids=lambda case: case.name)
def test_what_lies_in_the_output(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["run", "check", "--run", "none.trec"], 1, "none.trec: no such run file"),
        (["search", "dense", "--hits", "0"], 2, "--index is required"),
        (["collection", "check", "none"], 1, "none: no such collection directory"),
    ],
)
def test_as_processes(words: list[str], status: int, says: str, tmp_path) -> None:
    """A sample of the above the way a user meets it: one line on standard error, nothing on standard output."""
    name, *rest = words
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", f"pyserini_sdr.{name}", *rest]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith("error: ") and says in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_manifests_are_what_commands_write(place, run: Run) -> None:
    """The damage above is done to files of this kind."""
    manifest = json.loads((place / "index" / "sdr_index.json").read_text())
    assert {"kind", "command", "config", "versions", "weights", "spec", "count"} <= manifest.keys()
