"""`evaluate`: flags → engine → tables on standard output and files in a directory."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..core.errors import DataError, UsageError
from ..core.files import atomic_directory, atomic_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..core.tables import markdown_table
from ..trec.topics import read_topics
from . import latex, tables
from .command import EvaluateOptions, Format
from .engine import RunFiles, evaluate_runs, run_names
from .results import Evaluation
from .training import HEADER, Training, read_trainings, sections

_FILES: dict[str, Format] = {"table.md": "markdown", "table.csv": "csv", "table.tex": "latex"}


def execute(options: EvaluateOptions) -> None:
    """Evaluates, prints the tables, and writes `--output`."""
    _check_output(options)
    runs = _runs(options)
    queries = read_topics(options.topics) if options.topics else {}
    trainings = read_trainings(options.training or [])
    evaluation = evaluate_runs(
        options.qrels,
        runs,
        options.baseline,
        options.metrics,
        preset=options.preset,
        test=options.test,
        correction=options.correction,
        equivalence_margin=options.equivalence_margin,
        seed=options.seed,
        relevance_level=options.relevance_level,
    )
    if options.format == "csv":  # the other formats say it themselves
        for line in [*evaluation.notes(), *evaluation.trec_eval()]:
            note(line)
    print(render(evaluation, options.format, per_query=options.per_query, trainings=trainings), end="")
    if options.output is not None:
        _write(evaluation, options, queries, trainings)
        note(f"{options.output}: {', '.join(_FILES)}, per_query.csv, results.json, report.html")


def _runs(options: EvaluateOptions) -> dict[str, RunFiles]:
    """Name → run, then name → runs of its seeds."""
    paths = options.runs or []
    if not paths and not options.seeds:
        raise UsageError("--runs or --seeds is required")
    runs: dict[str, RunFiles] = dict(zip(run_names(paths, options.names), paths, strict=True))
    seeds: dict[str, list[str]] = {}
    for spec in options.seeds or []:
        name, _, files = spec.partition("=")
        if not name or not files or "" in files.split(","):
            raise UsageError(f"--seeds {spec}: expected NAME=RUN,RUN,...")
        seeds.setdefault(name, []).extend(files.split(","))
    for name in seeds:
        if name in runs:
            raise UsageError(f"--seeds: {name!r} is the name of a run too; give another, or --names")
    return runs | seeds


def _check_output(options: EvaluateOptions) -> None:
    """Refuses a used `--output` before the work, not after it."""
    path = options.output
    if path is None or not path.exists():
        return
    if not path.is_dir():
        raise DataError(path, "is a file, expected a directory (--output)")
    if any(path.iterdir()) and not options.overwrite:
        raise DataError(path, "already exists and is not empty", remedy="give another directory or --overwrite")


def render(
    evaluation: Evaluation, format: Format, *, per_query: bool = False, trainings: Sequence[Training] = ()
) -> str:
    """The evaluation as `markdown` (with a table of what training cost), `csv`, `json` or `latex` (without topics)."""
    if format == "json":
        return json.dumps(evaluation.to_dict(per_query=per_query), indent=2, ensure_ascii=False) + "\n"
    if format == "csv":
        return tables.csv_text(evaluation, per_query=per_query)
    if format == "latex":
        return latex.latex(evaluation)
    text = tables.markdown(evaluation, per_query=per_query)
    if trainings:
        text += "\n" + markdown_table(HEADER, [training.row() for training in trainings]) + "\n"
    return text


def _write(
    evaluation: Evaluation, options: EvaluateOptions, queries: dict[str, str], trainings: Sequence[Training]
) -> None:
    from .report import write_report

    with atomic_directory(options.output, overwrite=options.overwrite) as directory:
        for name, format in _FILES.items():
            with atomic_file(directory / name) as handle:
                handle.write(render(evaluation, format, per_query=options.per_query, trainings=trainings))
        with atomic_file(directory / "per_query.csv") as handle:
            tables.write_per_query(handle, evaluation)
        write_report(
            directory / "report.html",
            evaluation,
            title=f"Evaluation on {options.qrels.name}",
            sections=sections(trainings, evaluation),
            queries=queries,
        )
        runs = [path for run in evaluation.runs for path in run.paths]
        write_manifest(
            directory / "results.json",
            "evaluation",
            config=as_dict(options),
            inputs=[options.qrels, *runs, *([options.topics] if options.topics else [])],
            seed=options.seed,
            results=evaluation.to_dict(per_query=options.per_query),
            training={training.name: training.manifest for training in trainings},
        )
