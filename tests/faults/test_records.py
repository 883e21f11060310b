"""A file that a command does not make again if it is there has its manifest beside it from the first moment on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from .material import run


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("mine.engine", "mine --collection collection --index index --negatives 3 --output out"),
        ("teach.engine", "teach --groups scored.jsonl --name bm25 --output out.tsv"),
        ("teach.engine", "teach --groups teacher.tsv --collection collection --split train --output out.jsonl"),
        ("collection.views", "collection views collection --method key-phrases --output out"),
    ],
)
def test_who_is_stopped_at_the_manifest_leaves_no_file(
    module: str, line: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, before = import_module(f"pyserini_sdr.{module}"), {path.name for path in place.iterdir()}

    def stopped(*arguments: object, **facts: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(made, "write_manifest", stopped)
        with pytest.raises(KeyboardInterrupt):
            run(line)
    assert {path.name for path in place.iterdir()} - before <= {"out.parts"}
    run(line)
    output = next(path for path in place.iterdir() if path.name in ("out", "out.tsv", "out.jsonl"))
    assert output.with_name(output.name + ".json").exists()
