"""`evaluate`: flags → engine → table on standard output and files in a directory."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ..core.errors import UsageError
from ..core.files import atomic_directory, atomic_file
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..trec.topics import read_topics
from . import tables
from .command import EvaluateOptions
from .engine import Evaluation, evaluate_runs, run_names
from .training import HEADER, Training, read_trainings, sections


def execute(options: EvaluateOptions) -> None:
    """Evaluates, prints the table, and writes `--output`."""
    _check_output(options)
    queries = read_topics(options.topics) if options.topics else {}
    trainings = read_trainings(options.training or [])
    names = run_names(options.runs, options.names)
    evaluation = evaluate_runs(
        options.qrels,
        dict(zip(names, options.runs, strict=True)),
        options.baseline,
        options.metrics,
        test=options.test,
        correction=options.correction,
        seed=options.seed,
        relevance_level=options.relevance_level,
    )
    print(render(evaluation, options.format, per_query=options.per_query, trainings=trainings), end="")
    if options.output is not None:
        _write(evaluation, options, queries, trainings)
        note(f"{options.output}: table.md, table.csv, results.json, report.html")


def _check_output(options: EvaluateOptions) -> None:
    """Refuses a used `--output` before the work, not after it."""
    path = options.output
    if path is None or not path.exists():
        return
    if not path.is_dir():
        raise UsageError(f"--output {path}: is a file, expected a directory")
    if any(path.iterdir()) and not options.overwrite:
        raise UsageError(f"--output {path}: already exists and is not empty; give another path or --overwrite")


def render(evaluation: Evaluation, format: str, *, per_query: bool = False, trainings: Sequence[Training] = ()) -> str:
    """The evaluation as `markdown` (with a table of what training cost), `csv` or `json`."""
    if format == "json":
        return json.dumps(evaluation.to_dict(per_query=per_query), indent=2, ensure_ascii=False) + "\n"
    if format == "csv":
        return tables.csv_text(evaluation, per_query=per_query)
    text = tables.markdown(evaluation, per_query=per_query)
    if trainings:
        text += "\n" + tables.markdown_table(HEADER, [training.row() for training in trainings]) + "\n"
    return text


def _write(
    evaluation: Evaluation, options: EvaluateOptions, queries: dict[str, str], trainings: Sequence[Training]
) -> None:
    from .report import write_report

    with atomic_directory(options.output, overwrite=options.overwrite) as directory:
        for name, format in (("table.md", "markdown"), ("table.csv", "csv")):
            with atomic_file(directory / name) as handle:
                handle.write(render(evaluation, format, per_query=options.per_query, trainings=trainings))
        write_report(
            directory / "report.html",
            evaluation,
            title=f"Evaluation on {options.qrels.name}",
            sections=sections(trainings),
            queries=queries,
        )
        inputs = [options.qrels, *options.runs, *([options.topics] if options.topics else [])]
        results = evaluation.to_dict(per_query=options.per_query)
        write_manifest(
            directory / "results.json",
            "evaluation",
            config=as_dict(options),
            inputs=inputs,
            seed=options.seed,
            results=results,
            training={training.name: training.manifest for training in trainings},
        )
