"""The sections of the report on load: what each command took of memory and time at the sizes that it was run at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import report_plots as plots
from material import in_words
from report_sections import Figures, Result
from report_text import megabytes, number, seconds, table

Stage = dict[str, Any]


def load_vectors(result: Result, figures: Figures) -> str:
    names = ("index build", "index info", "index verify", "search dense")
    rows = [
        [
            type_,
            megabytes(record["bytes"]),
            *(f"{seconds(stage['seconds'])}, {megabytes(stage['peak_memory_bytes'])}" for stage in record["stages"]),
            *(f"{value:.3f}" for value in record["recall"].values()),
        ]
        for type_, record in result["types"].items()
    ]
    stages = [stage for record in result["types"].values() for stage in record["stages"]]
    depths = [f"recall@{depth}" for depth in next(iter(result["types"].values()))["recall"]]
    text = (
        f"{result['vectors']:,} vectors, made without a model: each is the mean of three random vectors of a "
        f"flat index of real texts, at length 1. Search: {result['queries']:,} topics, {result['hits']} hits, imports "
        "and encoding included; recall is against exact search. Given are wall time and peak memory of all processes "
        f"of a command together; mapped files count as far as they are in memory. {_busy(stages, result)}\n"
    )
    head = ["", "file", *names, *depths]
    return "\n".join([text, _figure(figures, "load_vectors", stages), table(head, rows)])


def load_queries(result: Result, figures: Figures) -> str:
    stages = result["stages"]
    text = (
        f"{result['queries']:,} topics in one run: `search dense` with {result['hits']} documents each, over "
        f"{result['vectors']:,} random vectors of {result['dimension']} dimensions, with an encoder of one layer; "
        f"`search bm25` with {result['bm25_hits']}, over the collection; `run fuse` of these two runs; `search hybrid` "
        f"of {result['hybrid_queries']:,} topics and {result['hits']} documents. {_busy(stages, result)}\n"
    )
    return _by_size("load_queries", text, stages, figures)


def load_run(result: Result, figures: Figures) -> str:
    stages = result["stages"]
    text = (
        f"Synthetic runs of {result['topics']:,} topics and {result['depth']:,} documents each, {result['lines']:,} "
        f"lines, {megabytes(result['bytes'])}; `run fuse` reads two of them. Measures: {', '.join(result['metrics'])}. "
        f"{_busy(stages, result)}\n"
    )
    return _by_size("load_run", text, stages, figures)


def _busy(stages: Sequence[Stage], result: Result) -> str:
    """On the machine's load, which decides what the times are worth."""
    loads = [load for stage in stages for load in stage["load_average"]]
    together = f"{result['jobs']} commands ran at a time. " if result["jobs"] > 1 else ""
    missing = f" Ended early, without: {'; '.join(result['missing'])}." if result["missing"] else ""
    low, high = number(min(loads)), number(max(loads))
    return (
        f"{together}The load average was between {low} and {high} meanwhile: beyond the number of "
        "cores other work had its share of them, and times are that much longer; memory is not more."
        f"{missing}"
    )


def _largest(stages: Sequence[Stage]) -> list[Stage]:
    """Each command at its largest size."""
    sizes = {stage["name"]: max(s["size"] for s in stages if s["name"] == stage["name"]) for stage in stages}
    return [stage for stage in stages if stage["size"] == sizes[stage["name"]]]


def _by_size(name: str, text: str, stages: Sequence[Stage], figures: Figures) -> str:
    """A section: its text, a figure of each command at its largest size, a table of all sizes."""
    rows = [
        [
            f"`{stage['name']}`",
            in_words(stage["size"]),
            megabytes(stage["peak_memory_bytes"]),
            seconds(stage["seconds"]),
            " to ".join(f"{load:g}" for load in stage["load_average"]),
        ]
        for stage in sorted(stages, key=lambda stage: [s["name"] for s in stages].index(stage["name"]))
    ]
    head = ["", "topics (documents indexed)", "peak memory", "time", "load average"]
    return "\n".join([text, _figure(figures, name, _largest(stages)), table(head, rows)])


def _figure(figures: Figures, name: str, stages: Sequence[Stage]) -> str:
    path, image = figures.add(name, "peak memory by command")
    peaks = {stage["name"]: stage["peak_memory_bytes"] / 1e9 for stage in stages}
    plots.bars(path, {"": {key: {"median": gb, "min": gb, "max": gb} for key, gb in peaks.items()}}, "peak memory, GB")
    return image
