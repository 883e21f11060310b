"""The work of `pretrain`: corpus, encoder, rows, trainer, and a finished checkpoint."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import set_seed

from ..core.errors import DataError
from ..core.files import atomic_directory, file_sha256, read_json, read_lines, read_object
from ..core.job import rank
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.plan import hold_to_plan
from ..core.progress import note, warn
from ..data.collection import Collection
from ..data.corpus import CorpusSummary
from ..encode.options import InputOptions
from ..encode.ranks import one_of_a_job
from ..encode.scan import check_corpus, checked_corpus
from ..model.batching import default_budget
from ..model.checkpoint import save_checkpoint
from ..model.device import document_dtype, resolve_device
from ..model.encoder import BiEncoder
from ..model.fingerprint import weights_fingerprint
from ..model.names import resolve_encoder
from ..model.training import full_disk_in_words, last_checkpoint
from ..teach.work import SUFFIX, parts_of
from ..train.gather import this_rank
from .log import perplexities, write_log
from .masking import Masker
from .methods import make_method
from .model import PretrainModel
from .options import PretrainOptions
from .start import load_start, make_start
from .step import Batches, Step
from .stream import DocumentStream
from .trainer import PretrainTrainer, early_arguments, set_steps

MANIFEST = "sdr_pretrain.json"
_FREQUENCIES_FROM = 20_000
"""Documents from which MASTER's frequencies of tokens are counted."""


def pretrain(options: PretrainOptions) -> None:
    """Pre-trains as the options say; the output directory appears when it is complete."""
    with one_of_a_job():
        _pretrain(options)


def _pretrain(options: PretrainOptions) -> None:
    first = rank() == 0
    parts = options.output.with_name(options.output.name + SUFFIX)
    if first:
        parts_of(options.output, overwrite=options.overwrite, directory=True, made_by=MANIFEST)
    queries = read_queries(options.queries) if options.queries is not None else None
    given = [name for name in (options.encoder, options.config_of, options.tokenizer) if name is not None]
    directories = [resolve_encoder(name).directory for name in given]
    arguments = early_arguments(options, resolve_device(options.device), parts)  # processes can wait from here on
    source = InputOptions(corpus=options.corpus)
    if first:
        _hold_to_plan(options, directories, check_corpus(parts, source), parts)
    this_rank().barrier()
    corpus = checked_corpus(parts, source)
    held_out = _held_out(options, corpus)
    stream = DocumentStream(corpus, held_out, buffer=options.shuffle_buffer, seed=options.seed)
    if options.from_scratch and first:
        make_start(options, stream, parts / "start")
    this_rank().barrier()
    set_seed(options.seed)  # for weights that a checkpoint lacks, such as those of the head
    encoder = load_start(options, parts / "start")
    with full_disk_in_words(options.output):
        trainer = _trainer(options, encoder, stream, held_out, queries, arguments, parts)
        checkpoint = last_checkpoint(parts)
        this_rank().barrier()  # nobody writes before everybody has looked
        if checkpoint is not None:
            trainer.batches.start = read_json(checkpoint / "trainer_state.json")["global_step"]
            note(f"resuming after step {trainer.batches.start}")
        set_steps(arguments, options, len(trainer.batches), resumed=checkpoint is not None)
        trainer.run(checkpoint)
        this_rank().barrier()  # nobody reads in `parts` any more
        if trainer.is_world_process_zero():
            _finish(options, trainer, corpus, len(held_out))
            shutil.rmtree(parts)
        this_rank().barrier()  # until then the others can tell if the first one dies


def read_queries(path: Path) -> dict[str, list[str]]:
    """Document id → its queries.

    Args:
        path: lines of document id, tab, query; or a collection, of which the training queries are taken.
    """
    found: dict[str, list[str]] = {}
    if path.is_dir():
        collection = Collection.open(path)
        topics = collection.topics("train")
        for qid, docid in collection.pairs("train"):
            if qid in topics:
                found.setdefault(docid, []).append(topics[qid])
    else:
        for number, line in read_lines(path):
            docid, tab, query = line.partition("\t")
            if not tab or not docid.strip() or not query.strip():
                raise DataError(
                    path, f"expected document id, tab, query, found {line[:60]!r}", line=number,
                    remedy="write one query per line",
                )  # fmt: skip
            found.setdefault(docid.strip(), []).append(query.strip())
    if not found:
        raise DataError(path, "has no queries")
    return found


def _hold_to_plan(options: PretrainOptions, directories: Sequence[Path], corpus: CorpusSummary, parts: Path) -> None:
    """Writes down what is trained on, and refuses to resume a run of something else."""
    plan = {key: value for key, value in as_dict(options).items() if key not in ("overwrite", "output", "report_to")}
    plan["corpus_sha256"] = corpus.sha256
    plan["weights"] = [weights_fingerprint(directory) for directory in directories]
    if options.queries is not None and options.queries.is_file():
        plan["queries_sha256"] = file_sha256(options.queries)
    file = parts / "plan.json"
    if last_checkpoint(parts) is None and file.exists() and read_object(file) != plan:  # nothing to be resumed yet
        shutil.rmtree(parts / "start", ignore_errors=True)
        file.unlink()
    hold_to_plan(file, plan, output=options.output, what="an interrupted pre-training")


