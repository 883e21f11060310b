"""The work of `train`: data, encoder, dev pool, trainer, and a finished checkpoint."""

from __future__ import annotations

import dataclasses
import errno
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import EarlyStoppingCallback, TrainingArguments, set_seed

from ..anserini.stock import encode_command, path_warnings
from ..core.errors import DataError, UsageError
from ..core.files import PARTIAL, file_sha256, read_json, write_json
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.plan import hold_to_plan
from ..core.progress import note, warn
from ..data.collection import Collection
from ..losses import parse_losses
from ..model.checkpoint import save_checkpoint
from ..model.encoder import BiEncoder, document_dtype
from ..model.spec import EncoderSpec, is_raw_backbone
from .batches import BatchSource
from .data import NO_DEV, TrainingData, load_data
from .dev import DevEvaluator
from .log import LOG, PLOT, write_log
from .options import TrainOptions
from .step import Step
from .trainer import SdrTrainer

MANIFEST = "sdr_train.json"
WORK = ".train"
"""Folder for intermediate checkpoints inside the output, removed at the end."""


def train(options: TrainOptions) -> None:
    """Trains as the options say; the output directory is finished when it holds `sdr_train.json`."""
    start = time.perf_counter()
    losses = parse_losses(options.loss, options.loss_option or [])
    collection = Collection.open(options.collection)
    work = _prepare(options)
    set_seed(options.seed)  # also for weights that a checkpoint lacks, such as an unused pooler
    encoder = _load_encoder(options)
    _hold_to_plan(options, encoder, work)
    data = load_data(options, collection, losses, work)
    dev = None
    if options.dev_split != NO_DEV:
        dev = DevEvaluator(
            collection,
            options.dev_split,
            options.dev_metric,
            pool_size=options.dev_pool,
            max_queries=options.dev_queries,
            seed=options.seed,
            run=options.dev_run or data.dev_run,
        )
        note(f"dev: {dev.description}")
    trainer = _trainer(options, encoder, losses, data, dev, work)
    data_seconds = time.perf_counter() - start
    with _full_disk_in_words(options.output):
        before = _run(trainer, options, work)
        if trainer.is_world_process_zero():
            facts = {"data_seconds": round(data_seconds, 1), "groups": len(data.groups)}
            _finish(trainer, options, before, facts, dev, work)


@contextmanager
def _full_disk_in_words(output: Path) -> Iterator[None]:
    """torch and safetensors report a full disk in ways of their own."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if full or any(words in str(error) for words in ("inline_container", "iostream error", "No space left")):
            raise DataError(
                output, "no space left on device", remedy="free some space and give the command again to resume"
            ) from error
        raise


def _prepare(options: TrainOptions) -> Path:
    """Refuses or clears what is in the output, and returns the folder for intermediate files."""
    output, work = options.output, options.output / WORK
    if not _is_main():
        return work
    if output.exists() and not output.is_dir():
        raise DataError(output, "is a file, cannot make a checkpoint there")
    if options.overwrite:
        for name in (MANIFEST, LOG, PLOT):
            (output / name).unlink(missing_ok=True)
        shutil.rmtree(work, ignore_errors=True)
    elif (output / MANIFEST).exists():
        raise DataError(output, "already holds a trained checkpoint", remedy="give another directory or --overwrite")
    elif output.exists() and any(output.iterdir()) and not work.exists():
        raise DataError(output, "already exists and is not empty", remedy="give another directory or --overwrite")
    return work


def _hold_to_plan(options: TrainOptions, encoder: BiEncoder, work: Path) -> None:
    """Writes down what is trained on, and refuses to resume a run of something else."""
    if not _is_main():
        return
    plan = {key: value for key, value in as_dict(options).items() if key not in ("overwrite", "report_to")}
    plan["weights"] = encoder.fingerprint
    plan["groups_sha256"] = file_sha256(options.groups) if options.groups and options.groups.is_file() else None
    hold_to_plan(work / "plan.json", plan, output=options.output, what="an interrupted training")


def _is_main() -> bool:
    return int(os.environ.get("RANK", "0")) == 0


def _load_encoder(options: TrainOptions) -> BiEncoder:
    encoder = BiEncoder.load(options.encoder, device=options.device, raw_backbone=True, **options.spec_overrides())
    spec = encoder.spec
    if options.query_max_length is None:
        spec = dataclasses.replace(spec, query_max_length=min(spec.query_max_length, 64))
    if options.max_length is None:
        spec = dataclasses.replace(spec, document_max_length=min(spec.document_max_length, 256))
    encoder.spec = spec
    if getattr(encoder.backbone, "pooler", None) is not None:  # not part of the embedding: stays as it is
        encoder.backbone.pooler.requires_grad_(False)
    if options.dropout is not None:
        set_dropout(encoder.backbone, options.dropout)
    note(f"encoder: {encoder.resolved}")
    if encoder.resolved is not None and is_raw_backbone(encoder.resolved.directory):
        note(
            f"the encoder says nothing about pooling and similarity: trained with {spec.pooling} and {spec.similarity}"
        )
    return encoder


def set_dropout(backbone: nn.Module, rate: float) -> None:
    """Sets every dropout of a transformer; the configuration that is saved with it stays as it is."""
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("attention_dropout", "dropout_prob"):  # rates that modules hand to functions
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


def _trainer(
    options: TrainOptions,
    encoder: BiEncoder,
    losses: list[tuple[Any, str, float]],
    data: TrainingData,
    dev: DevEvaluator | None,
    work: Path,
) -> SdrTrainer:
    per_epoch = len(data.groups) // min(options.batch_size, len(data.groups))
    steps = options.max_steps or max(1, math.ceil(options.epochs * per_epoch))
    bf16 = document_dtype(options.precision, encoder.device) == torch.bfloat16
    eval_steps = min(options.eval_steps or max(1, math.ceil(steps / 10)), steps)
    set_seed(options.seed)
    source = BatchSource(
        data.groups,
        data.texts,
        data.known,
        batch_size=options.batch_size,
        steps=steps,
        positives=options.positives,
        negatives=options.negatives,
        seed=options.seed,
    )
    step = Step(
        encoder.tokenizer,
        encoder.spec,
        losses,
        device=encoder.device,
        bf16=bf16,
        micro_batch_size=options.micro_batch_size,
    )
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
    )
    if arguments.device != encoder.device and encoder.device.index is not None:
        raise UsageError(
            f"--device {options.device}: the Trainer takes {arguments.device}; "
            f"set CUDA_VISIBLE_DEVICES={encoder.device.index} and leave --device out"
        )
    arguments._n_gpu = min(1, arguments.n_gpu)  # one GPU per process; the Trainer would wrap in DataParallel
    callbacks = [EarlyStoppingCallback(options.patience)] if dev and options.patience else []
    return SdrTrainer(encoder, step, source, dev, arguments, options.precision, callbacks)


def _last_checkpoint(work: Path) -> Path | None:
    """The newest intermediate checkpoint that is whole: its state file is written last. Half-written ones go."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    whole = []
    for path in found:
        if (path / "trainer_state.json").exists():
            whole.append(path)
        elif _is_main():
            shutil.rmtree(path, ignore_errors=True)
    return whole[-1] if whole else None


