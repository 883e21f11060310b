"""`run fuse`: flags → `trec.fuse`, tag, manifest."""

from __future__ import annotations

from typing import Any

from ..core.errors import UsageError
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..trec.fuse import RULE_OPTIONS, fuse_files
from .command import FuseOptions


def rule_options(options: FuseOptions) -> dict[str, Any]:
    """The rule's own options that were given; one that the rule does not take is a `UsageError`."""
    normalization: Any = options.normalization
    if options.method == "stock-hybrid" and normalization is not None:
        if normalization == "z-score":
            raise UsageError("--normalization z-score: stock-hybrid knows none and min-max")
        normalization = normalization == "min-max"
    given = {
        "k": ("--rrf-k", options.rrf_k),
        "alpha": ("--alpha", options.alpha),
        "weights": ("--weights", options.weights),
        "normalization": ("--normalization", normalization),
        "weight_on_dense": ("--weight-on-dense", options.weight_on_dense or None),
    }
    chosen = {}
    for name, (flag, value) in given.items():
        if value is None:
            continue
        if name not in RULE_OPTIONS[options.method]:
            users = ", ".join(rule for rule, takes in RULE_OPTIONS.items() if name in takes)
            raise UsageError(f"{flag} {value}: not used by --method {options.method} (it belongs to {users})")
        chosen[name] = value
    return chosen


def fusion_tag(method: str, chosen: dict[str, Any]) -> str:
    """A run tag that names the rule and what was set: `stock-hybrid-alpha0.1`."""

    def text(value: Any) -> str:
        return ",".join(f"{v:g}" for v in value) if isinstance(value, list) else str(value)

    return "-".join([method, *(f"{name}{text(value)}" for name, value in chosen.items())])


def run_fuse(options: FuseOptions) -> None:
    """Fuses `options.runs` into `options.output`, with a manifest beside it."""
    if len(options.runs) < 2:
        raise UsageError(f"--runs {options.runs[0]}: fusion needs at least two runs")
    chosen = rule_options(options)
    tag = options.tag or fusion_tag(options.method, chosen)
    topics = fuse_files(
        options.runs,
        options.output,
        options.method,
        depth=options.depth,
        hits=options.hits,
        tag=tag,
        format=options.output_format,
        **chosen,
    )
    write_manifest(
        options.output.with_name(options.output.name + ".json"),
        "run",
        config=as_dict(options),
        inputs=options.runs,
        topics=topics,
        tag=tag,
    )
    note(f"{options.output}: {topics} topics fused by {options.method} (tag {tag})")
