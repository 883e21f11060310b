"""What has been done of a recipe: a key per stage, made of its command and of everything that goes into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DataError
from ..core.files import read_object, write_json
from .commands import paths_among
from .resolve import Plan, Step

STATE = "stages.json"
"""In the output: what is done and what was begun."""

Status = Literal["done", "begun", "new", "changed"]
_ELSEWHERE = ("--device", "--nproc-per-node")
"""Flags that say where a stage runs, not what it makes."""


class State:
    """The stages of an output directory, as they were and as they are to be.

    A stage is up to date if its command, what it made, what the stages that it uses made, and the files that it reads
    from outside of the output are as they were; files by their size and the time of their last change.

    Args:
        output: the recipe's folder.
        plan: the commands.
    """

    def __init__(self, output: Path, plan: Plan) -> None:
        self.output, self.file, self.plan = output, output / STATE, plan
        self.entries: dict[str, dict[str, Any]] = {}
        if self.file.exists():
            entries = read_object(self.file).get("stages")
            if not isinstance(entries, dict) or not all(map(_is_entry, entries.values())):
                raise DataError(self.file, "does not tell stages", remedy="remove it, or give another --output")
            self.entries = entries
        self._known: dict[str, str] = {}

    def status(self, step: Step) -> Status:
        """Whether a stage is done, was begun like this, is new, or was done or begun otherwise."""
        entry = self.entries.get(step.folder.name)
        if entry is None:
            return "changed" if step.folder.exists() else "new"
        if self.what_changed(step):
            return "changed"
        return "done" if entry["done"] and step.finished else "begun"

    def what_changed(self, step: Step) -> str:
        """Why a stage cannot be gone on with, in words; empty if it can."""
        entry = self.entries.get(step.folder.name)
        if entry is None:
            return "its folder is there, and no record of it" if step.folder.exists() else ""
        before, now = entry["facts"], self._facts(step)
        if before["words"] != now["words"]:
            old, new = _differing(before["words"], now["words"])
            return f"its command was another ({old or 'nothing'} before, {new or 'nothing'} now)"
        for word in {**before["files"], **now["files"]}:
            if before["files"].get(word) != now["files"].get(word):
                return f"{word} has changed"
        for number in step.uses:
            used = self.plan.steps[number - 1]
            if self.status(used) != "done":
                return f"stage {used.folder.name}, which it uses, is to be made again"
        if before["uses"] != now["uses"]:
            return "what a stage that it uses made has changed"
        if entry["done"] and step.finished and entry["made"] != self._identity(step.folder):
            return "what it made has changed since"
        return ""

    def begin(self, step: Step) -> None:
        """Writes down that a stage has begun; the seconds of an interrupted one are kept."""
        before = self.entries.get(step.folder.name, {})
        facts = self._facts(step)
        seconds = before.get("seconds", 0.0) if before.get("facts") == facts else 0.0
        self._put(step, facts, seconds, done=False)

    def end(self, step: Step, seconds: float, *, done: bool) -> None:
        """Adds the seconds of a stage that has ended, and whether it is done."""
        entry = self.entries[step.folder.name]
        self._put(step, entry["facts"], round(entry["seconds"] + seconds, 1), done=done)

    def seconds(self, step: Step) -> float:
        """Seconds that a stage took, all its attempts together."""
        return self.entries[step.folder.name]["seconds"]

    def others(self) -> list[str]:
        """Folders of stages that another plan made here."""
        own = {step.folder.name for step in self.plan.steps}
        return [name for name in self.entries if name not in own and (self.output / name).exists()]

    def _put(self, step: Step, facts: Mapping[str, Any], seconds: float, *, done: bool) -> None:
        self._known.clear()  # the stage has written files
        self.entries[step.folder.name] = {
            "done": done,
            "made": self._identity(step.folder) if done else None,
            "seconds": seconds,
            "command": step.text,
            "facts": facts,
        }
        write_json(self.file, {"stages": self.entries})

    def _facts(self, step: Step) -> dict[str, Any]:
        """What goes into a stage."""
        inside = self.output.resolve()
        words: list[str] = []
        files: dict[str, str] = {}
        paths = paths_among(step.command, step.own_words)
        skip = False
        for place, word in enumerate(step.own_words):
            if skip or word in _ELSEWHERE:
                skip = not skip
                continue
            path = Path(word)
            if place not in paths and os.sep not in word and word not in self.plan.given:
                words.append(word)
                continue
            if not path.exists() and Path(word.rpartition(":")[0]).name:
                path = Path(word.rpartition(":")[0])  # DIR:WEIGHT
            where = path.resolve()
            if inside in (where, *where.parents):
                words.append(where.relative_to(inside).as_posix())
                continue
            words.append(str(where) if path.exists() else word)
            if path.exists():
                files[str(where)] = self._identity(where)
        used = [self.plan.steps[number - 1] for number in step.uses]
        return {"words": words, "files": files, "uses": {other.folder.name: self._made(other) for other in used}}

    def _made(self, step: Step) -> str | None:
        entry = self.entries.get(step.folder.name)
        return entry["made"] if entry else None

    def _identity(self, path: Path) -> str:
        """Names, sizes and times of a file, or of the files below a folder, without hidden ones and the output."""
        place = str(path)
        if place not in self._known:
            digest = hashlib.sha256()
            inside = self.output.resolve()
            for found in (
                [path] if path.is_file() else _walk(path, inside if path.resolve() in inside.parents else None)
            ):
                facts = found.stat()
                name = found.name if found == path else found.relative_to(path).as_posix()
                digest.update(json.dumps([name, facts.st_size, facts.st_mtime_ns]).encode())
            self._known[place] = digest.hexdigest()[:16]
        return self._known[place]


def _is_entry(value: Any) -> bool:
    """Whether this is what is kept of a stage."""
    kinds = {"done": bool, "made": str | None, "seconds": int | float, "facts": dict}
    facts = {"words": list, "files": dict, "uses": dict}
    return (
        isinstance(value, dict)
        and all(key in value and isinstance(value[key], kind) for key, kind in kinds.items())
        and all(isinstance(value["facts"].get(key), kind) for key, kind in facts.items())
    )


def _walk(path: Path, leave_out: Path | None) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        kept = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in kept if leave_out is None or (Path(folder) / name).resolve() != leave_out]
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _differing(before: list[str], now: list[str]) -> tuple[str, str]:
    """The first place where two commands differ, with the flag it belongs to."""
    place = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))

    def around(words: list[str]) -> str:
        start = max(0, place - 1) if place < len(words) and not words[place].startswith("--") else place
        return " ".join(words[start : place + 1])

    return around(before), around(now)
