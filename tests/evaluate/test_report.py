from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyserini_sdr.evaluate import plots, tables
from pyserini_sdr.evaluate.engine import evaluate_runs
from pyserini_sdr.evaluate.latex import latex
from pyserini_sdr.evaluate.report import write_report

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Balanced(HTMLParser):
    """Fails on tags that do not nest; collects ids, links and text."""

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parse(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_report_is_whole_escaped_and_self_contained(files, tmp_path):
    runs = {"bm25": files / "bm25.txt", "<script>alert(1)</script>": files / "tuned.txt"}
    result = evaluate_runs(files / "qrels.txt", runs)
    curve = plots.line_plot({"dev & co": [(0, 0.1), (10, 0.3)]}, x_label="step", y_label="nDCG@10")
    path = tmp_path / "report.html"
    write_report(
        path,
        result,
        title="A <b> title",
        sections=[("Training", curve), ("Cost", [["stage", "seconds"], ["train <fast>", 12.5]])],
        queries={"000": "<img src=x>"},
    )
    page = path.read_text()
    parser = parse(page)
    text = " ".join(parser.text)
    assert "A <b> title" in text
    assert "train <fast>" in text
    assert "<img src=x>" in text
    assert page.count("<script") == 1
    assert "<img" not in page
    assert "dev &amp; co" in page
    # nothing is fetched from anywhere
    assert not [value for name, value in parser.attributes if name in ("src", "href")]
    assert "http" not in re.sub(r"<code>.*?</code>", "", page, flags=re.S)
    assert f"{result.runs[0].means['ndcg_cut_10']:.4f}" in text
    assert page.count("<tr>") >= 60


def test_report_of_a_single_run(files, tmp_path):
    path = tmp_path / "report.html"
    write_report(path, evaluate_runs(files / "qrels.txt", {"only": files / "bm25.txt"}), title="one")
    page = path.read_text()
    parse(page)
    assert "Comparisons with baselines" not in page
    assert "Recall by depth" in page


def test_seeds_equivalence_and_judged_documents(files, tmp_path):
    runs = {"<b>": files / "bm25.txt", "<i>": [files / "base.txt", files / "tuned.txt"]}
    result = evaluate_runs(files / "qrels.txt", runs, ["<b>"], ["AP"], equivalence_margin=0.9)
    write_report(tmp_path / "r.html", result, title="t")
    page = (tmp_path / "r.html").read_text()
    text = " ".join(" ".join(parse(page).text).split())
    assert "<b>" not in page
    assert "<i>" not in page
    spread = result.run("<i>").spread["map"]
    assert f"± {spread.sd:.4f} over seeds" in text
    assert f"{spread.sd:.4f} {spread.min:.4f} {spread.max:.4f}" in text
    assert "equivalent within ±0.9" in text
    for hole in result.run("<i>").counts.holes:
        assert f"{1 - hole.share:.4f} ({hole.unjudged:,} of {hole.documents:,})" in text
    assert result.trec_eval()[0] in text


def test_columns_of_numbers_are_sorted_as_numbers(files, tmp_path):
    table = [
        ["name", "n", "best", "text", "none", "marked"],
        ["1", "1,024", "0.5 (16)", "7", "", "0.25 +a -b"],
        ["2", "-3", "", "x", "", "0.125 "],
    ]
    path = tmp_path / "r.html"
    result = evaluate_runs(files / "qrels.txt", {"a": files / "bm25.txt"}, metrics=["AP"])
    write_report(path, result, title="t", sections=[("T", table)])
    body = path.read_text().partition("<h2>T</h2>")[2].partition("</table>")[0]
    assert re.findall(r'data-value="([^"]*)"', body) == ["1024.0", "0.5", "0.25", "-3.0", "0.125"]


def test_a_short_row_with_a_long_text_spans_the_table(files, tmp_path):
    result = evaluate_runs(files / "qrels.txt", {"a": files / "bm25.txt"}, metrics=["AP"])
    words = "word " * 40
    write_report(tmp_path / "r.html", result, title="t", sections=[("T", [["run", "n"], ["a", "1"], [words]])])
    body = (tmp_path / "r.html").read_text().partition("<h2>T</h2>")[2].partition("</table>")[0]
    assert f'class="prose" colspan="2">{words.strip()}</td>' in body


def test_what_trec_eval_lacks_has_no_command(files, tmp_path):
    result = evaluate_runs(files / "qrels.txt", {"a": files / "bm25.txt"}, metrics=["Judged@10"])
    write_report(tmp_path / "r.html", result, title="t")
    for text in ((tmp_path / "r.html").read_text(), tables.markdown(result), latex(result)):
        assert "by trec_eval" not in text


def test_long_topic_lists_are_cut_and_say_so(files, tmp_path, monkeypatch):
    monkeypatch.setattr("pyserini_sdr.evaluate.report.MAX_TOPICS", 10)
    runs = {"a": files / "bm25.txt", "b": files / "tuned.txt"}
    write_report(tmp_path / "r.html", evaluate_runs(files / "qrels.txt", runs), title="t")
    text = " ".join((tmp_path / "r.html").read_text().split())
    assert "The 10 of 60 topics on which the runs differ most." in text


points = st.lists(st.tuples(st.floats(1, 1e6), st.floats(-1e6, 1e6)), max_size=70)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=("C",))), points, max_size=3), st.booleans())
def test_line_plots_are_well_formed(series, log_x):
    svg = plots.line_plot(series, x_label="x <1>", y_label='"y"', log_x=log_x)
    root = ElementTree.fromstring(f"<div>{svg}</div>")
    assert "nan" not in svg
    lines = [element for element in root.iter() if element.tag == "polyline"]
    assert len(lines) == (len(series) if any(series.values()) else 0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), max_size=50))
def test_difference_plots_are_well_formed(differences):
    root = ElementTree.fromstring(plots.difference_plot(differences, label="a & b"))
    paths = [element for element in root.iter() if element.tag == "path"]
    assert len(paths) == any(d > 0 for d in differences) + any(d < 0 for d in differences)


def test_interval_plot_places_means_in_order():
    svg = plots.interval_plot([("a", 0.2, 0.1, 0.3), ("b" * 40, 0.5, 0.4, 0.6)], label="m")
    root = ElementTree.fromstring(svg)
    first, second = [float(e.attrib["cx"]) for e in root.iter() if e.tag == "circle"]
    assert first < second
    ElementTree.fromstring(plots.interval_plot([("a", 1.0, 1.0, 1.0)], label="m"))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.213, 0.219), (-3.0, 400.0), (1.0, 1.0)])
def test_ticks_are_round_and_inside(low, high):
    found = plots.ticks(low, high)
    assert 1 <= len(found) <= 8
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)
