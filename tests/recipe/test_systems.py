"""Every recipe from end to end on a tiny model, with what makes it that system."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyserini_sdr.anserini.java import Java
from pyserini_sdr.model.checkpoint import save_checkpoint
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.recipe.definition import catalogued, load_recipe
from pyserini_sdr.recipe.resolve import mentioned

from .conftest import InThisProcess, in_this_process, run_recipe

SMALL = (
    *("steps=3", "batch_size=6", "negatives=4", "eval_steps=3", "learning_rate=1e-3"),
    *("ranker_steps=2", "ranker_batch_size=4", "pair_max_length=48"),
)
"""Settings of a tiny run."""


class Done:
    """What a recipe left.

    Args:
        output: its folder.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self.manifest = self.read("sdr_recipe.json")

    def folder(self, name: str) -> Path:
        """The last stage of that name."""
        return sorted(self.output.glob(f"[0-9][0-9]-{name}"))[-1]

    def read(self, path: str | Path) -> Any:
        return json.loads((self.output / path).read_text("utf-8"))

    def trained(self, name: str) -> dict[str, Any]:
        """The manifest of a training."""
        return self.read(self.folder(name) / "checkpoint/sdr_train.json")

    def log(self, name: str) -> list[dict[str, Any]]:
        """The log entries of a training, one per step."""
        return self.read(self.folder(name) / "checkpoint/train_log.json")["steps"]

    def weights_of_index(self, folder: Path) -> str:
        """Fingerprint of the encoder that made the index in a folder."""
        return self.read(folder / "index/sdr_index.json")["weights"]

    def groups(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder(name) / "groups.jsonl").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def ran(tiny_collection: Path, tiny_encoder: Path, found_java: Java, tmp_path_factory) -> Callable[..., Done]:
    """Runs a recipe in this process, once."""
    base = tmp_path_factory.mktemp("recipes")
    ranks = base / "encoder"
    shutil.copytree(tiny_encoder, ranks)
    tiny = BiEncoder.load(str(tiny_encoder), raw_backbone=True)  # with the files that tell its pooling
    save_checkpoint(ranks, tiny.backbone, tiny.tokenizer, tiny.spec)
    assert (
        in_this_process(["pyserini_sdr.index", "bm25", "--input", str(tiny_collection), "--index", str(base / "bm25")])
        == 0
    )
    execute = InThisProcess(base / "bm25")

    def run(name: str, *settings: str, folder: str = "") -> Done:
        output = base / (folder or name)
        if not output.exists():
            used = mentioned(load_recipe(name))
            small = (setting for setting in SMALL if setting.partition("=")[0] in used)
            given = (*small, "train.logging-steps=1", *settings)
            run_recipe(name, tiny_collection, ranks, output, execute, given)
        return Done(output)

    return run


def ids(group: dict[str, Any], side: str = "negatives") -> list[str]:
    return [candidate["id"] for candidate in group[side] if "id" in candidate]


def test_arm_paper_has_the_papers_settings(ran) -> None:
    assert load_recipe("arm-paper").settings["max_length"] == 200  # the tiny encoder has positions for 128
    config = ran("arm-paper", "batch_size=6", "steps=2", "max_length=100").trained("student")["config"]
    assert config["loss"] == ["distributed-margin"] and config["loss_option"] == ["distributed-margin.layout=column"]
    assert (config["query_max_length"], config["max_length"], config["negatives"]) == (20, 100, 1)
    assert config["weight_decay"] == 1e-6 and config["scheduler"] == "constant_with_warmup" and config["warmup"] == 0


def test_hard_negatives_come_from_the_student_of_the_round_before(ran) -> None:
    done = ran("hard-negatives", "rounds=2", "refreshed_steps=2")
    folders = sorted(path.name for path in done.output.glob("*-student"))
    assert len(folders) == 3
    for mined, student in zip(sorted(done.output.glob("*-own-negatives")), folders, strict=False):
        assert done.weights_of_index(mined) == fingerprint(done.output / student / "checkpoint")


def test_tas_b_has_topics_of_a_baseline_and_two_teachers(ran) -> None:
    done = ran("tas-b", "baseline_steps=2", "clusters=2")
    student = done.trained("student")
    config = student["config"]
    assert (config["batching"], config["negative_sampling"]) == ("topics", "balanced-margins")
    assert Path(config["cluster_encoder"]) == done.folder("baseline") / "checkpoint"
    own, batch = student["teachers"]
    assert own == {"name": "ranker", "scores": "stored"}
    assert Path(batch["name"]) == done.folder("cross-encoder") / "cross-encoder" and batch["weights"]


