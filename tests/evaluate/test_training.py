from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.evaluate.engine import evaluate_runs
from pyserini_sdr.evaluate.report import write_report
from pyserini_sdr.evaluate.training import HEADER, read_trainings, sections


def checkpoint(folder: Path, *, triples: int = 7680, seconds: float = 60.0, metric: str = "ndcg_cut_10") -> Path:
    """What `train` writes about a training of 30 steps with dev evaluations after 0, 10 and 30 of them."""
    folder.mkdir()
    config = {"loss": ["<infonce>"], "batch_size": 32}
    selection = {"untrained": 0.5, "best": 0.7, "best_step": 30}
    manifest = {"config": config, "steps": 30, "triples": triples, "train_seconds": seconds, "selection": selection}
    dev = [{"step": step, metric: value, "seconds": 9.0} for step, value in ((0, 0.5), (10, 0.6), (30, 0.7))]
    log = {"dev": dev, "steps": [{"step": 10, "loss": 0.3}, {"step": 20, "loss": 0.2}]}
    (folder / "sdr_train.json").write_text(json.dumps(manifest))
    (folder / "train_log.json").write_text(json.dumps(log))
    return folder


def titles(markup: str) -> list[str]:
    """Texts of the points of a plot: `name: x, y`."""
    root = ElementTree.fromstring(f"<div>{markup}</div>")
    return [element.text for element in root.iter() if element.tag == "title"]


def test_curves_against_triples_and_time(tmp_path, files):
    specs = [f"tuned={checkpoint(tmp_path / 'a')}", f"base={checkpoint(tmp_path / 'b', triples=76800, seconds=90)}"]
    trainings = read_trainings(specs)
    runs = {name: files / f"{name}.txt" for name in ("bm25", "base", "tuned")}
    evaluation = evaluate_runs(files / "qrels.txt", runs, metrics=["AP"])
    found = dict(sections(trainings, evaluation))
    assert found["Training"][0] == HEADER
    # 30 steps of 32 queries with 8 (80) negatives each; 2 (3) seconds a step, dev evaluations left out
    assert titles(found["Dev nDCG@10 against training triples"]) == [
        *("tuned: 0, 0.5", "tuned: 2560, 0.6", "tuned: 7680, 0.7"),
        *("base: 0, 0.5", "base: 25600, 0.6", "base: 76800, 0.7"),
    ]
    assert titles(found["Dev nDCG@10 against training time"])[1::3] == ["tuned: 20, 0.6", "base: 30, 0.6"]
    means = {run.name: f"{run.means['map']:.4g}" for run in evaluation.runs}
    assert titles(found["AP of the runs against training triples of their encoders"]) == [
        *(f"tuned: 7680, {means['tuned']}", f"base: 76800, {means['base']}"),
    ]
    assert "AP of the runs against training time of their encoders" in found
    write_report(tmp_path / "r.html", evaluation, title="t", sections=sections(trainings, evaluation))
    page = (tmp_path / "r.html").read_text()
    assert "&lt;infonce&gt;" in page
    assert "<infonce>" not in page
    assert 'data-value="76800.0"' in page


def test_each_dev_metric_has_its_own_plots_and_names_need_runs(tmp_path, files):
    trainings = read_trainings(
        [f"a={checkpoint(tmp_path / 'a')}", f"b={checkpoint(tmp_path / 'b', metric='recip_rank_cut_10')}"]
    )
    evaluation = evaluate_runs(files / "qrels.txt", {"a": files / "tuned.txt"}, metrics=["AP"])
    found = dict(sections(trainings, evaluation))
    assert titles(found["Dev RR@10 against training triples"])[0] == "b: 0, 0.5"
    assert len(titles(found["Dev nDCG@10 against training time"])) == 3
    assert not [heading for heading in found if "of the runs" in heading]
    assert sections([]) == []


def test_faults(tmp_path):
    (tmp_path / "x").mkdir()
    with pytest.raises(DataError, match=r"has no sdr_train\.json"):
        read_trainings([str(tmp_path / "x")])
    path = checkpoint(tmp_path / "a")
    with pytest.raises(UsageError, match="are not different"):
        read_trainings([f"a={path}", str(path)])
