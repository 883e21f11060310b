"""The work of `train`: data, encoder, dev pool, trainer, and a finished checkpoint."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from transformers import set_seed

from ..core.errors import DataError, SdrError, UsageError
from ..core.files import file_sha256, read_json, remove_stale, require_file, write_json
from ..core.job import rank
from ..core.options import as_dict
from ..core.plan import hold_to_plan
from ..core.progress import note, warn
from ..data.doctext import normalise
from ..encode.ranks import one_of_a_job
from ..losses import parse_losses
from ..model.encoder import BiEncoder
from ..model.fingerprint import weights_fingerprint
from ..model.names import ResolvedEncoder
from ..model.training import full_disk_in_words, last_checkpoint
from .assemble import load_encoder, load_tower, make_trainer, resolve_cluster_encoder
from .data import NO_DEV, TrainingData, load_data, parse_collections
from .dev import DevEvaluator
from .finish import MANIFEST, finish
from .gather import this_rank
from .log import LOG, PLOT
from .needs import FROM_TEACHERS
from .options import TrainOptions
from .trainer import SdrTrainer

PLAN = "plan.json"
WORK = ".train"
"""Folder for intermediate checkpoints inside the output, removed at the end."""


def train(options: TrainOptions) -> None:
    """Trains as the options say; the output directory is finished when it holds `sdr_train.json`."""
    with one_of_a_job():
        _train(options)


def _train(options: TrainOptions) -> None:
    start = time.perf_counter()
    losses = parse_losses(options.loss, options.loss_option or [])
    collections = parse_collections(options.collection)
    if options.refresh_negatives is not None:
        for collection, _ in collections:
            if not collection.has_pairs(options.train_split):
                raise UsageError(f"--refresh-negatives: {collection.path} has no training pairs to mine for")
    _require_files(options)
    needy = next((name for loss, name, _ in losses if loss.needs & FROM_TEACHERS), None)
    if needy and options.groups is None and options.teacher is None:  # nothing can hold scores: no need to mine first
        raise UsageError(f"--loss {needy}: needs a teacher; give --teacher CHECKPOINT, or --groups with scores")
    work = _prepare(options)
    set_seed(options.seed)  # also for weights that a checkpoint lacks, such as an unused pooler
    encoder = load_encoder(options)
    tower = load_tower(options, encoder)
    clusterer = resolve_cluster_encoder(options)
    _hold_to_plan(options, encoder, clusterer, work)
    with _no_plan_of_a_refused_run(work):
        data = load_data(options, collections, losses, work)
        dev = None
        if options.dev_split != NO_DEV:
            dev = DevEvaluator(
                collections[0][0],
                options.dev_split,
                options.dev_metric,
                pool_size=options.dev_pool,
                max_queries=options.dev_queries,
                seed=options.seed,
                run=options.dev_run or data.dev_run,
                tower=tower,
            )
            note(f"dev: {dev.description}")
            _warn_of_leaks(data, dev)
        opened = [collection for collection, _ in collections]
        trainer = make_trainer(options, encoder, tower, losses, data, opened, dev, work)
    data_seconds = time.perf_counter() - start
    with full_disk_in_words(options.output):
        before = _run(trainer, options, work)
        this_rank().barrier()  # nobody reads in `work` any more
        if trainer.is_world_process_zero():
            facts = {"data_seconds": round(data_seconds, 1), "groups": data.queries}
            finish(trainer, options, before, facts, dev, work)
        this_rank().barrier()  # until then the others can tell if the first one dies


def _warn_of_leaks(data: TrainingData, dev: DevEvaluator) -> None:
    """Warns if dev queries are trained on: dev then selects the checkpoint that knows them by heart."""
    trained = {normalise(group.query) for source in data.sources for group in source.groups}
    known = [qid for qid, text in dev.topics.items() if normalise(text) and normalise(text) in trained]
    if known:
        warn(
            f"{len(known)} of {len(dev.topics)} dev queries are training queries too (first: {known[0]!r}): dev is too "
            "good; collection check lists them"
        )


def _prepare(options: TrainOptions) -> Path:
    """Refuses or clears what is in the output, and returns the folder for intermediate files."""
    output, work = options.output, options.output / WORK
    if rank() > 0:
        return work
    if output.exists() and not output.is_dir():
        raise DataError(output, "is a file, cannot make a checkpoint there")
    remove_stale(work.with_name(WORK.removeprefix(".")))  # intermediate files that a killed process was deleting
    if options.overwrite:
        for name in (MANIFEST, LOG, PLOT):
            (output / name).unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
    elif (output / MANIFEST).exists():
        raise DataError(output, "already holds a trained checkpoint", remedy="give another directory or --overwrite")
    elif output.exists() and any(output.iterdir()) and not work.exists():
        raise DataError(output, "already exists and is not empty", remedy="give another directory or --overwrite")
    return work


def _require_files(options: TrainOptions) -> None:
    """Refuses a file that is not there before anything is mined, or written into the plan."""
    runs = None if options.dev_run is None else [options.dev_run]
    given = (("--groups", options.groups), ("--document-queries", options.document_queries), ("--dev-run", runs))
    for flag, paths in given:
        for path in paths or ():
            require_file(path, f"file ({flag})")


def _hold_to_plan(options: TrainOptions, encoder: BiEncoder, clusterer: ResolvedEncoder | None, work: Path) -> None:
    """Writes down what is trained on, and refuses to resume a run of something else."""
    if rank() > 0:
        return
    plan = {key: value for key, value in as_dict(options).items() if key not in ("overwrite", "report_to")}
    plan["weights"] = encoder.fingerprint
    plan["document_weights"] = encoder.spec.document_weights
    plan["cluster_weights"] = weights_fingerprint(clusterer.directory) if clusterer else None
    for name in ("groups", "document_queries"):
        files = getattr(options, name) or ()
        plan[f"{name}_sha256"] = [file_sha256(path) for path in files]
    hold_to_plan(work / PLAN, plan, output=options.output, what="an interrupted training")


@contextmanager
def _no_plan_of_a_refused_run(work: Path) -> Iterator[None]:
    """Removes the plan again if its block refuses to run: mended input would be taken for that of another run.

    What has been mined is kept, and the plan with it.
    """
    try:
        yield
    except SdrError:
        if rank() == 0 and [path.name for path in work.iterdir()] == [PLAN]:
            shutil.rmtree(work)
            with suppress(OSError):  # it is not empty
                work.parent.rmdir()
        raise


def _stopped_early(checkpoint: Path, patience: int) -> bool:
    """Whether the run ended with this checkpoint, because dev did not get better any more."""
    callback = read_json(checkpoint / "trainer_state.json").get("stateful_callbacks", {}).get("EarlyStoppingCallback")
    return bool(patience and callback and callback["attributes"]["early_stopping_patience_counter"] >= patience)


def _run(trainer: SdrTrainer, options: TrainOptions, work: Path) -> dict[str, Any]:
    """Trains, from the last checkpoint if there is one; returns what was known before: dev score, triples, seconds."""
    facts_file = work / "facts.json"
    checkpoint = last_checkpoint(work)
    facts = read_json(facts_file) if facts_file.exists() else {}
    this_rank().barrier()  # nobody writes before everybody has looked
    if checkpoint is not None:
        trainer.source.start = read_json(checkpoint / "trainer_state.json")["global_step"]
        note(f"resuming after step {trainer.source.start}")
    if trainer.dev is not None and "untrained" not in facts:
        facts["untrained"] = trainer.untrained()
        note(f"untrained: dev {trainer.dev.metric} {facts['untrained']:.4f}")
        if trainer.is_world_process_zero():
            write_json(facts_file, facts)
    trainer.begin(checkpoint)
    if checkpoint is not None and _stopped_early(checkpoint, options.patience):
        trainer.finish_from(checkpoint)
    else:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    facts["train_seconds"] = round(trainer.seconds, 1)
    facts["resumed_after_step"] = trainer.source.start
    return facts
