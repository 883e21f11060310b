"""What has been done of a recipe: a key per stage, made of its command and of everything that goes into it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ..core.files import read_object, write_json
from .resolve import Plan, Step

STATE = "stages.json"
"""In the output: what is done and what was begun."""

Status = Literal["done", "begun", "new", "changed"]


class State:
    """The stages of an output directory, as they were and as they are to be.

    A stage is up to date if its words, the stages it uses, the files outside of the output that its words name, and
    what it made are as they were; files by their size and the time of their last change.

    Args:
        output: the recipe's folder.
        plan: the commands.
    """

    def __init__(self, output: Path, plan: Plan) -> None:
        self.output, self.file = output, output / STATE
        self.entries: dict[str, dict[str, Any]] = read_object(self.file)["stages"] if self.file.exists() else {}
        self.facts: dict[int, dict[str, Any]] = {}
        for step in plan.steps:
            self.facts[step.number] = {
                "words": list(step.argv),
                "files": dict(_files(step, output, plan.given)),
                "uses": {str(number): _key(self.facts[number]) for number in step.uses},
            }

    def status(self, step: Step) -> Status:
        """Whether a stage is done, was begun like this, is new, or was done or begun otherwise."""
        entry = self.entries.get(step.folder.name)
        if entry is None:
            return "changed" if step.folder.exists() else "new"
        if entry["key"] != _key(self.facts[step.number]):
            return "changed"
        if not entry["done"] or not step.made.exists():
            return "begun"
        return "done" if entry["made"] == _identity(step.made) else "changed"

    def what_changed(self, step: Step) -> str:
        """Why a stage is not up to date, in words."""
        entry = self.entries.get(step.folder.name)
        if entry is None:
            return "its folder is there, and no record of it"
        before, now = entry["facts"], self.facts[step.number]
        if before["words"] != now["words"]:
            old, new = _differing(before["words"], now["words"])
            return f"its command was another ({old or 'nothing'} before, {new or 'nothing'} now)"
        for word in {**before["files"], **now["files"]}:
            if before["files"].get(word) != now["files"].get(word):
                return f"{word} has changed"
        return "what it made has changed since" if before == now else "a stage that it uses has changed"

    def begin(self, step: Step) -> None:
        """Writes down that a stage has begun; the seconds of an interrupted one are kept."""
        before = self.entries.get(step.folder.name, {})
        key = _key(self.facts[step.number])
        seconds = before.get("seconds", 0.0) if before.get("key") == key else 0.0
        self._put(step, key, seconds, done=False)

    def end(self, step: Step, seconds: float, *, done: bool) -> None:
        """Adds the seconds of a stage that has ended, and whether it is done."""
        entry = self.entries[step.folder.name]
        self._put(step, entry["key"], round(entry["seconds"] + seconds, 1), done=done)

    def seconds(self, step: Step) -> float:
        """Seconds that a stage took, all its attempts together."""
        return self.entries[step.folder.name]["seconds"]

    def _put(self, step: Step, key: str, seconds: float, *, done: bool) -> None:
        self.entries[step.folder.name] = {
            "key": key,
            "done": done,
            "made": _identity(step.made) if done and step.made.exists() else None,
            "seconds": seconds,
            "command": step.text,
            "facts": self.facts[step.number],
        }
        write_json(self.file, {"stages": self.entries})


def _key(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _files(step: Step, output: Path, given: Container[str]) -> Iterator[tuple[str, str]]:
    """What the words name outside of the output, with what tells that it has changed.

    A word that is no path by its looks, as `train`, is one only if the user gave it.
    """
    inside = output.resolve()
    for word in step.argv[1:]:
        if os.sep not in word and word not in given:
            continue
        path = Path(word)
        if not path.exists():
            path = Path(word.rpartition(":")[0])  # DIR:WEIGHT
        if path.name and path.exists() and inside not in (path.resolve(), *path.resolve().parents):
            yield word, _identity(path)


def _identity(path: Path) -> str:
    digest = hashlib.sha256()
    for found in [path] if path.is_file() else _walk(path):
        facts = found.stat()
        name = found.name if found == path else found.relative_to(path).as_posix()
        digest.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _walk(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def _differing(before: list[str], now: list[str]) -> tuple[str, str]:
    """The first place where two commands differ, with the flag it belongs to."""
    place = next((i for i, (a, b) in enumerate(zip(before, now, strict=False)) if a != b), min(len(before), len(now)))

    def around(words: list[str]) -> str:
        start = max(0, place - 1) if place < len(words) and not words[place].startswith("--") else place
        return " ".join(words[start : place + 1])

    return around(before), around(now)
