"""The Trainer of cross-encoders."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainingArguments

from ..core.files import read_json, write_json
from ..model.cross_encoder import CrossEncoder
from ..model.pretrained import quiet_transformers
from ..model.training import Progress, attention, on_one_device, whole_batches
from .dev import Dev
from .lists import ListSource, ListStep
from .options import TeachOptions

_PROGRESS_FILE = "sdr_progress.json"


class TeachTrainer(Trainer):
    """Fine-tunes a cross-encoder.

    Args:
        encoder: what is trained.
        step: computes loss and gradients.
        source: the batches.
        dev: selects the checkpoint.
        arguments: of the Trainer.
        precision: of the dev evaluation.
    """

    def __init__(
        self,
        encoder: CrossEncoder,
        step: ListStep,
        source: ListSource,
        dev: Dev,
        arguments: TrainingArguments,
        precision: str,
    ) -> None:
        self.encoder, self.step, self.source, self.dev, self.precision = encoder, step, source, dev, precision
        self._began = time.perf_counter()
        super().__init__(model=encoder.model, args=arguments, eval_dataset=[dev.description])
        self.remove_callback(PrinterCallback)
        self.add_callback(Progress(dev.metric))

    def get_train_dataloader(self) -> DataLoader:
        return whole_batches(self.source)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        model.train()
        return self.step(model, inputs["lists"], self.accelerator.backward)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """The dev metric."""
        start = time.perf_counter()
        with attention(self.model, "inference", on_cpu=self.args.use_cpu):
            now = CrossEncoder(
                self.model,
                self.encoder.tokenizer,
                self.encoder.max_length,
                device=self.encoder.device,
                precision=self.precision,
            )
            value = self.dev(now)
        seconds = time.perf_counter() - start
        self._began += seconds
        metrics = {f"eval_{self.dev.metric}": value, "eval_seconds": round(seconds, 2)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def run(self, checkpoint: Path | None) -> None:
        """Trains, from a checkpoint if there is one; the best weights are in the model afterwards."""
        before = read_json(checkpoint / _PROGRESS_FILE) if checkpoint else {"pairs": 0, "seconds": 0.0}
        self.step.pairs, self._began = before["pairs"], time.perf_counter() - before["seconds"]
        with attention(self.model, "training", on_cpu=self.args.use_cpu):
            self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    @property
    def seconds(self) -> float:
        """Time spent in training steps so far, dev evaluations left out, earlier parts of a resumed run included."""
        return time.perf_counter() - self._began

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        with quiet_transformers():
            super()._save(output_dir, state_dict)
        write_json(Path(output_dir) / _PROGRESS_FILE, {"pairs": self.step.pairs, "seconds": self.seconds})


def make_arguments(
    options: TeachOptions, encoder: CrossEncoder, dev: Dev, steps: int, folder: Path, *, resumed: bool
) -> TrainingArguments:
    """AdamW with a linear schedule, evaluations and checkpoints at the same steps."""
    eval_steps = min(options.eval_steps or math.ceil(steps / 5), steps)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        per_device_train_batch_size=1,  # an item of the source is a whole batch
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(options.warmup * steps),
        weight_decay=options.weight_decay,
        seed=options.seed,
        use_cpu=encoder.device.type == "cpu",
        eval_strategy="steps",
        eval_on_start=not resumed,
        eval_steps=eval_steps,
        save_strategy="steps",
        save_steps=eval_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{dev.metric}",
        greater_is_better=True,
        logging_steps=10,
        ignore_data_skip=True,  # the source is told where to start
        report_to=["none"],
        log_level="error",
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    return on_one_device(arguments, encoder.device, options.device)