def test_cl_drd_lengthens_what_is_relevant_from_stage_to_stage(ran) -> None:
    done = ran("cl-drd", "first=2", "second=3", "third=5", "later_steps=2")
    configs = [done.trained(name)["config"] for name in ("easy", "harder", "hardest")]
    assert [config["loss_option"][0] for config in configs] == [f"lambda-mrr.relevant={n}" for n in (2, 3, 5)]
    starts = [Path(config["encoder"]).parent.name[3:] for config in configs[1:]]
    assert starts == ["easy", "harder"]


def test_prod_holds_the_student_to_its_frozen_copy(ran) -> None:
    done = ran(
        "prod",
        "teacher_steps=2",
        "data_steps=2",
        "descend=4",
        "student_ranks=1-15",
        "train.dropout=0",
        "train.precision=fp32",
    )
    students = [f"student-{number}" for number in range(1, 5)]
    for before, after in itertools.pairwise(students):
        frozen = done.trained(after)["teachers"][1]
        assert frozen["weights"] == fingerprint(done.folder(before) / "checkpoint")
        assert done.trained(after)["config"]["encoder"] == frozen["name"]
        told = [entry["lwf"] for entry in done.log(after)]
        assert (
            told[0] == pytest.approx(0, abs=1e-5) and told[-1] > 10 * told[0]
        )  # a copy at first, and then left behind
    assert done.weights_of_index(done.folder("refreshed-1")) == fingerprint(done.folder("student-1") / "checkpoint")
    for group in done.groups("unsolved"):
        table = group["scores"]["ranker"]
        assert max(table, key=table.get) in ids(group, "positives")


def test_adam_has_dark_examples_that_the_teacher_scored(ran) -> None:
    done = ran("adam", "dark_negatives=2", "dark_positives=1", "list=7")
    for group in done.groups("scored"):
        dark = [candidate for candidate in group["negatives"] if "id" not in candidate]
        assert len(dark) == 3
        assert len(group["scores"]["ranker"]) == len(group["positives"]) + len(group["negatives"])
    assert "kl.weighting=confidence" in done.trained("student")["config"]["loss_option"]


def test_ar2_alternates_on_the_refreshed_index(ran) -> None:
    done = ran("ar2", "iterations=2", "retriever_steps=2")
    retrievers = sorted(done.output.glob("*-retriever"))
    rivals = sorted(done.output.glob("*-rival"))
    rounds = sorted(done.output.glob("*-retrieved"))
    assert (len(retrievers), len(rivals), len(rounds)) == (3, 3, 2)
    for turn, mined in enumerate(rounds):
        assert done.weights_of_index(mined) == fingerprint(retrievers[turn] / "checkpoint")
        ranker = done.read(rivals[turn + 1] / "cross-encoder/sdr_teach.json")["config"]
        assert Path(ranker["encoder"]) == rivals[turn] / "cross-encoder"
        retriever = done.read(retrievers[turn + 1] / "checkpoint/sdr_train.json")
        assert Path(retriever["teachers"][0]["name"]) == rivals[turn + 1] / "cross-encoder"
        assert Path(retriever["config"]["encoder"]) == retrievers[turn] / "checkpoint"
        assert {
            Path(config["groups"][0] if isinstance(config["groups"], list) else config["groups"])
            for config in (ranker, retriever["config"])
        } == {mined / "groups.jsonl"}


def test_r2ankers_ranker_learns_from_three_retrievers(ran) -> None:
    done = ran("r2anker", "baseline_steps=2")
    mined = done.read(done.folder("union") / "groups.jsonl.json")["config"]
    assert mined["bm25_index"] and mined["index"] and mined["runs"]
    ranker = done.read(done.folder("cross-encoder") / "cross-encoder/sdr_teach.json")["config"]
    assert Path(ranker["groups"]).parent == done.folder("union")
    assert done.trained("student")["teachers"] == [{"name": "ranker", "scores": "stored"}]


def test_leds_teacher_is_the_lexical_run(ran) -> None:
    done = ran("led", "second_steps=2", "hits=20")
    run = {
        (qid, docid): float(score)
        for qid, _, docid, _, score, _ in map(str.split, (done.folder("lexical") / "run.trec").open(encoding="utf-8"))
    }
    for group in done.groups("lexical-scored"):
        for docid, score in group["scores"]["lexical"].items():
            if (group["query_id"], docid) in run:
                assert score == pytest.approx(run[group["query_id"], docid])
    assert "hinge-order" in done.log("student")[0] and "infonce" in done.log("student")[0]
    assert done.weights_of_index(done.folder("both-negatives")) == fingerprint(done.folder("student") / "checkpoint")


