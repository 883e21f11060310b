"""Reading and writing files so that a reader never meets half of one.

Writers go to a temporary sibling and are renamed into place when complete; readers report UTF-8 faults with file and
line. `.gz` is handled by name everywhere.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import hashlib
import io
import json
import os
import shutil
import tempfile
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .errors import DataError, SdrError, shorten

PARTIAL = ".partial"
"""Marks temporary names; nothing with it in its name is ever a finished artefact."""


def require_file(path: str | os.PathLike[str], what: str = "file") -> Path:
    """`path` as a `Path`, or a `DataError` that says what is missing."""
    path = Path(path)
    if path.is_dir():
        raise DataError(path, f"is a directory, not the expected {what}")
    if not path.exists():
        raise DataError(path, f"no such {what}")
    return path


def require_directory(path: str | os.PathLike[str], what: str = "directory") -> Path:
    """`path` as a `Path`, or a `DataError` that says what is missing."""
    path = Path(path)
    if not path.is_dir():
        raise DataError(path, f"no such {what}" if not path.exists() else f"is a file, not the expected {what}")
    return path


def cache_folder(*parts: str) -> Path:
    """Where what can be made again is kept: `parts` in `$PYSERINI_SDR_CACHE`, or in `pyserini_sdr` in
    `$XDG_CACHE_HOME` or `~/.cache`.

    A user without a home (no `$HOME` and no entry in passwd, as in a container) has `pyserini_sdr-UID` in the
    directory for temporary files, which is made.

    Raises:
        DataError: no home, and that directory cannot be made, or another user can write to it.
    """
    if own := os.environ.get("PYSERINI_SDR_CACHE"):
        return Path(own, *parts)
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg, "pyserini_sdr", *parts)
    try:
        return Path(Path.home(), ".cache", "pyserini_sdr", *parts)
    except RuntimeError:
        return Path(_homeless_cache(), *parts)


def _homeless_cache() -> Path:
    name, remedy = f"pyserini_sdr-{os.getuid()}", "set PYSERINI_SDR_CACHE to a directory of your own"
    try:
        folder = Path(tempfile.gettempdir(), name)
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise DataError(name, f"no home and no temporary directory for a cache ({error})", remedy=remedy) from error
    if found.st_uid != os.getuid() or found.st_mode & 0o022:  # the mode of a link too
        raise DataError(folder, "is no safe place for a cache: others can write to it", remedy=remedy)
    return folder


def partial_path(path: Path) -> Path:
    """A fresh temporary sibling of `path` (same file system, so that the rename is atomic)."""
    return path.with_name(f".{path.name}{PARTIAL}-{uuid.uuid4().hex[:8]}")


def remove_stale(path: Path) -> None:
    """Deletes what killed processes left of their attempts to write `path`; one that still writes holds its lock."""
    start = f".{path.name}{PARTIAL}-"
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for name in [entry.name for entry in entries if entry.name.startswith(start)]:
            leftover = path.parent / name
            with contextlib.suppress(OSError), _locked(leftover):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def discard(folder: Path) -> None:
    """Deletes a folder, of which nothing is left under its name from the first moment on.

    Who is told to stop in the midst of it deletes the rest first; what a killed process leaves, `remove_stale` removes
    (of `.work`, what is left of `work`).
    """
    retired = partial_path(folder.with_name(folder.name.removeprefix(".")))
    try:
        folder.rename(retired)
        shutil.rmtree(retired, ignore_errors=True)
    except BaseException:
        shutil.rmtree(retired, ignore_errors=True)
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a file or directory; `OSError` if another process does, or if the file system has no locks."""
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Holds a temporary file or directory while it is written, where the file system has locks."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(_locked(path))
        yield


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], mode: str = "w") -> Iterator[IO[Any]]:
    """Opens `path` for writing; it appears, whole and synced, only if the block ends without an exception.

    Args:
        path: destination; parent directories are created; a name ending in `.gz` is compressed reproducibly.
        mode: `"w"` for UTF-8 text with `\\n` line ends, `"wb"` for bytes.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(path, "is a directory, cannot write a file there")
    if path.exists() and not path.is_file():  # /dev/null: a rename would replace the device
        raise DataError(path, "is not a regular file, cannot be replaced by one")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path)
        temporary = partial_path(path)
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(temporary.open("wb"))
            stack.callback(lambda: temporary.unlink(missing_ok=True))
            stack.enter_context(_held(temporary))
            compressed: IO[Any] | None = None
            if path.suffix == ".gz":  # no name and no time in the header: equal content gives equal bytes
                compressed = stack.enter_context(gzip.GzipFile("", "wb", 6, raw, mtime=0))
            handle: IO[Any] = compressed or raw
            if "b" not in mode:
                handle = stack.enter_context(io.TextIOWrapper(handle, encoding="utf-8", newline="\n"))
            yield handle
            handle.flush()
            if compressed is not None:  # closing writes the trailer; it leaves `raw` open
                compressed.close()
            raw.flush()
            os.fsync(raw.fileno())
            temporary.replace(path)
    except OSError as error:
        raise translate_os_error(error, path) from error


@contextlib.contextmanager
def atomic_directory(path: str | os.PathLike[str], *, overwrite: bool = False) -> Iterator[Path]:
    """Yields an empty temporary directory that becomes `path` if the block ends without an exception.

    Args:
        path: destination; must not exist or be empty, unless `overwrite`.
        overwrite: replace an existing directory (only once the new one is complete).
    """
    path = Path(path)
    if path.name in ("", ".."):  # `.` has no name to rename
        path = path.resolve()
    if path.exists() and not path.is_dir():
        raise DataError(path, "is a file, cannot make a directory there")
    if path.exists() and any(path.iterdir()) and not overwrite:
        raise DataError(path, "already exists and is not empty", remedy="give another path or --overwrite")
    temporary = partial_path(path)
    try:
        remove_stale(path)
        temporary.mkdir(parents=True)
        with _held(temporary):
            yield temporary
        if path.exists():
            retired = partial_path(path)
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
        else:
            temporary.rename(path)
    except OSError as error:
        raise translate_os_error(error, path) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def translate_os_error(error: OSError, path: str | os.PathLike[str]) -> SdrError:
    """An `OSError` as one line that names the path the user gave."""
    if error.errno == errno.ENOSPC:
        return DataError(path, "no space left on device", remedy="free some space or write elsewhere")
    if error.errno == errno.EDQUOT:
        return DataError(path, "disk quota exceeded", remedy="free some space or write elsewhere")
    return DataError(path, f"cannot be written: {error.strerror or error}")


def open_binary(path: str | os.PathLike[str]) -> IO[bytes]:
    """Opens a plain or `.gz` file for reading bytes."""
    path = require_file(path)
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, str]]:
    """Yields `(line number from 1, line without its end)`; a byte order mark at the start is dropped.

    Raises:
        DataError: no such file, not UTF-8 (with the line), or a damaged `.gz`.
    """
    for number, raw in enumerate(read_raw_lines(path), start=1):
        yield number, decode_line(path, number, raw)


def read_raw_lines(path: str | os.PathLike[str]) -> Iterator[bytes]:
    """Yields what `read_lines` decodes, line ends included; errors as there, but for UTF-8."""
    number = 0
    with open_binary(path) as handle:
        try:
            for number, raw in enumerate(handle, start=1):
                yield raw[3:] if number == 1 and raw.startswith(b"\xef\xbb\xbf") else raw
        except (OSError, EOFError, zlib.error) as error:  # gzip.BadGzipFile is an OSError, a cut stream an EOFError
            raise DataError(path, f"cannot be read: {error}", line=number + 1) from error


def decode_line(path: str | os.PathLike[str], number: int, raw: bytes) -> str:
    """A line as text without its end; `DataError` with the line if it is not UTF-8."""
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        bad = raw[error.start : error.start + 4]
        raise DataError(path, f"not UTF-8 (bytes {bad!r})", line=number, remedy="convert the file to UTF-8") from error


def read_jsonl(path: str | os.PathLike[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields `(line number, object)` for every non-blank line.

    Raises:
        DataError: a line that is not a JSON object, with file and line.
    """
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(path, f"invalid JSON ({error}): {shorten(line, 60)}", line=number) from error
        if not isinstance(value, dict):
            raise DataError(path, f"expected a JSON object, found {shorten(value, 60)}", line=number)
        yield number, value


def read_json(path: str | os.PathLike[str], what: str = "JSON file") -> Any:
    """The value in a JSON file, or a `DataError` with the line of the fault."""
    path = require_file(path, what)
    try:
        return json.loads(path.read_text("utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(path, f"invalid JSON: {error.msg}", line=error.lineno) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of too many digits, nested too deeply
        raise DataError(path, f"invalid JSON: {error}") from error
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror or error}") from error


def read_object(path: str | os.PathLike[str], *, remedy: str | None = None) -> dict[str, Any]:
    """The object in a JSON file; `DataError` if it holds another kind of value."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise DataError(path, "expected a JSON object", remedy=remedy)
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes `value` atomically as indented UTF-8 JSON with sorted keys left as given."""
    with atomic_file(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False)
        handle.write("\n")


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
