"""The end of a training run: a checkpoint directory with its log, its manifest, and the commands that use it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import Any

from ..anserini.stock import encode_command, path_warnings
from ..core.files import PARTIAL, discard
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note, warn
from ..model.checkpoint import save_checkpoint
from ..model.spec import EncoderSpec
from .data import parse_collections
from .dev import DevEvaluator
from .log import write_log
from .lora import merged
from .options import TrainOptions
from .trainer import SdrTrainer

MANIFEST = "sdr_train.json"


def finish(
    trainer: SdrTrainer,
    options: TrainOptions,
    before: dict[str, Any],
    facts: dict[str, Any],
    dev: DevEvaluator | None,
    work: Path,
) -> None:
    """Puts the chosen weights, the log and the manifest into the output, the manifest last, and tells what to do next.

    Args:
        trainer: done.
        options: of the run.
        before: dev score before the first step, seconds, and the step it was resumed after.
        facts: more for the manifest.
        dev: that selected the checkpoint.
        work: folder of intermediate files, removed unless they are to be kept.
    """
    encoder, output, state = trainer.encoder, options.output, trainer.state
    staged = output / f".final{PARTIAL}"
    shutil.rmtree(staged, ignore_errors=True)
    encoder.backbone.eval()
    try:
        save_checkpoint(staged, merged(encoder.backbone), encoder.tokenizer, encoder.spec)
        for path in staged.iterdir():
            target = output / path.name
            if target.is_dir():
                shutil.rmtree(target)
            path.replace(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
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
        inputs=[*(options.groups or []), *(options.document_queries or [])],
        spec=encoder.spec.to_dict(),
        teachers=trainer.step.teachers.record(),
        steps=state.global_step,
        triples=trainer.triples,
        precision="bf16" if trainer.step.bf16 else "fp32",
        train_seconds=before["train_seconds"],
        mining_seconds=round(trainer.mining_seconds, 1),
        resumed_after_step=before["resumed_after_step"],
        selection=result,
        **facts,
    )
    if not options.keep_checkpoints:
        discard(work)
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
    if spec.document_encoder:
        note(f"it encodes queries only: search an index made with {spec.document_encoder}, --encoder {options.output}")
        return
    corpus = parse_collections(options.collection)[0][0].corpus
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
