"""What training minimises: `build("distributed-margin", layout="column")` gives a `Loss` (interface: `base.py`).

The table below is all that listing and option checking need; torch is imported when a loss is built.
"""

from __future__ import annotations

import inspect
import math
import typing
from collections.abc import Iterable
from typing import Any

from ..core.errors import UsageError, unknown
from ..core.registry import Entry, Registry

LOSSES = Registry(
    "loss",
    {
        "static-margin": Entry(
            "pyserini_sdr.losses.margins:StaticMargin",
            "E(s(q,d+) − s(q,d−) − m): one margin m for all pairs (arXiv 2407.21515)",
        ),
        "adaptive-margin": Entry(
            "pyserini_sdr.losses.margins:AdaptiveMargin",
            "E(s(q,d+) − s(q,d−) − (s(d+,d−)+1)/2): the pair's own similarity is the margin (arXiv 2407.21515)",
        ),
        "distributed-margin": Entry(
            "pyserini_sdr.losses.margins:DistributedMargin",
            "E(s(q,d+) − s(q,d−) − (s(d+,d')+1)/2) over all negatives d' of the batch (arXiv 2407.21515)",
        ),
        "infonce": Entry(
            "pyserini_sdr.losses.contrastive:InfoNCE",
            "−log softmax of the positive among all documents of the batch, at a temperature",
        ),
    },
)


def build(name: str, **options: Any) -> Any:
    """The loss called `name` with its options; `UsageError` for an unknown name, option or value."""
    cls = LOSSES.load(name)
    known = option_types(cls)
    for key in options:
        if key not in known:
            if not known:
                raise UsageError(f"loss {name!r} takes no options, got {key!r}")
            raise UsageError(f"{unknown(f'option of {name}', key, known)}")
    return cls(**{key: _convert(name, key, value, known[key]) for key, value in options.items()})


def option_types(cls: type) -> dict[str, Any]:
    """Option name → annotation of a loss class, from its constructor."""
    hints = typing.get_type_hints(cls.__init__)
    return {key: hints[key] for key in inspect.signature(cls).parameters}


def parse_losses(specs: Iterable[str], options: Iterable[str] = ()) -> list[tuple[Any, str, float]]:
    """`["distributed-margin:1", "infonce:0.1"]` and `["infonce.temperature=0.02"]` → `[(loss, name, weight), …]`."""
    chosen: dict[str, float] = {}
    for text in specs:
        name, colon, weight = text.partition(":")
        LOSSES[name]  # known?
        if name in chosen:
            raise UsageError(f"--loss {text}: {name} is given twice")
        try:
            chosen[name] = float(weight) if colon else 1.0
        except ValueError:
            raise UsageError(f"--loss {text}: the weight after ':' must be a number") from None
        if not math.isfinite(chosen[name]) or chosen[name] <= 0:
            raise UsageError(f"--loss {text}: the weight must be positive")
    settings: dict[str, dict[str, str]] = {name: {} for name in chosen}
    for text in options:
        target, equals, value = text.partition("=")
        name, dot, key = target.rpartition(".")
        if not equals or not dot or not key:
            raise UsageError(f"--loss-option {text}: expected LOSS.option=value, as in infonce.temperature=0.05")
        if name not in chosen:
            raise UsageError(f"--loss-option {text}: {name!r} is not among the losses ({', '.join(chosen)})")
        if key in settings[name]:
            raise UsageError(f"--loss-option {text}: {name}.{key} is given twice")
        settings[name][key] = value
    return [(build(name, **settings[name]), name, weight) for name, weight in chosen.items()]


def _convert(name: str, key: str, value: Any, annotation: Any) -> Any:
    def fail(expected: str) -> typing.NoReturn:
        raise UsageError(f"--loss-option {name}.{key}={value}: expected {expected}")

    if typing.get_origin(annotation) is typing.Literal:
        choices = typing.get_args(annotation)
        if value not in choices:
            fail(f"one of {', '.join(choices)}")
        return value
    if annotation is bool:
        if isinstance(value, bool):
            return value
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() not in words:
            fail("true or false")
        return words[str(value).lower()]
    try:
        converted = annotation(value)
    except (TypeError, ValueError):
        fail(f"a {annotation.__name__}")
    if isinstance(converted, float) and not math.isfinite(converted):
        fail("a finite number")
    return converted
