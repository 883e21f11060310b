"""Running, resuming, skipping and refusing, with commands that only say that they ran."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, SdrError, UsageError

from .conftest import Fake, made_by, run_recipe

STAGES = ["01-bm25", "02-bm25-negatives", "03-cross-encoder", "04-scored", "05-annealed", "06-student"]


def go(tmp_path: Path, fake: Fake, tiny_collection: Path, tiny_encoder: Path, *settings: str, **options) -> list[str]:
    """Runs a recipe; the stages that ran this time."""
    before = len(fake.ran)
    run_recipe("annealing", tiny_collection, tiny_encoder, tmp_path / "out", fake, settings, **options)
    return fake.stages[before:]


@pytest.fixture
def run(tmp_path, fake, tiny_collection, tiny_encoder):
    collection = tmp_path / "collection"
    shutil.copytree(tiny_collection, collection)
    return lambda *settings, **options: go(tmp_path, fake, collection, tiny_encoder, *settings, **options)


def test_stages_run_once(run, tmp_path: Path) -> None:
    assert run() == STAGES
    assert run() == []
    manifest = json.loads((tmp_path / "out/sdr_recipe.json").read_text())
    assert [stage["name"] for stage in manifest["stages"]] == [name[3:] for name in STAGES]
    assert (tmp_path / "out/checkpoint").resolve() == tmp_path / "out/06-student/checkpoint"


def test_a_failure_stops_and_the_rest_follows_later(run, fake: Fake, tmp_path: Path) -> None:
    fake.statuses["01-bm25"] = 1
    with pytest.raises(SdrError, match=r"stage bm25 \(1 of 6\) ended with status 1.*same command again"):
        run()
    assert not (tmp_path / "out/sdr_recipe.json").exists()
    fake.statuses.clear()
    assert run() == STAGES


def test_a_cut_stage_is_begun_again_with_what_it_resumes_from(run, fake: Fake, tmp_path: Path) -> None:
    fake.statuses["05-annealed"] = -9
    with pytest.raises(SdrError, match=r"stage annealed \(5 of 6\) was killed by signal 9"):
        run()
    work = tmp_path / "out/05-annealed/checkpoint/.train"
    work.mkdir(parents=True)
    fake.statuses.clear()
    assert run() == STAGES[4:]
    assert work.exists()


def test_an_interrupt_is_passed_on(run, fake: Fake) -> None:
    fake.statuses["01-bm25"] = 130
    with pytest.raises(KeyboardInterrupt):
        run()


def test_what_was_cut_before_its_manifest_is_made_again(run, fake: Fake) -> None:
    fake.before_manifest.add("02-bm25-negatives")  # `mine` would say that its output exists
    with pytest.raises(KeyboardInterrupt):
        run()
    fake.before_manifest.clear()
    assert run() == STAGES[1:]


def test_a_stage_that_ended_unseen_is_done(run, fake: Fake, tmp_path: Path) -> None:
    """The recipe was killed, its child went on to the end."""
    fake.statuses["02-bm25-negatives"] = 1
    with pytest.raises(SdrError):
        run()
    made, manifest = made_by(fake.ran[-1])
    made.touch()
    manifest.write_text("{}", "utf-8")
    fake.statuses.clear()
    assert run() == STAGES[2:]


def test_another_setting_is_refused_and_overwrite_makes_what_depends_on_it(run, tmp_path: Path) -> None:
    run()
    with pytest.raises(DataError) as caught:
        run("anneal=9")
    assert (
        "stage 05-annealed: its command was another (--loss-option kl.anneal=7 before, --loss-option kl.anneal=9 now)"
        in str(caught.value)
    )
    assert "--overwrite" in str(caught.value)
    assert (tmp_path / "out/sdr_recipe.json").exists()
    assert run("anneal=9", overwrite=True) == ["05-annealed", "06-student"]
    assert run("anneal=9") == []


def test_a_result_that_was_changed_by_hand_is_noticed(run, tmp_path: Path) -> None:
    run()
    scored = tmp_path / "out/04-scored/groups.jsonl"
    scored.write_text(scored.read_text() + "\n")
    with pytest.raises(DataError, match=r"stage 04-scored: what it made has changed since"):
        run()
    assert run(overwrite=True) == STAGES[3:]


def test_what_follows_from_a_stage_that_is_made_again_is_made_again(run, tmp_path: Path) -> None:
    run()
    (tmp_path / "out/02-bm25-negatives/groups.jsonl").unlink()
    with pytest.raises(DataError, match=r"stage 03-cross-encoder: stage 02-bm25-negatives, which it uses, is to be"):
        run()
    assert run(overwrite=True) == STAGES[1:]


def test_a_shorter_plan_has_a_result_of_its_own(tmp_path, fake: Fake, tiny_collection, tiny_encoder, capfd) -> None:
    def rounds(number: int) -> list[str]:
        before = len(fake.ran)
        setting = [f"rounds={number}"]
        run_recipe("hard-negatives", tiny_collection, tiny_encoder, tmp_path / "out", fake, setting)
        return fake.stages[before:]

    link, manifest = tmp_path / "out/checkpoint", tmp_path / "out/sdr_recipe.json"
    assert len(rounds(2)) == 7 and link.resolve().parent.name == "07-student"
    assert rounds(1) == [] and link.resolve().parent.name == "05-student"
    assert json.loads(manifest.read_text())["settings"]["rounds"] == 1
    assert "07-student is of other settings and is not used" in capfd.readouterr().err
    link.unlink()
    assert rounds(1) == [] and link.resolve().parent.name == "05-student"


def test_other_spellings_of_the_same_paths_are_the_same(
    fake: Fake, tmp_path, tiny_collection, tiny_encoder, monkeypatch
):
    collection = tmp_path / "collection"
    shutil.copytree(tiny_collection, collection)
    run_recipe("annealing", collection, tiny_encoder, tmp_path / "out", fake)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "out")
    run_recipe("annealing", Path("collection"), tiny_encoder, Path("out"), fake)
    run_recipe("annealing", Path("./collection/."), tiny_encoder, Path("link"), fake, ["device=cpu"], processes=2)
    assert len(fake.ran) == 6


def test_an_output_inside_the_collection_does_not_change_it(
    fake: Fake, tmp_path, tiny_collection, tiny_encoder
) -> None:
    collection = tmp_path / "collection"
    shutil.copytree(tiny_collection, collection)
    for _ in range(2):
        run_recipe("annealing", collection, tiny_encoder, collection / "out", fake)
    assert len(fake.ran) == 6


@pytest.mark.parametrize("name", ["runs", "one"])
def test_files_that_a_setting_names_are_watched(
    name: str, fake: Fake, tmp_path, tiny_collection, tiny_encoder, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for file in ("a.trec", "b.trec"):
        Path(file).write_text("q 0 d 1 1 x\n")
    setting = "run=[a.trec,b.trec]" if name == "runs" else "run=a.trec"
    arguments = ("led", tiny_collection, tiny_encoder, tmp_path / "out", fake, [setting])
    run_recipe(*arguments)
    Path("a.trec").write_text("q 0 d 1 2 x\n")
    with pytest.raises(DataError, match=r"a.trec has changed"):
        run_recipe(*arguments)


def test_a_file_that_stands_beside_a_result_is_watched(fake: Fake, tmp_path, tiny_collection, tiny_encoder) -> None:
    arguments = ("fgd", tiny_collection, tiny_encoder, tmp_path / "out", fake)
    run_recipe(*arguments)
    (tmp_path / "out/04-passages/groups.jsonl").write_text("other")
    with pytest.raises(DataError, match=r"stage 04-passages: what it made has changed"):
        run_recipe(*arguments)


def test_something_in_place_of_the_link_is_refused_first(run, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "out/checkpoint").mkdir(parents=True)
    with pytest.raises(DataError, match="is in the way of the link"):
        run()
    assert not fake.ran


def test_a_damaged_state_is_one_line(run, tmp_path: Path) -> None:
    run()
    (tmp_path / "out/stages.json").write_text("{}")
    with pytest.raises(DataError, match=r"stages.json: does not tell stages"):
        run()


def test_a_word_that_happens_to_name_a_folder_is_no_file(run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    run()
    (tmp_path / "train").mkdir()
    assert run() == []


def test_a_changed_collection_makes_everything_again(run, tmp_path: Path) -> None:
    run()
    topics = tmp_path / "collection/topics.dev.tsv"
    topics.write_text(topics.read_text() + "new\twhat is new\n")
    with pytest.raises(DataError, match=r"collection has changed"):
        run()
    assert run(overwrite=True) == STAGES


def test_a_folder_that_nobody_wrote_down_is_not_touched(run, tmp_path: Path) -> None:
    (tmp_path / "out/03-cross-encoder").mkdir(parents=True)
    (tmp_path / "out/03-cross-encoder/precious").touch()
    with pytest.raises(DataError, match=r"stage 03-cross-encoder: its folder is there, and no record of it"):
        run()
    assert (tmp_path / "out/03-cross-encoder/precious").exists()


def test_a_dry_run_does_nothing_and_tells_what_is_done(run, fake: Fake, tmp_path: Path, capsys) -> None:
    run(dry_run=True)
    text = capsys.readouterr().out
    assert not fake.ran and not (tmp_path / "out").exists()
    assert text.count("python -m pyserini_sdr.") == 6
    run()
    run(dry_run=True)
    assert capsys.readouterr().out.count("(done)") == 6


def test_a_wrong_flag_is_found_before_the_first_stage(run, fake: Fake) -> None:
    with pytest.raises(UsageError, match=r"recipe annealing, stage student: .*--batch-size 1: must be at least 2"):
        run("student.batch-size=1")
    with pytest.raises(
        UsageError, match=r"recipe annealing, stage annealed: unknown flag of train 'droput'; did you mean 'dropout'"
    ):
        run("train.droput=0")
    assert not fake.ran


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("annealing", "ranker=./nothing", "nothing: no such checkpoint"),
        ("led", "run=nothing.trec", "nothing.trec"),
    ],
)
def test_what_is_given_for_a_stage_is_looked_for_first(
    name: str, setting: str, message: str, fake: Fake, tmp_path, tiny_collection, tiny_encoder
) -> None:
    with pytest.raises(SdrError, match=message):
        run_recipe(name, tiny_collection, tiny_encoder, tmp_path / "out", fake, [setting])
    assert not fake.ran and not (tmp_path / "out").exists()


def test_a_missing_collection_is_one_line(fake: Fake, tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        run_recipe("annealing", tmp_path / "nowhere", tiny_encoder, tmp_path / "out", fake)
    assert not (tmp_path / "out").exists()


def test_sigterm_ends_the_stage_too(tmp_path: Path, tiny_collection: Path, tiny_encoder: Path) -> None:
    """A real process: what it started is gone when it is, and another start goes on."""
    recipe = tmp_path / "one.yaml"
    recipe.write_text(
        "summary: s\npaper: p\nstages:\n  - name: student\n    do: train\n"
        "    with: {negatives: 0, loss: infonce, max-steps: 100000, eval-steps: 100000, dev-split: none}\n"
        "result: student\n"
    )
    words = ["--collection", str(tiny_collection), "--encoder", str(tiny_encoder), "--output", str(tmp_path / "out")]
    process = subprocess.Popen(
        [sys.executable, "-m", "pyserini_sdr.recipe", str(recipe), *words],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    work = tmp_path / "out/01-student/checkpoint/.train"
    deadline = time.monotonic() + 60
    while not work.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert work.exists()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    state = json.loads((tmp_path / "out/stages.json").read_text())["stages"]["01-student"]
    assert not state["done"] and not (tmp_path / "out/sdr_recipe.json").exists()
