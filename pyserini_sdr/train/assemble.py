"""The parts of a training run put together: encoder, losses, teachers, batches, trainer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed

from ..core.errors import UsageError
from ..core.files import atomic_file
from ..core.plan import hold_to_plan
from ..core.progress import note, warn
from ..data.collection import Collection
from ..model.device import document_dtype
from ..model.encoder import BiEncoder
from ..model.names import ResolvedEncoder, resolve_encoder
from ..model.spec import is_for_queries_only, is_raw_backbone
from ..model.training import on_one_device, set_dropout
from ..teach.loading import load_teacher
from .batches import BatchSource, Source
from .data import TrainingData
from .dev import DevEvaluator
from .gather import this_rank
from .lora import with_adapters
from .momentum import Follower
from .negatives import Refresh
from .noise import Noise
from .options import TrainOptions
from .sampling import cluster_queries
from .step import Step
from .teachers import Teachers, choose_teachers
from .trainer import SdrTrainer

QUERIES_PER_CLUSTER = 200
"""Default of `--clusters`: 400,000 queries in 2,000 clusters, as in TAS-B."""


def load_encoder(options: TrainOptions) -> BiEncoder:
    """The encoder to be trained, with the lengths, dropout and adapters of the options."""
    encoder = BiEncoder.load(options.encoder, device=options.device, raw_backbone=True, **options.spec_overrides())
    spec = encoder.spec
    if spec.queries_only and options.document_tower is None:
        raise UsageError(
            f"--encoder {options.encoder}: encodes queries only; give --document-tower {spec.document_encoder}"
        )
    if options.query_max_length is None:
        spec = dataclasses.replace(spec, query_max_length=min(spec.query_max_length, 64))
    if options.max_length is None and options.document_tower is None:
        spec = dataclasses.replace(spec, document_max_length=min(spec.document_max_length, 256))
    encoder.spec = spec
    if getattr(encoder.backbone, "pooler", None) is not None:  # not part of the embedding: stays as it is
        encoder.backbone.pooler.requires_grad_(False)
    if options.dropout is not None:
        set_dropout(encoder.backbone, options.dropout)
    if options.lora_rank is not None:
        alpha = 32.0 if options.lora_alpha is None else options.lora_alpha
        encoder.backbone = with_adapters(encoder.backbone, options.lora_rank, alpha)
        trained = sum(p.numel() for p in encoder.backbone.parameters() if p.requires_grad)
        note(f"LoRA: {trained:,} weights are trained")
    for size in options.matryoshka or ():
        if size > spec.dimension:
            raise UsageError(f"--matryoshka {size}: the embeddings have {spec.dimension} dimensions")
    if options.matryoshka and spec.dimension not in options.matryoshka:
        warn(f"--matryoshka: whole embeddings ({spec.dimension}) are not trained; dev and `encode` use them")
    note(f"encoder: {encoder.resolved}")
    if encoder.resolved is not None and is_raw_backbone(encoder.resolved.directory):
        note(
            f"the encoder says nothing about pooling and similarity: trained with {spec.pooling} and {spec.similarity}"
        )
    return encoder


def load_tower(options: TrainOptions, encoder: BiEncoder) -> BiEncoder | None:
    """The frozen encoder of the documents, if there is one; it is written into the spec of `encoder`."""
    if options.document_tower is None:
        return None
    directory = resolve_encoder(options.document_tower).directory
    if is_raw_backbone(directory) or is_for_queries_only(directory):
        raise UsageError(
            f"--document-tower {options.document_tower}: must be an encoder of documents that tells its pooling: "
            "a checkpoint of `train`, or of sentence-transformers"
        )
    tower = BiEncoder.load(options.document_tower, device=options.device, precision=options.precision)
    ours, theirs = encoder.spec, tower.spec
    for name in ("dimension", "similarity"):
        if getattr(ours, name) != getattr(theirs, name):
            raise UsageError(
                f"--document-tower {options.document_tower}: {name} {getattr(theirs, name)}, "
                f"the encoder has {getattr(ours, name)}; they must agree"
            )
    encoder.spec = dataclasses.replace(
        ours,
        document_encoder=tower.identity()["encoder"],
        document_weights=tower.fingerprint,
        document_pooling=theirs.pooling,
        document_prefix=theirs.document_prefix,
        document_max_length=theirs.document_max_length,
    )
    note(f"documents: {tower.resolved}, frozen")
    return tower


def resolve_cluster_encoder(options: TrainOptions) -> ResolvedEncoder | None:
    """Where --cluster-encoder is, None without one; `UsageError` for a raw backbone."""
    if options.cluster_encoder is None:
        return None
    found = resolve_encoder(options.cluster_encoder)
    if is_raw_backbone(found.directory):
        raise UsageError(
            f"--cluster-encoder {options.cluster_encoder}: must be an encoder that tells its pooling, "
            "not a raw backbone"
        )
    return found


def teachers_of(
    options: TrainOptions, data: TrainingData, losses: Sequence[tuple[Any, str, float]], start: str
) -> Teachers:
    """The teachers that the losses need, checked against the groups; `start`: the weights that are trained."""

    def load(name: str) -> Any:
        return load_teacher(
            name, device=options.device, precision=options.precision, max_length=options.teacher_max_length
        )

    return choose_teachers(
        options.teacher,
        data.sources,
        losses,
        load,
        files=options.groups or options.collection,
        balanced=options.negative_sampling == "balanced-margins",
        fresh_negatives=options.refresh_negatives is not None,
        dropout=options.teacher_dropout,
        seed=options.seed,
        start=start,
    )


def make_trainer(
    options: TrainOptions,
    encoder: BiEncoder,
    tower: BiEncoder | None,
    losses: list[tuple[Any, str, float]],
    data: TrainingData,
    collections: Sequence[Collection],
    dev: DevEvaluator | None,
    work: Path,
) -> SdrTrainer:
    """A trainer that is ready to run."""
    per_epoch = data.queries // min(options.batch_size, data.queries)
    steps = options.max_steps or max(1, math.ceil(options.epochs * per_epoch))
    arguments = _arguments(options, encoder, dev, steps, work)  # from here on processes can wait for each other
    teachers = teachers_of(options, data, losses, encoder.fingerprint)
    momentum = options.teacher_momentum
    follower = None if momentum is None else Follower.of(teachers, encoder, momentum)
    if options.teacher_max_length is not None and not any(teachers.models):
        raise UsageError("--teacher-max-length: there is no live teacher")
    if this_rank().index == 0:
        record = {"teachers": teachers.record()}
        hold_to_plan(work / "teachers.json", record, output=options.output, what="an interrupted training")
    if tower is not None and teachers.layers:
        raise UsageError("--document-tower: its documents have no layer states to learn from; choose another loss")
    shapes = teachers.shapes(encoder.spec.dimension)
    if options.matryoshka and not any(loss.truncates for loss, _, _ in losses):
        raise UsageError("--matryoshka: none of the losses can be computed on parts of the embeddings")
    set_seed(options.seed)
    for loss, _, _ in losses:
        loss.build(shapes)
        loss.to(encoder.device)
    if options.batching == "topics":
        for position, source in enumerate(data.sources):
            _cluster(options, encoder, source, work / f"clusters-{position}.npy")
    smallest = min(len(source.groups) for source in data.sources)
    if options.mixing == "separate" and smallest < options.batch_size and len(data.sources) > 1:
        raise UsageError(
            f"--mixing separate: one collection has {smallest} training queries, fewer than --batch-size "
            f"{options.batch_size}"
        )
    source = BatchSource(
        data.sources,
        batch_size=options.batch_size,
        steps=steps,
        positives=options.positives,
        negatives=options.negatives,
        seed=options.seed,
        mixing=options.mixing,
        batching=options.batching,
        sampling=options.negative_sampling,
        teachers=teachers.stored,
        noise=Noise(options.word_drop, options.sentence_shuffle, options.seed) if _is_noisy(options) else None,
    )
    if options.document_queries is not None:
        _tell_of_cut_queries(source, encoder)
    step = Step(
        encoder,
        losses,
        bf16=document_dtype(options.precision, encoder.device) == torch.bfloat16,
        micro_batch_size=options.micro_batch_size,
        teachers=teachers,
        dimensions=options.matryoshka or (),
        document_tower=tower,
        seed=options.seed,
    )
    refresh = Refresh(options, collections, encoder, source, work / "mined") if options.refresh_negatives else None
    callbacks = [EarlyStoppingCallback(options.patience)] if dev and options.patience else []
    set_seed(options.seed)
    return SdrTrainer(
        encoder,
        step,
        source,
        dev,
        arguments,
        options.precision,
        callbacks,
        refresh,
        options.loss_learning_rate,
        follower,
    )


def _tell_of_cut_queries(source: BatchSource, encoder: BiEncoder) -> None:
    """A warning where documents leave no room for the query after them."""
    seen = source.batch(0).student_documents or []
    tokens = (
        encoder.tokenizer([encoder.spec.document_text(text) for text in seen], verbose=False)["input_ids"]
        if seen
        else []
    )
    cut = sum(len(ids) > encoder.spec.document_max_length for ids in tokens)
    if cut:
        warn(
            f"--document-queries: {cut} of {len(seen)} documents of the first batch are longer than --max-length "
            f"{encoder.spec.document_max_length}, so that the query after them is cut off"
        )


def _is_noisy(options: TrainOptions) -> bool:
    return options.word_drop > 0 or options.sentence_shuffle > 0


def _cluster(options: TrainOptions, encoder: BiEncoder, source: Source, path: Path) -> None:
    """Clusters of the queries, by --cluster-encoder or the encoder as it is before training.

    They are the same for all processes and resumptions.
    """
    clusters = options.clusters or max(2, len(source.groups) // QUERIES_PER_CLUSTER)
    if clusters > len(source.groups):
        raise UsageError(f"--clusters {clusters}: there are {len(source.groups)} training queries")
    if this_rank().index == 0 and not path.exists():
        if options.cluster_encoder is not None:
            clusterer = BiEncoder.load(options.cluster_encoder, device=options.device)
            note(f"clusters of queries by {clusterer.resolved}")
        else:  # one of its own: the copy of the weights that it makes to encode goes with it
            clusterer = BiEncoder(encoder.backbone, encoder.tokenizer, encoder.spec, device=encoder.device)
        vectors = clusterer.encode_queries([group.query for group in source.groups])
        with atomic_file(path, "wb") as handle:
            np.save(handle, cluster_queries(vectors, clusters, options.seed))
    this_rank().barrier()
    source.clusters = np.load(path)
    sizes = np.bincount(source.clusters, minlength=clusters)
    note(f"{clusters} clusters of {sizes.min()} to {sizes.max()} queries")


def _arguments(
    options: TrainOptions, encoder: BiEncoder, dev: DevEvaluator | None, steps: int, work: Path
) -> TrainingArguments:
    eval_steps = min(options.eval_steps or max(1, math.ceil(steps / 10)), steps)
    arguments = TrainingArguments(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=1,  # an item of the source is a whole batch
        learning_rate=options.learning_rate,
        lr_scheduler_type=options.scheduler,
        warmup_steps=round(options.warmup * steps),
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        seed=options.seed,
        use_cpu=encoder.device.type == "cpu",
        eval_strategy="steps" if dev else "no",
        eval_steps=eval_steps,
        save_strategy="steps",
        save_steps=eval_steps,
        save_total_limit=None if options.keep_checkpoints else 2,
        load_best_model_at_end=dev is not None,
        metric_for_best_model=f"eval_{dev.metric}" if dev else None,
        greater_is_better=True if dev else None,
        logging_steps=options.logging_steps,
        ignore_data_skip=True,  # the source is told where to start
        report_to=options.report_to,
        log_level="error",
        restore_callback_states_from_checkpoint=True,  # or early stopping would count from zero after a resumption
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_timeout=7 * 24 * 3600,  # the others wait while the first process mines
    )
    return on_one_device(arguments, encoder.device, options.device)
