"""Options of all losses as text, and what the losses declare."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch

from pyserini_sdr import losses
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.losses.base import Need

from .cases import NAMES


def all_options() -> list[tuple[str, str, Any]]:
    found = []
    for name in NAMES:
        parameters = inspect.signature(losses.LOSSES.load(name)).parameters
        found += [(name, key, parameter.default) for key, parameter in parameters.items()]
    return found


def test_every_default_is_accepted_as_text():
    for name in NAMES:
        texts = [f"{name}.{key}={default}" for other, key, default in all_options() if other == name]
        ((loss, parsed, weight),) = losses.parse_losses([f"{name}:0.5"], texts)
        assert (parsed, weight) == (name, 0.5) and isinstance(loss, torch.nn.Module)


def test_every_option_rejects_nonsense_by_name():
    for name, key, _ in all_options():
        with pytest.raises(UsageError, match=f"{name}.{key}=nonsense"):
            losses.parse_losses([name], [f"{name}.{key}=nonsense"])


def test_temperatures_are_positive():
    for name, key, _ in all_options():
        if key in ("temperature", "teacher_temperature"):
            for value in ("0", "-1"):
                with pytest.raises(UsageError, match=f"{key}.*{value}.*must be"):
                    losses.parse_losses([name], [f"{name}.{key}={value}"])


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        *[(name, "anneal", ["0", "-2", "1.5"]) for name in ("kl", "listnet", "tct", "ckl")],
        *[(name, "teacher", ["-2", "1.5"]) for name in ("kl", "listnet", "tct", "ckl", "lwf", "ar2")],
        *[(name, "tau", ["0", "-1"]) for name in ("kl", "listnet", "tct", "ckl", "lwf")],
        *[(name, "pace", ["0", "-0.1", "1.5"]) for name in ("kl", "listnet", "tct", "ckl", "lwf")],
        ("lambda-mrr", "tail", ["thirds"]),
        ("ar2", "weight", ["-0.1", "1.5"]),
        ("ar2", "form", ["neither"]),
        *[(name, "documents", ["all"]) for name in ("kl", "nkd", "ctkd", "lead", "osakd", "document-targets")],
        ("bixse", "scale", ["0", "-1"]),
        ("margin-mse", "scale", ["0", "-1"]),
        ("tas-b", "scale", ["0", "-1"]),
        ("tas-b", "alpha", ["-1"]),
        ("lambda-mrr", "relevant", ["0", "-1"]),
        ("ckl", "gamma", ["-0.5"]),
        ("ckl", "beta", ["-0.5", "1.5"]),
        ("rankdistil", "samples", ["0", "-1"]),
        ("rankdistil", "top", ["-1"]),
        ("nkd", "gamma", ["-1"]),
        ("nkd", "tau", ["0"]),
        ("osakd", "k", ["0", "-1"]),
        ("document-targets", "target_temperature", ["0", "-1"]),
        ("adaptive-softmax", "alpha", ["-1"]),
        ("adaptive-softmax", "margin", ["wide"]),
        *[(name, "scale", ["wide"]) for name in ("adaptive-margin", "distributed-margin")],
        *[(name, "targets", ["mine"]) for name in ("adaptive-margin", "distributed-margin", "adaptive-softmax")],
        ("ctkd", "start", ["0", "-1"]),
        ("ctkd", "range", ["-1"]),
        ("ctkd", "strength", ["-1"]),
        ("ctkd", "ramp", ["-1"]),
        ("ca-mkd", "tau", ["0"]),
        ("mtd", "tau", ["0"]),
        ("lelp", "subclasses", ["0", "-1"]),
        ("lelp", "beta", ["0", "-1"]),
        ("lelp", "momentum", ["-0.1", "1.5"]),
        ("lead", "layers", ["0", "-1"]),
        ("lead", "layer_temperature", ["0", "-1"]),
    ],
)
def test_value_out_of_range(name, key, values):
    for value in values:
        with pytest.raises(UsageError, match=rf"{key}.*{value}"):
            losses.parse_losses([name], [f"{name}.{key}={value}"])


def test_which_losses_make_sense_on_a_prefix_of_the_dimensions():
    whole = {name for name in NAMES if not losses.LOSSES.load(name).truncates}
    assert whole == {"cerberus", "embed-distill", "comparative", "lelp", "lead"}


@pytest.mark.parametrize(
    ("name", "options", "needs"),
    [
        ("infonce", {}, set()),
        ("infonce", {"in_batch": False}, {Need.NEGATIVES}),
        ("lce", {}, {Need.NEGATIVES}),
        ("lce", {"in_batch": True}, set()),
        ("full-contrastive", {}, set()),
        ("bixse", {}, set()),
        ("bixse", {"grades": "teacher"}, {Need.TEACHER}),
        ("margin-mse", {}, {Need.NEGATIVES, Need.TEACHER}),
        ("margin-mse", {"pairs": "all"}, {Need.NEGATIVES, Need.TEACHER}),
        ("hinge-order", {}, {Need.NEGATIVES, Need.TEACHER}),
        ("tas-b", {}, {Need.NEGATIVES, Need.TEACHER, Need.LAST_BATCH_TEACHER}),
        ("kl", {}, {Need.NEGATIVES, Need.TEACHER}),
        ("kl", {"documents": "batch"}, {Need.TEACHER, Need.BATCH_TEACHER}),
        ("tct", {}, {Need.TEACHER, Need.BATCH_TEACHER}),
        ("tct", {"documents": "own"}, {Need.NEGATIVES, Need.TEACHER}),
        ("lwf", {}, {Need.NEGATIVES, Need.TEACHER}),
        ("lwf", {"documents": "batch"}, {Need.TEACHER, Need.BATCH_TEACHER}),
        ("ar2", {}, {Need.NEGATIVES, Need.TEACHER}),
        ("tf-nkd", {}, set()),
        ("osakd", {}, set()),
        ("document-targets", {}, set()),
        ("document-targets", {"targets": "teacher"}, {Need.TEACHER_VECTORS}),
        ("adaptive-softmax", {"documents": "own"}, {Need.NEGATIVES}),
        ("distributed-margin", {}, {Need.NEGATIVES}),
        ("distributed-margin", {"targets": "teacher"}, {Need.NEGATIVES, Need.TEACHER_VECTORS}),
        ("ca-mkd", {}, {Need.NEGATIVES, Need.TEACHERS}),
        ("mtd", {}, {Need.NEGATIVES, Need.TEACHERS}),
        ("cerberus", {}, {Need.NEGATIVES, Need.TEACHERS}),
        ("embed-distill", {}, {Need.TEACHER_VECTORS}),
        ("comparative", {}, {Need.TEACHER_VECTORS}),
        ("lelp", {}, {Need.NEGATIVES, Need.TEACHER, Need.TEACHER_VECTORS}),
        ("lead", {}, {Need.LAYERS}),
        ("lead", {"documents": "own"}, {Need.LAYERS, Need.NEGATIVES}),
    ],
)
def test_needs(name, options, needs):
    assert losses.build(name, **options).needs == needs
