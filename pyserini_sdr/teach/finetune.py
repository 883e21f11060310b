"""The work of `teach --train`: groups in, a cross-encoder selected on dev out."""

from __future__ import annotations

import math
import shlex
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import set_seed

from ..core.errors import DataError, UsageError
from ..core.files import atomic_directory, file_sha256, read_json
from ..core.job import world
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.plan import hold_to_plan
from ..core.progress import note, warn
from ..data.collection import Collection
from ..data.group import Group
from ..data.sampling import sample_positions
from ..data.store import DocumentStore
from ..model.checkpoint import save_model
from ..model.cross_encoder import AUTO_CLASS, CrossEncoder, pair_length
from ..model.device import document_dtype, resolve_device
from ..model.names import resolve_encoder
from ..model.pretrained import HEADS, check_report, load_pretrained
from ..model.training import full_disk_in_words, last_checkpoint, set_dropout
from .dev import Dev, HeldOutGroups, RerankedRun
from .layouts import iter_input
from .lists import ListSource, ListStep
from .loading import classifies
from .options import TeachOptions
from .trainer import TeachTrainer, make_arguments
from .work import parts_of, start_anew_without

MANIFEST = "sdr_teach.json"
LONGEST = 256
"""Tokens of a pair by default at most."""


def finetune(options: TeachOptions) -> None:
    """Fine-tunes as the options say; the output directory appears when it is complete."""
    assert options.collection is not None and options.encoder is not None
    if world() > 1:
        raise UsageError("--train: runs in one process; start it with python instead of torchrun")
    parts = parts_of(options.output, overwrite=options.overwrite, directory=True, made_by=MANIFEST)
    collection = Collection.open(options.collection)
    store = DocumentStore(collection.corpus)
    groups = _load_groups(options, store)
    groups, dev = _make_dev(options, collection, groups, store)
    note(f"training on {len(groups):,} queries; dev: {dev.description}")
    set_seed(options.seed)  # also for the weights of a new head
    encoder, fresh = load_start(
        options.encoder, device=options.device, precision=options.precision, max_length=options.max_length
    )
    if options.dropout is not None:
        set_dropout(encoder.model, options.dropout)
    _hold_to_plan(options, encoder, parts)
    with full_disk_in_words(options.output):
        trainer, before = _train(options, encoder, groups, store, dev, parts)
        _finish(options, trainer, fresh, before, len(groups))
    shutil.rmtree(parts)


def load_start(
    name: str, *, device: str | None = None, precision: str = "auto", max_length: int | None = None
) -> tuple[CrossEncoder, bool]:
    """What a fine-tuning starts from, and whether it has a new head of one label.

    A sequence classifier of one or two labels is taken as it is; any other transformer, and a classifier of more
    labels, gets the new head.

    Args:
        name: see `model.names.resolve_encoder`.
        device: `cpu`, `cuda`, `cuda:N`; None or `auto` picks a GPU if there is one.
        precision: of scoring.
        max_length: tokens of a pair (default: what the model allows, 256 at most).
    """
    resolved = resolve_encoder(name)
    limit = pair_length(resolved.directory, max_length, LONGEST)
    where = resolve_device(device)
    fresh = not classifies(resolved.directory)
    if not fresh:
        model, tokenizer, report = load_pretrained(resolved.directory, AUTO_CLASS, "a cross-encoder")
        fresh = model.config.num_labels not in (1, 2)
        if not fresh:
            check_report(resolved.directory, report)
    if fresh:
        model, tokenizer, report = load_pretrained(resolved.directory, AUTO_CLASS, "a transformer", num_labels=1)
        body = model.base_model_prefix
        heads = tuple(f"{child}." for child, _ in model.named_children() if child != body)
        check_report(resolved.directory, report, may_lack=(*heads, f"{body}.pooler."), may_have=HEADS)
    note(f"starting from {resolved}" + (", with a new head of one label" if fresh else ""))
    encoder = CrossEncoder(model, tokenizer, limit, resolved=resolved, device=where, precision=precision)
    return encoder, fresh


def _load_groups(options: TeachOptions, store: DocumentStore) -> list[Group]:
    """The groups that have a negative, checked against the corpus."""
    groups, dropped = [], 0
    for line, group in iter_input(options.groups, options.collection, options.split):
        missing = store.missing(c.id for c in (*group.positives, *group.negatives) if c.text is None and c.id)
        if missing:
            raise DataError(
                options.groups,
                f"document {missing[0]!r} of query {group.query_id!r} is not in the corpus",
                line=line,
                remedy="give the collection that the groups were made from",
            )
        if group.negatives:
            groups.append(group)
        else:
            dropped += 1
    if dropped:
        warn(f"{dropped} queries without a negative are left out")
    if len(groups) < 2:
        raise DataError(options.groups, f"{len(groups)} queries with a negative, at least 2 are needed")
    most = max(len(group.negatives) for group in groups)
    if most < options.negatives:
        warn(f"--negatives {options.negatives}: {options.groups} has {most} per query at most")
    return groups