def _stopped_early(checkpoint: Path, patience: int) -> bool:
    """Whether the run ended with this checkpoint, because dev did not get better any more."""
    callback = read_json(checkpoint / "trainer_state.json").get("stateful_callbacks", {}).get("EarlyStoppingCallback")
    return bool(patience and callback and callback["attributes"]["early_stopping_patience_counter"] >= patience)


def _run(trainer: SdrTrainer, options: TrainOptions, work: Path) -> dict[str, Any]:
    """Trains, from the last checkpoint if there is one; returns what was known before: dev score, triples, seconds."""
    facts_file = work / "facts.json"
    checkpoint = _last_checkpoint(work)
    facts = read_json(facts_file) if facts_file.exists() else {}
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


def _finish(
    trainer: SdrTrainer,
    options: TrainOptions,
    before: dict[str, Any],
    facts: dict[str, Any],
    dev: DevEvaluator | None,
    work: Path,
) -> None:
    encoder, output, state = trainer.encoder, options.output, trainer.state
    staged = output / f".final{PARTIAL}"
    shutil.rmtree(staged, ignore_errors=True)
    encoder.backbone.eval()
    save_checkpoint(staged, encoder.backbone, encoder.tokenizer, encoder.spec)
    for path in staged.iterdir():
        target = output / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    staged.rmdir()
    metric = dev.metric if dev else ""
    history = state.log_history
    if dev and not any(entry["step"] == 0 and f"eval_{metric}" in entry for entry in history):
        history = [{"step": 0, f"eval_{metric}": before["untrained"], "eval_seconds": 0.0}, *history]
    write_log(output, history, metric, dev.description if dev else "none")
    result: dict[str, Any] = {}
    if dev:
        result = {
            "dev": dev.description,
            "untrained": before["untrained"],
            "best": state.best_metric,
            "best_step": state.best_global_step,
        }
        if state.best_metric is not None and state.best_metric <= before["untrained"]:
            warn(f"no checkpoint was better on dev than the untrained encoder ({before['untrained']:.4f})")
    write_manifest(
        output / MANIFEST,
        "checkpoint",
        config=as_dict(options),
        inputs=[options.groups] if options.groups else [],
        spec=encoder.spec.to_dict(),
        steps=state.global_step,
        triples=trainer.triples,
        precision="bf16" if trainer.step.bf16 else "fp32",
        train_seconds=before["train_seconds"],
        resumed_after_step=before["resumed_after_step"],
        selection=result,
        **facts,
    )
    if not options.keep_checkpoints:
        shutil.rmtree(work, ignore_errors=True)
    chosen = (
        f", dev {metric} {before['untrained']:.4f} → {state.best_metric:.4f} (step {state.best_global_step})"
        if dev
        else ""
    )
    note(f"{output}: {state.global_step} steps, {trainer.triples:,} triples in {before['train_seconds']:.0f} s{chosen}")
    _tell_what_next(options, encoder.spec)


def _tell_what_next(options: TrainOptions, spec: EncoderSpec) -> None:
    """Prints our command and the stock one that encode a corpus with the checkpoint."""
    for warning in path_warnings(options.output, "encoder"):
        warn(warning)
    corpus = Collection.open(options.collection).corpus
    ours = ["python", "-m", "pyserini_sdr.encode", "input", "--corpus", str(corpus), "output", "--embeddings", "INDEX"]
    note(f"encode with it:\n  {shlex.join([*ours, '--to-faiss', 'encoder', '--encoder', str(options.output)])}")
    stock = encode_command(
        corpus=corpus,
        embeddings="INDEX",
        encoder=options.output,
        dimension=spec.dimension,
        pooling=spec.pooling,
        l2_norm=spec.normalize,
        document_prefix=spec.document_prefix,
        max_length=spec.document_max_length,
    )
    note(f"or with stock Pyserini:\n  {stock}")
