"""The Trainer of pre-training: scheduling, logging and resumption are the library's, a step is ours."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

from ..core.files import read_json, write_json
from ..core.progress import warn
from ..model.checkpoint import save_checkpoint
from ..model.encoder import BiEncoder
from ..model.pretrained import load_weights
from ..model.training import Progress, attention, on_one_device, whole_batches
from ..train.gather import sum_gradients, this_rank
from .methods import Row
from .model import PretrainModel
from .options import PretrainOptions
from .step import Batches, Step

_HEADS_FILE, _PROGRESS_FILE = "heads.safetensors", "sdr_progress.json"
_COLLAPSED = 0.01
"""Spread of vectors below which they are nearly one vector."""


class PretrainTrainer(Trainer):
    """Pre-trains an encoder.

    Args:
        encoder: what is trained.
        model: the encoder's backbone with head and decoders.
        step: computes loss and gradients.
        batches: the training rows.
        held_out: rows that losses are measured on.
        arguments: of the Trainer.
    """

    def __init__(
        self,
        encoder: BiEncoder,
        model: PretrainModel,
        step: Step,
        batches: Batches,
        held_out: Sequence[Row],
        arguments: TrainingArguments,
    ) -> None:
        self.encoder, self.step, self.batches, self.held_out = encoder, step, batches, held_out
        self._began, self._collapsed = time.perf_counter(), False
        self._logged: dict[str, list[float]] = defaultdict(list)
        super().__init__(model=model, args=arguments, eval_dataset=[0])
        self.remove_callback(PrinterCallback)
        self.add_callback(Progress("loss"))

    def get_train_dataloader(self) -> DataLoader:
        """Step numbers: every process makes its share of a step's rows."""
        return whole_batches(self.batches)

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        own = self.accelerator.unwrap_model(model)  # DDP's own averaging is not wanted, see `train/gather.py`
        own.train()
        loss, logs = self.step(own, self.batches.rows(inputs["step"]), self.accelerator.backward)
        sum_gradients(own)
        for key, value in logs.items():
            self._logged[key].append(value)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs = logs | {key: sum(values) / len(values) for key, values in self._logged.items()}
            self._logged.clear()
        super().log(logs, start_time)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The held-out losses; every process computes all of them."""
        start = time.perf_counter()
        own = self.accelerator.unwrap_model(self.model)
        own.eval()
        with attention(self.encoder.backbone, "inference", on_cpu=self.args.use_cpu):
            facts = self.step.measure(own, self.held_out)
        own.train()
        if self.state.global_step and facts["spread"] < _COLLAPSED and not self._collapsed:
            self._collapsed = True
            warn(f"the vectors of different texts are nearly equal (spread {facts['spread']:.4f})")
        seconds = time.perf_counter() - start
        self._began += seconds
        metrics = {f"eval_{key}": value for key, value in facts.items()} | {"eval_seconds": round(seconds, 2)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def run(self, checkpoint: Path | None) -> None:
        """Trains, from a checkpoint if there is one."""
        start = {"seconds": 0.0, "tokens": 0, "used": 0, "short": 0}
        before = read_json(checkpoint / _PROGRESS_FILE) if checkpoint else start
        self.step.tokens, self.batches.used, self.batches.short = (before[key] for key in ("tokens", "used", "short"))
        self._began = time.perf_counter() - before["seconds"]
        with attention(self.encoder.backbone, "training", on_cpu=self.args.use_cpu):
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    @property
    def seconds(self) -> float:
        """Time spent in training steps so far, held-out losses left out, earlier parts of a resumed run included."""
        return time.perf_counter() - self._began

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save:  # transformers 5 asks every process
            return
        directory = Path(output_dir or self.args.output_dir)
        save_checkpoint(directory, self.encoder.backbone, self.encoder.tokenizer, self.encoder.spec)
        heads = {key: value for key, value in self.model.state_dict().items() if not key.startswith("backbone.")}
        save_file({key: value.contiguous() for key, value in heads.items()}, directory / _HEADS_FILE)
        done = {"tokens": self.step.tokens, "used": self.batches.used, "short": self.batches.short}
        write_json(directory / _PROGRESS_FILE, {"seconds": self.seconds, **done})

    def _save_rng_state(self, output_dir: str) -> None:
        """Every process its own; a checkpoint counts as whole, by what is written next, only once all have done so."""
        super()._save_rng_state(output_dir)
        this_rank().barrier()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        directory = Path(resume_from_checkpoint)
        self.encoder.backbone.load_state_dict(load_weights(directory)[0].state_dict())
        self.model.load_state_dict(load_file(directory / _HEADS_FILE), strict=False)


def early_arguments(options: PretrainOptions, device: Any, folder: Path) -> TrainingArguments:
    """The Trainer's arguments as far as they are known before the corpus is: making them joins the processes."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=1,  # an item of the source is a whole batch
        learning_rate=options.peak_rate,
        lr_scheduler_type=options.scheduler,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        seed=options.seed,
        use_cpu=device.type == "cpu",
        eval_strategy="steps",
        eval_steps=1,
        save_strategy="steps",
        save_steps=1,
        save_total_limit=2,
        logging_steps=options.logging_steps,
        ignore_data_skip=True,  # the source is told where to start
        report_to=options.report_to,
        log_level="error",
        disable_tqdm=True,
        remove_unused_columns=False,
        ddp_timeout=7 * 24 * 3600,  # the others wait while the first process learns a tokenizer
    )
    return on_one_device(arguments, device, options.device)


def set_steps(arguments: TrainingArguments, options: PretrainOptions, steps: int, *, resumed: bool) -> None:
    """Completes `early_arguments`: held-out losses and checkpoints come at the same steps."""
    every = min(options.eval_steps or math.ceil(steps / 10), steps)
    arguments.max_steps, arguments.warmup_steps = steps, round(options.warmup * steps)
    arguments.eval_steps = arguments.save_steps = every
    arguments.eval_on_start = not resumed
