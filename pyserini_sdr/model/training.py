"""What every training with `transformers.Trainer` needs: a bar, whole checkpoints, one device, attention."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import AttentionInterface, AttentionMaskInterface, TrainerCallback, TrainingArguments
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ..core.errors import DataError, UsageError
from ..core.files import translate_os_error
from ..core.job import rank
from ..core.progress import bar, note


class Progress(TrainerCallback):
    """A progress bar over steps with the latest loss, and a line per dev evaluation.

    Args:
        metric: name of the dev metric.
    """

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self._bar: Any = None

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        if state.is_world_process_zero:
            self._bar = bar(total=state.max_steps, unit="step", desc="train")
            self._bar.update(state.global_step)

    def on_step_end(self, args, state, control, **kwargs) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if self._bar is None or not logs:
            return
        if "loss" in logs:
            self._bar.set_postfix_str(f"loss {logs['loss']:.4f}", refresh=False)
        if f"eval_{self.metric}" in logs:
            note(f"step {state.global_step}: dev {self.metric} {logs[f'eval_{self.metric}']:.4f}")

    def on_train_end(self, args, state, control, **kwargs) -> None:
        if self._bar is not None:
            self._bar.close()


def whole_batches(source: Dataset) -> DataLoader:
    """A loader of a source whose items are batches.

    A loader draws a seed when it starts: from a generator of its own, or dropout after a resumption would differ.
    """
    return DataLoader(source, batch_size=None, shuffle=False, generator=torch.Generator())


def last_checkpoint(work: Path) -> Path | None:
    """The newest intermediate checkpoint that is whole: its state file is written last. Half-written ones go."""
    found = sorted(work.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]))
    whole = []
    for path in found:
        if (path / "trainer_state.json").exists():
            whole.append(path)
        elif rank() == 0:
            shutil.rmtree(path, ignore_errors=True)
    return whole[-1] if whole else None


def on_one_device(arguments: TrainingArguments, device: torch.device, given: str) -> TrainingArguments:
    """Holds the Trainer to one device per process; it would wrap the model in `DataParallel`.

    Args:
        arguments: of the Trainer.
        device: where the model is.
        given: the value of `--device`, for the message.
    """
    if arguments.device != device and device.index is not None:
        raise UsageError(
            f"--device {given}: the Trainer takes {arguments.device}; "
            f"set CUDA_VISIBLE_DEVICES={device.index} and leave --device out"
        )
    arguments._n_gpu = min(1, arguments.n_gpu)
    return arguments


_FLOAT32 = "sdr_float32"


def _float32_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Fused attention in float32, under bf16's autocast too; an attention function as transformers takes them."""
    with torch.autocast(query.device.type, enabled=False):
        if attention_mask is not None and attention_mask.is_floating_point():
            attention_mask = attention_mask.float()
        found, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **options)
    return found.to(query.dtype), None


AttentionInterface.register(_FLOAT32, _float32_attention)
AttentionMaskInterface.register(_FLOAT32, sdpa_mask)


def _drops_out(model: nn.Module) -> bool:
    rates = ("p", "attention_dropout", "dropout_prob")
    found = (getattr(module, name, None) for module in model.modules() for name in rates)
    return any(isinstance(rate, float) and rate > 0 for rate in found)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Sets every dropout of a transformer; the configuration that is saved with it stays as it is."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        for name in ("attention_dropout", "dropout_prob"):  # rates that modules hand to functions
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, rate)


@contextmanager
def attention(model: nn.Module, kind: Literal["training", "inference"], *, on_cpu: bool) -> Iterator[None]:
    """Runs a block with the attention that is fastest for it on a CPU, and with the model's own elsewhere.

    Fused attention in bf16 is fast forwards, and backwards on a CPU slower than plain products; in float32 it is faster
    than these both ways, and keeps no table of scores. With dropout it is none of that.
    """
    before = model.config._attn_implementation
    if on_cpu and before in ("sdpa", _FLOAT32, "eager"):
        training = "eager" if _drops_out(model) else _FLOAT32
        model.set_attn_implementation("sdpa" if kind == "inference" else training)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@contextmanager
def full_disk_in_words(output: Path) -> Iterator[None]:
    """torch and safetensors report a full disk in ways of their own."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise translate_os_error(error, error.filename or output) from error
        if "File too large" in str(error):  # of safetensors
            raise DataError(output, "cannot be written: File too large") from error
        if full or any(words in str(error) for words in ("inline_container", "iostream error", "No space left")):
            raise DataError(
                output, "no space left on device", remedy="free some space and give the command again to resume"
            ) from error
        raise
