"""The work of `teach`: groups in, groups with scores out, window by window."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from ..core.errors import DataError, UsageError, unknown
from ..core.files import atomic_file, file_sha256, read_json, write_json
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.plan import hold_to_plan
from ..core.progress import bar, note
from ..data.collection import Collection
from ..data.corpus import corpus_files
from ..data.group import Group
from ..data.groups import iter_located_groups, read_groups, write_groups
from ..data.sources import TEACHER
from ..data.store import DocumentStore
from .layouts import is_tsv, iter_input, refuse_texts, write_teacher_tsv
from .loading import load_teacher
from .options import TeachOptions
from .teachers import ModelTeacher, RunTeacher, Teacher, candidates, teacher_names
from .work import parts_of, start_anew_without

_UNFINISHED = "unfinished scores"
_WINDOWS = "[0-9]*.jsonl"
"""The files of finished windows."""


def teach(options: TeachOptions) -> None:
    """Scores groups, converts them, or with `--train` fine-tunes a cross-encoder on them."""
    if options.train:
        from .finetune import finetune

        finetune(options)
    elif options.teacher or options.run:
        score(options)
    else:
        convert(options)


@dataclass
class Survey:
    """What is in the groups.

    Args:
        groups: how many.
        pairs: documents to be scored, over all groups.
        triples: pairs of a positive and a negative.
        names: of the scores that they hold already, in order of appearance.
    """

    groups: int = 0
    pairs: int = 0
    triples: int = 0
    names: dict[str, None] = field(default_factory=dict)


def score(options: TeachOptions) -> None:
    """Adds the teachers' scores to every document of every group.

    Groups are scored in windows of queries; a finished window is a file in `OUTPUT.parts`, and is not scored again when
    the command is. Batches never cross a window, so that a resumption changes no byte of the result.
    """
    models, runs = options.teacher or [], options.run or []
    names = teacher_names(models, runs, options.name)
    if is_tsv(options.output) and len(names) > 1:
        raise UsageError(f"--output {options.output}: a .tsv holds the scores of one teacher, {len(names)} are given")
    parts = parts_of(options.output, overwrite=options.overwrite, directory=False)
    topics = _topics_sha256(options)
    groups = _as_jsonl(options, parts, topics)
    store = None
    if models and options.collection is not None:
        store = DocumentStore(Collection.open(options.collection).corpus)
    survey = _survey(options, groups, names, store)
    note(f"{options.groups}: {survey.groups:,} queries, {survey.pairs:,} documents to score")
    teachers = _load_teachers(options, names, groups, store)
    plan = {
        "groups_sha256": file_sha256(options.groups),
        "split": None if topics is None else options.split,
        "topics_sha256": topics,
        "corpus": _corpus_files(options.collection) if store is not None else None,
        "window": options.window,
        "teachers": {teacher.name: teacher.identity() for teacher in teachers},
        "overwrite_scores": options.overwrite_scores,
    }
    start_anew_without(any(parts.glob(_WINDOWS)), parts / "plan.json")
    hold_to_plan(parts / "plan.json", plan, output=options.output, what=_UNFINISHED)
    files, resumed, scored = _score_windows(options, groups, teachers, survey, parts)
    seconds = read_json(parts / "seconds.json")
    counts = _join(options, files, teachers[0].name)
    write_manifest(
        options.output.with_name(options.output.name + ".json"),
        "groups",
        config=as_dict(options),
        inputs=[options.groups, *runs],
        groups=survey.groups,
        pairs=survey.pairs,
        **counts,
        teachers=plan["teachers"],
        scoring_seconds=round(seconds, 1),
        pairs_per_second=round(survey.pairs * len(teachers) / max(seconds, 1e-9), 1),
        resumed_windows=resumed,
    )
    shutil.rmtree(parts)
    note(f"{options.output}: {survey.groups:,} queries, {scored:,} scores in {seconds:.1f} s")


def convert(options: TeachOptions) -> None:
    """Rewrites groups in the other layout, without scoring anything."""
    source, output = options.groups, options.output
    if not is_tsv(source) and not is_tsv(output):
        raise UsageError("--teacher: is required, or a --run; without one, only .tsv and .jsonl are made of each other")
    if options.name is not None and len(options.name) != 1:
        raise UsageError(f"--name {' '.join(options.name)}: one name is enough to convert")
    if output.exists() and not options.overwrite:
        raise DataError(output, "already exists", remedy="give another path or --overwrite")
    given = options.name[0] if options.name else None
    counts: dict[str, Any] = {}

    def record(**numbers: int) -> None:
        counts.update(numbers)
        manifest = output.with_name(output.name + ".json")
        write_manifest(manifest, "groups", config=as_dict(options), inputs=[source], **counts)

    if is_tsv(output):
        known = [TEACHER]
        if not is_tsv(source):
            known = list(dict.fromkeys(name for group in read_groups(source) for name in group.scores))
        if not known:
            raise DataError(source, "holds no scores to write", remedy="score the groups: --teacher or --run")
        if given is not None and given not in known:
            raise UsageError(f"--name: {unknown('teacher', given, known)}")
        if given is None and len(known) > 1:
            raise UsageError(f"--name: is required, {source} holds scores of {', '.join(known)}")
        name = given or known[0]
        counts["teacher"] = name
        located = iter_input(source, options.collection, options.split)
        write_teacher_tsv(
            output,
            (group for _, group in located),
            name,
            lambda written, lacking: record(triples=written, triples_without_scores=lacking),
        )
    else:
        name = counts["teacher"] = given or TEACHER
        write_groups(output, _renamed(options, name), lambda count: record(groups=count))
    note(f"{output}: " + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items()))


def _renamed(options: TeachOptions, name: str) -> Iterator[Group]:
    for _, group in iter_input(options.groups, options.collection, options.split):
        group.scores = {name: group.scores[TEACHER]}
        yield group


def _topics_sha256(options: TeachOptions) -> str | None:
    """Of the topics that give triples their queries; None for groups, which carry them."""
    if not is_tsv(options.groups) or options.collection is None:
        return None
    return file_sha256(Collection.open(options.collection).topics_path(options.split))


def _as_jsonl(options: TeachOptions, parts: Path, topics: str | None) -> Path:
    """The groups as a file that can be streamed again and again: triples are gathered once."""
    if not is_tsv(options.groups):
        return options.groups
    path = parts / f"groups-{file_sha256(options.groups)[:16]}-{(topics or '')[:16]}.jsonl"
    if not path.exists():
        located = iter_input(options.groups, options.collection, options.split)
        write_groups(path, (group for _, group in bar(located, unit="query", desc="gather triples")))
    return path


def _survey(options: TeachOptions, groups: Path, names: Sequence[str], store: DocumentStore | None) -> Survey:
    """Counts, and refuses what would stop the scoring later."""
    survey = Survey()
    for number, group in iter_located_groups(groups):
        line = number if groups == options.groups else None
        taken = [name for name in names if name in group.scores]
        if taken and not options.overwrite_scores:
            raise DataError(
                options.groups,
                f"query {group.query_id!r} has scores of {taken[0]!r} already",
                line=line,
                remedy="--overwrite-scores to replace them, or --name another name",
            )
        if is_tsv(options.output):
            refuse_texts(options.groups, group, line)
        own = candidates(group)
        if options.teacher:
            _check_texts(options, group, [c.id for c in own.values() if c.text is None], store, line)
        survey.groups += 1
        survey.pairs += len(own)
        survey.triples += len(group.positives) * len(group.negatives)
        survey.names |= dict.fromkeys(group.scores)
    if is_tsv(options.output) and not survey.triples:
        raise DataError(
            options.groups,
            "no query has a negative, and a .tsv holds pairs of a positive and a negative: nothing to write",
            remedy="write .jsonl, or mine negatives first",
        )
    others = [name for name in survey.names if name not in names]
    if is_tsv(options.output) and others:
        note(f"{options.output}: a .tsv holds one teacher's scores, those of {', '.join(others)} are left out")
    return survey


def _check_texts(
    options: TeachOptions, group: Group, docids: Sequence[str | None], store: DocumentStore | None, line: int | None
) -> None:
    if docids and store is None:
        raise UsageError(f"--collection: is required, {options.groups} has documents without a text")
    missing = store.missing(docid for docid in docids if docid is not None) if store is not None else []
    if missing:
        raise DataError(
            options.groups,
            f"document {missing[0]!r} of query {group.query_id!r} is not in the corpus of {options.collection}",
            line=line,
            remedy="give the collection that the groups were made from",
        )


def _load_teachers(
    options: TeachOptions, names: Sequence[str], groups: Path, store: DocumentStore | None
) -> list[Teacher]:
    teachers: list[Teacher] = []
    models = options.teacher or []
    for name, model in zip(names, models, strict=False):
        scorer = load_teacher(model, device=options.device, precision=options.precision, max_length=options.max_length)
        note(f"{name}: {type(scorer).__name__} {scorer.resolved}")
        teachers.append(ModelTeacher(name, scorer, store))
    for name, run in zip(names[len(models) :], options.run or [], strict=True):
        wanted = ((group.query_id, key) for group in read_groups(groups) for key in candidates(group))
        teachers.append(RunTeacher(name, run, wanted, options.missing))
    return teachers


def _corpus_files(collection: Path | None) -> list[list[Any]]:
    """Names, sizes and times of the corpus files: enough to notice another corpus, without reading it."""
    assert collection is not None
    files = corpus_files(Collection.open(collection).corpus)
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _score_windows(
    options: TeachOptions, groups: Path, teachers: Sequence[Teacher], survey: Survey, parts: Path
) -> tuple[list[Path], int, int]:
    """Scores what is not there yet; returns the windows' files, how many there were before, and the new scores."""
    clock = parts / "seconds.json"
    before = read_json(clock) if clock.exists() else 0.0
    write_json(clock, before)
    files: list[Path] = []
    resumed = scored = 0
    start = time.perf_counter()
    with bar(total=survey.pairs * len(teachers), unit="pair", desc="teach") as progress:
        for window in _windows(read_groups(groups), options.window):
            files.append(parts / f"{len(files):06d}.jsonl")
            if files[-1].exists():
                resumed += 1
                progress.update(sum(len(candidates(group)) for group in window) * len(teachers))
                continue
            for teacher in teachers:
                for group, table in zip(window, teacher.score(window, progress.update), strict=True):
                    group.scores.pop(teacher.name, None)
                    if table:
                        group.scores[teacher.name] = table
                    scored += len(table)
            write_groups(files[-1], window)
            write_json(clock, before + time.perf_counter() - start)
    if resumed:
        note(f"resumed: {resumed} of {len(files)} windows were there")
    return files, resumed, scored


def _windows(groups: Iterator[Group], size: int) -> Iterator[list[Group]]:
    while window := list(islice(groups, size)):
        yield window


def _join(options: TeachOptions, files: Sequence[Path], name: str) -> dict[str, int]:
    if is_tsv(options.output):
        groups = (group for file in files for group in read_groups(file))
        written, lacking = write_teacher_tsv(options.output, groups, name)
        return {"triples": written, "triples_without_scores": lacking}
    with atomic_file(options.output, "wb") as handle:
        for file in files:
            with file.open("rb") as part:
                shutil.copyfileobj(part, handle)
    return {}
