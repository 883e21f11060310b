"""The one subclass of `transformers.Trainer`: it provides scheduling, logging, resumption; ours is what a step is."""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerState, TrainingArguments

from ..core.files import read_json, write_json
from ..core.progress import warn
from ..model.checkpoint import save_checkpoint
from ..model.encoder import BiEncoder
from ..model.pretrained import load_weights
from ..model.training import Progress, attention, whole_batches
from .batches import BatchSource
from .dev import DevEvaluator
from .gather import agreed, sum_gradients, this_rank
from .lora import adapter_state, merged
from .momentum import Follower
from .negatives import Refresh
from .step import Step

_LOSS_FILE, _ADAPTER_FILE, _PROGRESS_FILE = "loss.safetensors", "adapters.safetensors", "sdr_progress.json"

COLLAPSED = 1e-3
"""Spread of a batch's embeddings (0: all are the same) from which on they tell nothing apart."""


class Student(nn.Module):
    """What is trained: the encoder and the losses' own parameters.

    Args:
        backbone: the transformer.
        losses: loss modules.
    """

    def __init__(self, backbone: nn.Module, losses: list[nn.Module]) -> None:
        super().__init__()
        self.backbone, self.losses = backbone, nn.ModuleList(losses)


class SdrTrainer(Trainer):
    """Trains a bi-encoder.

    Args:
        encoder: what is trained.
        step: computes the loss.
        source: the batches.
        dev: selects the checkpoint, or None.
        arguments: of the Trainer.
        precision: of documents in the dev evaluation.
        callbacks: of the Trainer.
        refresh: mines new negatives as training goes on.
        loss_learning_rate: of the losses' own parameters: a step of Adam moves a weight by the rate at most, and the
            encoder's would leave them where they began.
        follower: the teacher that follows the encoder, if one does.
    """

    def __init__(
        self,
        encoder: BiEncoder,
        step: Step,
        source: BatchSource,
        dev: DevEvaluator | None,
        arguments: TrainingArguments,
        precision: str,
        callbacks: list[Any],
        refresh: Refresh | None = None,
        loss_learning_rate: float = 1e-3,
        follower: Follower | None = None,
    ) -> None:
        self.encoder, self.step, self.source, self.dev, self.precision = encoder, step, source, dev, precision
        self.refresh, self.loss_learning_rate, self.follower = refresh, loss_learning_rate, follower
        self.triples, self.mining_seconds = 0, 0.0
        self._began = time.perf_counter()
        self._logged: dict[str, list[float]] = defaultdict(list)
        self._warned = False
        student = Student(encoder.backbone, [loss for loss, _, _ in step.losses])
        super().__init__(
            model=student, args=arguments, callbacks=callbacks, eval_dataset=list(dev.topics) if dev else None
        )
        self.remove_callback(PrinterCallback)
        self.add_callback(Progress(dev.metric if dev else ""))
        if follower is not None:
            self.add_callback(follower)

    def get_train_dataloader(self) -> DataLoader:
        """Whole batches, the same on every process: each encodes its share of it (`gather.py`)."""
        return whole_batches(self.source)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """The Trainer's, with a group of its own for the parameters of losses."""
        if self.optimizer is not None:
            return self.optimizer
        own = [parameter for parameter in self.model.losses.parameters() if parameter.requires_grad]
        for parameter in own:
            parameter.requires_grad_(False)
        optimizer = super().create_optimizer(*args, **kwargs)
        for parameter in own:
            parameter.requires_grad_(True)
        if own:
            optimizer.add_param_group({"params": own, "lr": self.loss_learning_rate, "weight_decay": 0.0})
        return optimizer

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None) -> Tensor:
        student = self.accelerator.unwrap_model(model)  # DDP's own averaging is not wanted, see `gather.py`
        if self.refresh is not None:
            self._refresh(inputs["step"])
        batch = self.source.batch(inputs["step"])
        progress = self.state.global_step / max(self.state.max_steps, 1)
        loss, logs = self.step(student.backbone, batch, progress)
        self.triples += batch.triples
        for key, value in (logs | batch.facts).items():
            self._logged[key].append(value)
        return loss

    def _refresh(self, step: int) -> None:
        assert self.refresh is not None
        start = time.perf_counter()
        with attention(self.encoder.backbone, "inference", on_cpu=self.args.use_cpu):
            self.refresh.before(step)
        self.mining_seconds += time.perf_counter() - start

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss = super().training_step(*args, **kwargs)
        sum_gradients(self.encoder.backbone, self.model.losses)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs = logs | {key: sum(values) / len(values) for key, values in self._logged.items()}
            self._logged.clear()
            self._watch_spread(logs)
        super().log(logs, start_time)

    def _watch_spread(self, logs: dict[str, float]) -> None:
        """Warns once when all embeddings have become nearly the same."""
        low = [name for name in ("query_spread", "document_spread") if logs.get(name, 1.0) < COLLAPSED]
        if low and not self._warned and self.is_world_process_zero():
            self._warned = True
            warn(
                f"step {self.state.global_step}: the embeddings have collapsed ({low[0]} {logs[low[0]]:.2g}); "
                "try a lower --learning-rate, or another --loss"
            )

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The dev metric; every process computes it, so that all stop together."""
        assert self.dev is not None
        start = time.perf_counter()
        with attention(self.encoder.backbone, "inference", on_cpu=self.args.use_cpu):
            value = self.dev(self.encoder.backbone, self.encoder.tokenizer, self.encoder.spec, self.precision)
        value = agreed(value, self.encoder.device)
        seconds = time.perf_counter() - start
        self._began += seconds
        metrics = {f"eval_{self.dev.metric}": value, "eval_seconds": round(seconds, 2)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def train(self, *args: Any, **kwargs: Any) -> Any:
        with attention(self.encoder.backbone, "training", on_cpu=self.args.use_cpu):
            return super().train(*args, **kwargs)

    @property
    def seconds(self) -> float:
        """Time spent in training steps so far, dev evaluations left out, earlier parts of a resumed run included."""
        return time.perf_counter() - self._began

    def begin(self, checkpoint: Path | None) -> None:
        """Sets the clock and the count of triples to zero, or to where a checkpoint left them."""
        before = read_json(checkpoint / _PROGRESS_FILE) if checkpoint else {"triples": 0, "seconds": 0.0, "mining": 0.0}
        self.triples, self._began = before["triples"], time.perf_counter() - before["seconds"]
        self.mining_seconds = before["mining"]

    def finish_from(self, checkpoint: Path) -> None:
        """Takes up a run that had ended with this checkpoint: its state, and the best weights."""
        self.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
        self._load_best_model()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:  # transformers 5 asks every process
            return
        directory = Path(output_dir or self.args.output_dir)
        save_checkpoint(directory, merged(self.encoder.backbone), self.encoder.tokenizer, self.encoder.spec)
        done = {"triples": self.triples, "seconds": self.seconds, "mining": self.mining_seconds}
        write_json(directory / _PROGRESS_FILE, done)
        learned = {key: value.contiguous() for key, value in self.model.losses.state_dict().items()}
        if learned:
            save_file(learned, directory / _LOSS_FILE)
        if adapters := adapter_state(self.encoder.backbone):
            save_file({key: value.contiguous() for key, value in adapters.items()}, directory / _ADAPTER_FILE)
        if self.follower is not None:
            self.follower.save(directory)

    def _save_rng_state(self, output_dir: str) -> None:
        """Every process its own; a checkpoint counts as whole, by what is written next, only once all have done so."""
        super()._save_rng_state(output_dir)
        this_rank().barrier()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        directory = Path(resume_from_checkpoint)
        if (directory / _ADAPTER_FILE).exists():
            self.encoder.backbone.load_state_dict(load_file(directory / _ADAPTER_FILE), strict=False)
        else:
            self.encoder.backbone.load_state_dict(load_weights(directory)[0].state_dict())
        if (directory / _LOSS_FILE).exists():
            self.model.losses.load_state_dict(load_file(directory / _LOSS_FILE))
        if self.follower is not None:
            self.follower.load(directory)

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint is not None:
            self._load_from_checkpoint(self.state.best_model_checkpoint)

    @torch.no_grad()
    def untrained(self) -> float:
        """The dev metric before the first step, logged as step 0."""
        metrics = self.evaluate()
        return metrics[f"eval_{self.dev.metric}"]