def test_led_takes_any_run(ran, tmp_path: Path) -> None:
    run = ran("led", "second_steps=2", "hits=20").folder("lexical") / "run.trec"
    done = ran("led", f"run={run}", "second_steps=2", "hits=20", folder="led-with-a-run")
    assert not list(done.output.glob("*-bm25")) and done.folder("second-student")


def test_lead_learns_layers_of_a_bi_encoder(ran) -> None:
    done = ran("lead", "teacher_steps=2")
    assert done.trained("student")["teachers"][0]["weights"] == fingerprint(done.folder("bi-encoder") / "checkpoint")
    assert {"lead", "kl", "infonce"} <= set(done.log("student")[0])


def test_cerberus_has_three_teachers_and_leaves_the_heads_out(ran) -> None:
    done = ran("cerberus")
    assert [teacher["name"] for teacher in done.trained("student")["teachers"]] == ["softmax", "binary", "bm25"]
    objectives = [done.read(done.folder(f"{name}-ranker") / "cross-encoder/sdr_teach.json")["config"]["objective"]
                  for name in ("softmax", "binary")]  # fmt: skip
    assert objectives == ["lce", "bce"]
    assert fingerprint(done.folder("student") / "checkpoint")


def test_noisy_self_is_taught_by_the_earlier_checkpoint(ran) -> None:
    student = ran("noisy-self").trained("student")
    config = student["config"]
    assert (config["word_drop"], config["sentence_shuffle"], config["teacher_dropout"]) == (0.1, 2, 0.15)
    assert student["teachers"][0]["weights"] == fingerprint(ran("noisy-self").folder("earlier") / "checkpoint")


def test_annealing_ends_with_labels_alone(ran) -> None:
    done = ran("annealing", "anneal=5", "label_steps=2")
    assert "kl.anneal=5" in done.trained("annealed")["config"]["loss_option"]
    student = done.trained("student")
    assert student["teachers"] == [] and student["config"]["loss"] == ["infonce"]
    assert Path(student["config"]["encoder"]) == done.folder("annealed") / "checkpoint"


def test_capstones_part_falls_with_the_step(ran) -> None:
    done = ran("capstone", "steps=6", "parts=3", "later_parts=2", "later_steps=4", "queries_per_document=6", "views=2")
    assert [entry["query_part"] for entry in done.log("first")] == [3, 3, 2, 2, 1, 1]
    assert [entry["query_part"] for entry in done.log("second")] == [2, 2, 1, 1]
    ids = (done.folder("index") / "index/docid").read_text("utf-8").split()
    assert {"d000#0", "d000#1"} <= set(ids)


def test_fgd_has_one_teacher_at_two_granularities(ran) -> None:
    done = ran("fgd", "words=8", "stride=4")
    passages = {group["query_id"]: group["scores"]["ranker"] for group in done.groups("passages-scored")}
    for group in done.groups("document-groups"):
        for docid, score in group["scores"]["ranker"].items():
            own = [s for id, s in passages[group["query_id"]].items() if id.rpartition("#")[0] == docid]
            assert len(own) > 1 and score == pytest.approx(max(own))
    assert all(len(group["positives"]) == 1 for group in done.groups("passage-groups"))
    config = done.trained("student")["config"]
    assert len(config["collection"]) == 2 and config["mixing"] == "separate"


def test_e5_pretrains_on_consistent_pairs_with_prefixes(ran) -> None:
    done = ran("e5", "pair_steps=2", "pair_batch_size=6", "method=inverse-cloze")
    assert done.read(done.folder("consistent-pairs") / "groups.jsonl.json")["config"]["positive_rank"] == "1-2"
    for name in ("pretrained", "student"):
        spec = done.trained(name)["spec"]
        assert (spec["query_prefix"], spec["document_prefix"], spec["pooling"]) == ("query:", "passage:", "mean")
    assert "infonce.temperature=0.01" in done.trained("pretrained")["config"]["loss_option"]
    assert done.trained("student")["config"]["loss"] == ["kl", "infonce:0.2"]


def test_every_recipe_has_a_test_here() -> None:
    text = Path(__file__).read_text("utf-8")
    assert not [name for name in catalogued() if not re.search(rf'ran\(\s*"{name}"', text)]


def fingerprint(checkpoint: Path) -> str:
    return BiEncoder.load(str(checkpoint)).fingerprint