def _make_dev(
    options: TeachOptions, collection: Collection, groups: list[Group], store: DocumentStore
) -> tuple[list[Group], Dev]:
    """The groups left to train on, and what selects the checkpoint."""
    if options.dev_run is not None:
        dev = RerankedRun(
            collection,
            options.dev_split,
            options.dev_run,
            store,
            depth=options.dev_depth,
            max_queries=options.dev_queries,
            seed=options.seed,
        )
        return groups, dev
    count = min(max(1, round(len(groups) / 10)), options.dev_queries)
    held = set(sample_positions(len(groups), count, np.random.default_rng([options.seed, 1])))
    rest = [group for place, group in enumerate(groups) if place not in held]
    return rest, HeldOutGroups([groups[place] for place in sorted(held)], store, depth=options.dev_depth)


def _hold_to_plan(options: TeachOptions, encoder: CrossEncoder, parts: Path) -> None:
    plan = {key: value for key, value in as_dict(options).items() if key not in ("overwrite", "output")}
    plan["weights"] = encoder.fingerprint
    plan["groups_sha256"] = file_sha256(options.groups)
    plan["dev_run_sha256"] = file_sha256(options.dev_run) if options.dev_run else None
    start_anew_without(last_checkpoint(parts) is not None, parts / "plan.json")
    hold_to_plan(parts / "plan.json", plan, output=options.output, what="an interrupted fine-tuning")


def _train(
    options: TeachOptions, encoder: CrossEncoder, groups: list[Group], store: DocumentStore, dev: Dev, parts: Path
) -> tuple[TeachTrainer, int]:
    """The trainer after its last step, and the steps that were done before this process."""
    per_epoch = len(groups) // min(options.batch_size, len(groups))
    steps = options.max_steps or max(1, math.ceil(options.epochs * per_epoch))
    source = ListSource(
        groups, store, batch_size=options.batch_size, steps=steps, negatives=options.negatives, seed=options.seed
    )
    bf16 = document_dtype(options.precision, encoder.device) == torch.bfloat16
    step = ListStep(encoder, options.objective, micro_batch_size=options.micro_batch_size, bf16=bf16)
    checkpoint = last_checkpoint(parts)
    if checkpoint is not None:
        source.start = read_json(checkpoint / "trainer_state.json")["global_step"]
        note(f"resuming after step {source.start}")
    arguments = make_arguments(options, encoder, dev, steps, parts, resumed=checkpoint is not None)
    set_seed(options.seed)
    trainer = TeachTrainer(encoder, step, source, dev, arguments, options.precision)
    trainer.run(checkpoint)
    return trainer, source.start


def _finish(options: TeachOptions, trainer: TeachTrainer, fresh: bool, before: int, queries: int) -> None:
    encoder, state, metric = trainer.encoder, trainer.state, trainer.dev.metric
    key = f"eval_{metric}"
    dev = [{"step": entry["step"], metric: entry[key]} for entry in state.log_history if key in entry]
    steps = [{k: entry[k] for k in ("step", "loss", "learning_rate")} for entry in state.log_history if "loss" in entry]
    untrained = next((entry[metric] for entry in dev if entry["step"] == 0), None)
    if not fresh and untrained is not None and state.best_metric <= untrained:
        warn(f"no checkpoint was better on dev than the cross-encoder it started from ({untrained:.4f})")
    with atomic_directory(options.output, overwrite=options.overwrite) as folder:
        save_model(folder, encoder.model, encoder.tokenizer, encoder.max_length)
        write_manifest(
            folder / MANIFEST,
            "cross-encoder",
            config=as_dict(options),
            inputs=[path for path in (options.groups, options.dev_run) if path is not None],
            start=str(encoder.resolved),
            new_head=fresh,
            max_length=encoder.max_length,
            groups=queries,
            steps=state.global_step,
            pairs=trainer.step.pairs,
            precision="bf16" if trainer.step.bf16 else "fp32",
            train_seconds=round(trainer.seconds, 1),
            resumed_after_step=before,
            selection={
                "dev": trainer.dev.description,
                "untrained": untrained,
                "best": state.best_metric,
                "best_step": state.best_global_step,
            },
            log={"dev": dev, "steps": steps},
        )
    change = "" if untrained is None else f"{untrained:.4f} → "
    note(
        f"{options.output}: {state.global_step} steps, {trainer.step.pairs:,} pairs in {trainer.seconds:.0f} s, "
        f"dev {metric} {change}{state.best_metric:.4f} (step {state.best_global_step})"
    )
    ours = ["python", "-m", "pyserini_sdr.teach", "--collection", str(options.collection)]
    ours += ["--groups", str(options.groups), "--teacher", str(options.output), "--output", "SCORED.jsonl"]
    note(f"score groups with it:\n  {shlex.join(ours)}")