def _held_out(options: PretrainOptions, corpus: CorpusSummary) -> list[int]:
    """Positions of the documents that are never trained on, ascending."""
    if corpus.count < 20:
        raise DataError(options.corpus, f"has {corpus.count} documents, at least 20 are needed")
    number = min(options.held_out, corpus.count // 10)
    rng = np.random.default_rng([options.seed, 4])
    return sorted(rng.choice(corpus.count, number, replace=False, shuffle=False).tolist())


def _trainer(
    options: PretrainOptions,
    encoder: BiEncoder,
    stream: DocumentStream,
    held_out: Sequence[int],
    queries: Mapping[str, Sequence[str]] | None,
    arguments: Any,
    parts: Path,
) -> PretrainTrainer:
    masker = Masker(encoder.tokenizer, encoder.spec.document_prefix, whole_words=options.whole_words)
    if options.whole_words and not masker.whole_words:
        warn("the tokenizer does not tell words apart: tokens are masked")
    tokens = encoder.backbone.get_input_embeddings().weight.shape[0]
    rarity = _rarity(stream, masker, tokens) if options.method == "master" else None
    method = make_method(options, masker, rarity)
    per_epoch = math.ceil(stream.size / min(options.batch_size, stream.size))
    steps = options.max_steps or max(1, math.ceil(options.epochs * per_epoch))
    batches = Batches(stream, method, batch_size=options.batch_size, steps=steps, seed=options.seed, queries=queries)
    rows = batches.held_out(held_out)
    if not rows:
        raise DataError(
            options.corpus, f"none of {len(held_out)} held-out documents is long enough", remedy="try --method mlm"
        )
    set_seed(options.seed)
    model = PretrainModel(
        encoder.backbone,
        encoder.spec,
        pad_id=encoder.pad_id,
        decoders=method.decoders,
        layers=options.decoder_layers,
        max_length=options.max_length,
        dropout=options.dropout,
    )
    assert encoder.resolved is not None
    if not options.from_scratch and model.head.take_over(encoder.resolved.directory):
        note("the checkpoint has its masked language modelling head: it is taken over")
    model.to(encoder.device)
    bf16 = document_dtype(options.precision, encoder.device) == torch.bfloat16
    step = Step(
        [*method.terms, *method.decoders],
        method.decoders,
        weight=options.decoder_weight,
        token_budget=options.token_budget or default_budget(encoder.device),
        bf16=bf16,
    )
    note(f"{options.method}: {steps} steps of {batches.batch_size} documents, {stream.size:,} to train on, "
         f"{len(held_out)} held out, {'bf16' if bf16 else 'fp32'}")  # fmt: skip
    return PretrainTrainer(encoder, model, step, batches, rows, arguments)


def _rarity(stream: DocumentStream, masker: Masker, tokens: int) -> np.ndarray:
    """(tokens,) log of 1/frequency in the first documents of the stream."""
    counts = np.ones(tokens)
    texts = (one.document.contents for one in stream.take(0, min(_FREQUENCIES_FROM, stream.size)))
    while block := list(islice(texts, 256)):
        for words in masker.words(block):
            np.add.at(counts, list(chain.from_iterable(words)), 1)
    return -np.log(counts)


def _finish(options: PretrainOptions, trainer: PretrainTrainer, corpus: CorpusSummary, held_out: int) -> None:
    """Writes checkpoint, log and manifest, and tells what to do next."""
    encoder, terms, batches = trainer.encoder, trainer.step.terms, trainer.batches
    encoder.backbone.eval()
    with atomic_directory(options.output, overwrite=options.overwrite) as folder:
        save_checkpoint(folder, encoder.backbone, encoder.tokenizer, encoder.spec)
        log = write_log(folder, trainer.state.log_history, terms)
        before, after = log["held_out"][0], log["held_out"][-1]
        write_manifest(
            folder / MANIFEST,
            "checkpoint",
            config=as_dict(options),
            inputs=[options.queries] if options.queries is not None and options.queries.is_file() else [],
            start=None if options.from_scratch else str(encoder.resolved),
            corpus={"documents": corpus.count, "bytes": corpus.bytes, "sha256": corpus.sha256, "held_out": held_out},
            spec=encoder.spec.to_dict(),
            whole_words=batches.method.masker.whole_words,
            steps=trainer.state.global_step,
            documents={"used": batches.used, "too_short": batches.short},
            masked_tokens=trainer.step.tokens,
            precision="bf16" if trainer.step.bf16 else "fp32",
            train_seconds=round(trainer.seconds, 1),
            resumed_after_step=batches.start,
            held_out={"before": before, "after": after},
        )
    if batches.short:
        warn(f"{batches.short:,} of {batches.used + batches.short:,} documents were too short to be used")
    if options.method != "mlm" and after["vector_gain"] <= 0:
        warn("the decoders do not use the vector: another text's helps as much; train for longer")
    names = {**perplexities(before, terms)}
    shown = [f"{name.removesuffix('_perplexity')} {names[name]:g} → {after[name]:g}" for name in names if name in after]
    note(f"{options.output}: {trainer.state.global_step} steps in {trainer.seconds:.0f} s, "
         f"held-out perplexity {', '.join(shown)}")  # fmt: skip
    ours = ["python", "-m", "pyserini_sdr.train", "--collection", "DIR", "--encoder", str(options.output)]
    note(f"train with it:\n  {shlex.join([*ours, '--output', 'TRAINED'])}")
