"""The report of `adapt.sh`, and the check that comes before the work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyserini_sdr.core.command import Command, CommandGroup, main
from pyserini_sdr.core.options import option

if TYPE_CHECKING:
    from pyserini_sdr.evaluate.results import Evaluation


@dataclass
class CheckOptions:
    corpus: Path = option(help="corpus that the topics will be searched in")
    topics: Path = option(help="real topics")
    qrels: Path = option(help="their judgements")


@dataclass
class InputsOptions:
    corpus: Path = option(help="corpus")
    files: list[Path] | None = option(None, help="other files, and directories of them")


@dataclass
class ReportOptions:
    output: Path = option(help="output directory of adapt.sh", metavar="DIR")
    topics: Path | None = option(None, help="real topics")
    qrels: Path | None = option(None, help="their judgements")


def check(options: CheckOptions) -> None:
    """Refuses topics, judgements and a corpus that do not fit together."""
    from pyserini_sdr.core.errors import DataError
    from pyserini_sdr.core.progress import bar, warn
    from pyserini_sdr.data.corpus import iter_documents
    from pyserini_sdr.trec.qrels import read_qrels
    from pyserini_sdr.trec.topics import read_topics

    topics, qrels = read_topics(options.topics), read_qrels(options.qrels)
    judged = {docid for grades in qrels.values() for docid, grade in grades.items() if grade > 0}
    documents = bar(iter_documents(options.corpus), unit="doc", desc="check judgements")
    absent = judged - {document.id for document in documents if document.id in judged}
    if not topics.keys() & qrels.keys():
        raise DataError(options.qrels, f"judges none of the topics of {options.topics}")
    if absent == judged:
        raise DataError(options.qrels, f"none of its {len(judged):,} relevant documents is in {options.corpus}")
    if absent:
        warn(f"{options.qrels}: {len(absent):,} of {len(judged):,} relevant documents are not in the corpus")


def inputs(options: InputsOptions) -> None:
    """Prints path, size and time of every input file: what is made of them is stale when this changes."""
    from pyserini_sdr.data.corpus import corpus_files

    files = corpus_files(options.corpus)
    for given in options.files or ():
        files += sorted(path for path in given.rglob("*") if path.is_file()) if given.is_dir() else [given]
    for path in files:
        found = path.stat()
        print(path, found.st_size, found.st_mtime_ns, sep="|")


@dataclass
class Part:
    """One evaluation of the report: its heading, what it measures, and its numbers."""

    heading: str
    note: str
    evaluation: Evaluation


def report(options: ReportOptions) -> None:
    """Prints the tables and writes `report.md` and `report.html`; the page begins with the real queries, if given."""
    from pyserini_sdr.core.files import atomic_file
    from pyserini_sdr.core.manifest import read_manifest
    from pyserini_sdr.core.tables import markdown_table
    from pyserini_sdr.evaluate import tables
    from pyserini_sdr.evaluate.report import Section, write_report
    from pyserini_sdr.evaluate.training import HEADER, read_trainings, sections
    from pyserini_sdr.trec.topics import read_topics

    trainings = read_trainings([f"adapted={options.output / 'checkpoint'}"])
    source = read_manifest(options.output / "pseudo" / "collection.json")["pseudo_queries"]["source"]
    title = f"{Path(trainings[0].manifest['config']['encoder']).name} adapted to {Path(source).name}"
    first, *others = parts = _parts(options)
    verdict = _verdict(trainings[0].manifest["selection"])
    text = f"# {title}\n\n{verdict}\n\n"
    for part in parts:
        text += f"## {part.heading}\n\n{part.note}\n\n{tables.markdown(part.evaluation)}\n"
    text += f"## Training\n\n{markdown_table(HEADER, [training.row() for training in trainings])}\n"
    more: list[Section] = [("What the tables above measure", [[first.heading], [first.note], [verdict]])]
    for part in others:
        found = part.evaluation
        cells = [
            [f"{run.means[m]:.4f} {tables.marks(found, run.name, m)}" for m in found.measures] for run in found.runs
        ]
        rows = [[run.name, *values] for run, values in zip(found.runs, cells, strict=True)]
        more.append((part.heading, [["run", *found.measures], *rows, [part.note]]))
    with atomic_file(options.output / "report.md") as handle:
        handle.write(text)
    write_report(
        options.output / "report.html",
        first.evaluation,
        title=f"{title}: {first.heading.lower()}",
        sections=[*more, *sections(trainings)],
        queries=read_topics(options.topics or options.output / "pseudo" / "topics.test.tsv"),
    )
    print(text, end="")


def _verdict(selection: dict[str, Any]) -> str:
    """What dev says of the checkpoint: an adaptation that gains nothing there should not be used unseen."""
    scores = f"{selection['untrained']:.4f} → {selection['best']:.4f}"
    if selection["best"] > selection["untrained"]:
        return f"Held-out dev pseudo-queries, by which the checkpoint was selected: {scores}."
    return (
        f"No gain: no checkpoint was better on dev pseudo-queries than the untrained encoder ({scores}). Without "
        "real queries that say otherwise, keep the untrained one; another --method, --loss or rate may do better."
    )


def _parts(options: ReportOptions) -> list[Part]:
    from pyserini_sdr.core.manifest import read_manifest
    from pyserini_sdr.evaluate.engine import evaluate_runs

    def evaluation(qrels: Path, kind: str) -> Evaluation:
        paths = {name: options.output / "runs" / f"{name}.{kind}.trec" for name in ("bm25", "untrained", "adapted")}
        return evaluate_runs(qrels, {name: path for name, path in paths.items() if path.exists()}, ["untrained"])

    pseudo = options.output / "pseudo"
    about = read_manifest(pseudo / "collection.json")
    caution = (
        f"Known-item task: {about['counts']['test_queries']:,} pseudo-queries made by "
        f"{about['pseudo_queries']['method']} from documents that no training query comes from, over "
        f"{about['counts']['documents']:,} documents from which the queries are cut out. It tells whether the encoder "
        "has learnt what it was trained for, not how well it serves real queries."
    )
    parts = [Part("Held-out pseudo-queries (known-item)", caution, evaluation(pseudo / "qrels.test.txt", "pseudo"))]
    if options.topics is not None and options.qrels is not None:
        note = f"{options.topics.name} and {options.qrels.name}, over the whole original corpus; no part of training."
        parts.insert(0, Part("Real queries", note, evaluation(options.qrels, "topics")))
    return parts


COMMAND = CommandGroup(
    "Parts of adapt.sh.",
    {
        "check": Command("Checks that topics, judgements and corpus fit together.", CheckOptions, "__main__:check"),
        "inputs": Command("Prints the state of the input files.", InputsOptions, "__main__:inputs"),
        "report": Command("Writes report.md and report.html.", ReportOptions, "__main__:report"),
    },
)

if __name__ == "__main__":
    main(COMMAND, "adapt_report")
