"""`run fuse`: flags → `trec.fuse`, tag, manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.errors import UsageError
from ..core.manifest import write_manifest
from ..core.options import as_dict
from ..core.progress import note
from ..trec.fuse import fuse_files
from .command import FuseOptions


def fusion_tag(rule: str, chosen: Mapping[str, Any]) -> str:
    """A run tag that names the rule and what was set: `stock-hybrid-alpha0.1`."""

    def text(value: Any) -> str:
        return ",".join(f"{v:g}" for v in value) if isinstance(value, list) else str(value)

    return "-".join([rule, *(f"{name}{text(value)}" for name, value in chosen.items())])


def run_fuse(options: FuseOptions) -> None:
    """Fuses `options.runs` into `options.output`, with a manifest beside it."""
    if len(options.runs) < 2:
        raise UsageError(f"--runs {options.runs[0]}: fusion needs at least two runs")
    fusion = options.fusion(options.method, "--method", len(options.runs))
    if options.tuned is not None and options.depth not in (None, fusion.depth):
        raise UsageError(f"--depth {options.depth}: {options.tuned} was tuned at depth {fusion.depth or 'all'}")
    depth = options.depth or fusion.depth
    tag = options.tag or fusion_tag(fusion.rule, fusion.options)
    topics = fuse_files(
        options.runs,
        options.output,
        fusion.rule,
        depth=depth,
        hits=options.hits,
        tag=tag,
        format=options.output_format,
        **fusion.options,
    )
    write_manifest(
        options.output.with_name(options.output.name + ".json"),
        "run",
        config=as_dict(options),
        inputs=[*options.runs, *([options.tuned] if options.tuned else [])],
        topics=topics,
        tag=tag,
        fusion={"rule": fusion.rule, **fusion.options},
    )
    note(f"{options.output}: {topics} topics fused by {fusion.rule} (tag {tag})")
