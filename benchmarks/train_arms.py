"""Two ways to take a training step over the same triples, each as the function that a worker serves.

A served function takes one optimiser step per call and returns its seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def _options(settings: dict[str, Any]) -> Any:
    from pyserini_sdr.train.options import TrainOptions

    return TrainOptions(
        collection=[settings["collection"]],
        encoder=settings["encoder"],
        output=Path(settings["output"]),
        groups=[Path(settings["groups"])],
        loss=[settings["loss"]],
        loss_option=settings["loss_option"],
        batch_size=settings["batch_size"],
        max_steps=settings["steps"],
        precision=settings["precision"],
        device="cpu",
        dropout=settings["dropout"],
        dev_split="none",
        query_max_length=settings["query_length"],
        max_length=settings["document_length"],
        learning_rate=settings["learning_rate"],
        seed=settings["seed"],
    )


def _parts(settings: dict[str, Any]) -> tuple[Any, Any, list[Any], Any, Any]:
    """Options, encoder, losses, training data and collections, as `train` makes them."""
    from pyserini_sdr.losses import parse_losses
    from pyserini_sdr.train.assemble import load_encoder
    from pyserini_sdr.train.data import load_data, parse_collections

    options = _options(settings)
    losses = parse_losses(options.loss, options.loss_option or [])
    collections = parse_collections(options.collection)
    encoder = load_encoder(options)
    data = load_data(options, collections, losses, options.output / "work")
    return options, encoder, losses, data, collections


def ours(**settings: Any) -> Callable[[], float]:
    """`train`'s own trainer, stopped before every step until it is asked for the next one.

    The time of a step is from the beginning of its batch to the end of the optimiser's step.
    """
    from pyserini_sdr.core.runtime import share_cores

    share_cores()
    import queue
    import threading

    from transformers import TrainerCallback

    from pyserini_sdr.model.training import Progress
    from pyserini_sdr.train.assemble import make_trainer

    options, encoder, losses, data, collections = _parts(settings)
    trainer = make_trainer(
        options, encoder, None, losses, data, [c for c, _ in collections], None, options.output / "work"
    )
    asked: queue.Queue[None] = queue.Queue()
    done: queue.Queue[float | BaseException] = queue.Queue()

    class Gate(TrainerCallback):
        """Holds every step until it is asked for."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            asked.get()
            self.start = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            done.put(time.perf_counter() - self.start)

    trainer.remove_callback(Progress)
    trainer.add_callback(Gate())
    trainer.args.save_strategy = "no"  # it would be written while another arm is timed
    trainer.begin(None)

    def train() -> None:
        try:
            trainer.train()
        except BaseException as error:
            done.put(error)

    threading.Thread(target=train, daemon=True).start()

    def step() -> float:
        asked.put(None)
        seconds = done.get()
        if isinstance(seconds, BaseException):
            raise seconds
        return seconds

    step.close = lambda: os._exit(0)  # the trainer's thread waits for a step, or is in the middle of something
    return step


def three_forwards(**settings: Any) -> Callable[[], float]:
    """A loop as in the paper authors' code, in fp32: queries, positives and negatives each padded to their maximum
    length, a forward pass for each of the three, one loss, one AdamW step with clipped gradients."""
    import torch

    from pyserini_sdr.losses.base import OTHER_NEG, OTHER_POS, OWN_NEG, OWN_POS, LossBatch

    options, encoder, losses, data, _ = _parts(settings)
    (loss, _, _), backbone, spec = losses[0], encoder.backbone.train(), encoder.spec
    optimizer = torch.optim.AdamW(
        [p for p in backbone.parameters() if p.requires_grad],
        lr=options.learning_rate,
        weight_decay=options.weight_decay,
        fused=True,
    )
    steps: Iterator[list[tuple[str, str, str]]] = _triples(options, data)

    def embed(texts: list[str], length: int) -> torch.Tensor:
        batch = encoder.tokenizer(texts, truncation=True, max_length=length, padding="max_length", return_tensors="pt")
        states = backbone(**batch)[0]
        if spec.pooling == "cls":
            return states[:, 0]
        mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
        return (states * mask).sum(1) / mask.sum(1)

    def step() -> float:
        triples = next(steps)
        start = time.perf_counter()
        size = len(triples)
        query = embed([spec.query_text(q) for q, _, _ in triples], spec.query_max_length)
        positive = embed([spec.document_text(p) for _, p, _ in triples], spec.document_max_length)
        negative = embed([spec.document_text(n) for _, _, n in triples], spec.document_max_length)
        own = torch.eye(size, dtype=torch.bool)
        relation = torch.cat([torch.where(own, OWN_POS, OTHER_POS), torch.where(own, OWN_NEG, OTHER_NEG)], dim=1).to(
            torch.int8
        )
        value, _ = loss(LossBatch(query, torch.cat([positive, negative]), relation, spec.similarity))
        value.backward()
        torch.nn.utils.clip_grad_norm_(backbone.parameters(), options.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    return step


def _triples(options: Any, data: Any) -> Iterator[list[tuple[str, str, str]]]:
    """The triples of step after step, those that our trainer gets: query, positive and negative texts."""
    from pyserini_sdr.losses.base import OWN_NEG, OWN_POS
    from pyserini_sdr.train.batches import BatchSource

    source = BatchSource(data.sources, batch_size=options.batch_size, steps=options.max_steps, seed=options.seed)
    for number in range(options.max_steps):
        batch = source.batch(number)
        yield [
            (
                query,
                *(batch.documents[int((relation == code).nonzero()[0])] for code in (OWN_POS, OWN_NEG)),
            )
            for query, relation in zip(batch.queries, batch.relation, strict=True)
        ]
