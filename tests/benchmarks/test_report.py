"""The report is made from result files alone, the same bytes for the same files, and says what is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from common import claim, spread
from report import SECTIONS, write_report
from report_text import number, ranged, seconds

from pyserini_sdr.core.errors import DataError

S = spread([1.0, 2.0, 4.0])
MACHINE = {
    "cpu": "A CPU",
    "cores": 2,
    "flags": ["amx_bf16"],
    "memory_bytes": 24e9,
    "platform": "Linux",
    "versions": {"torch": "2"},
    "settings": {"OMP_NUM_THREADS": "2"},
    "load_average": [0.1, 0, 0],
    "load_average_at_end": [1.9, 0, 0],
}
ARM = {
    "documents_per_second": S,
    "seconds": S,
    "cosine": {"min": 0.9991, "mean": 0.9999},
    "peak_memory_bytes": 1.5e9,
    "share": {"best": S, "measured": S, "peak": S},
    "msmarco_hours": S,
    "queries_per_second": S,
    "triples_per_second": S,
}
GROUP = {
    "corpus": "cacm",
    "size": "minilm",
    "documents": 640,
    "tokens": {"mean": 34.2},
    "rates": {"model_shapes": S, "square": S},
    "arms": {"stock": ARM, "ours": ARM},
    "processes": {
        "stock": ARM | {"one_document_seconds": S, "documents_per_second": 15.2},
        "ours": ARM | {"one_document_seconds": S, "documents_per_second": None},
    },
}


def results() -> dict[str, dict]:
    """A result of every script, in the shape that it writes."""
    claims = [claim("ours over stock", S, 3.0)]
    group = GROUP | {"claims": [claim("ours over stock", S, 20.0)]}
    latency = {"median": 0.02, "min": 0.01, "max": 0.5, "p95": 0.1, "count": 9}
    of_type = {"build_seconds": 2.0, "build_peak_memory_bytes": 1e8, "bytes": 5e6, "recall": {"10": 0.9, "100": 0.8}}
    encoding = {"documents": 10_000, "seconds": S, "peak_memory_bytes": 5e8}
    searching = {"vectors": 10_000, "seconds": S, "faiss_seconds": S, "loading_seconds": 0.1, "peak_memory_bytes": 5e8}
    stages = [
        {"name": name, "size": size, "seconds": 2.0, "peak_memory_bytes": 1e9, "load_average": [1.5, 9.0]}
        for size in (10_000, 100_000)
        for name in ("search dense", "search bm25")
    ]
    bodies = {
        "encode_cpu": {
            "encoder": {"name": "toy", "layers": 6, "hidden": 384},
            "stock_batch_size": 64,
            "warm_up": "once",
            "flops_formula": "L",
            "square": 4096,
            "groups": [group],
        },
        "encode_gpu": {
            "gpu": "G",
            "peak_tflops": 989.0,
            "flops_formula": "L",
            "passages": 8_841_823,
            "groups": [group],
        },
        "memory_growth": {
            "points": [
                {"arm": "ours", "documents": n, "seconds": 3.0, "peak_memory_bytes": 4e8 + n, "corpus_bytes": 9 * n}
                for n in (1, 10_000, 1_000_000)
            ]
        },
        "search": {
            "index": {"vectors": 33_183, "dimension": 384},
            "queries": 1000,
            "hits": 1000,
            "depths": {"process": {"arms": {"ours": ARM, "stock --batch-size 1 --threads 1": ARM}}},
            "agreement": {"topics": 9, "different": 2, "violations": 0, "tolerance": 1e-4, "largest_difference": 2e-6},
            "kernel": {"hits": 10, "limit_of_all": "product"}
            | dict.fromkeys(
                ("product_rate", "bandwidth", "share_of_all", "share_of_one", "seconds_of_all", "seconds_of_one"), S
            ),
            "latency": {"cold": {"ours": latency}, "warm": {"ours": latency}},
        },
        "index_types": {
            "queries": 1000,
            "hits": 100,
            "not_built": {"hnsw-pq": "refused, because"},
            "types": {n: of_type | {"queries_per_second": S, "over_flat": S} for n in ("flat", "hnsw")},
        },
        "training_step": {
            "batch_size": 32,
            "collection": "toy",
            "loss": "infonce",
            "arms": {"ours": ARM},
            "lengths": {"query": 20, "document": 200},
            "text_words": {"query": 9.5, "document": 101.2},
        },
        "growth": {
            "queries": 100,
            "hits": 100,
            "dimension": 384,
            "encoding": [encoding, encoding | {"documents": 100_000}],
            "searching": [searching | {"index_bytes": 1e7}, searching | {"vectors": 100_000, "index_bytes": 1e8}],
        },
    }
    bodies |= {
        "load_vectors": {
            "vectors": 1_000_000,
            "queries": 1000,
            "hits": 100,
            "jobs": 4,
            "missing": ["hnsw"],
            "types": {
                n: {"stages": stages, "bytes": 1.5e9, "recall": {"10": 1.0, "100": 0.9}} for n in ("flat", "ivf")
            },
        },
        "load_queries": dict.fromkeys(
            ("vectors", "dimension", "queries", "hybrid_queries", "hits", "bm25_hits", "jobs"), 9
        )
        | {"stages": stages, "missing": []},
        "load_run": {
            "topics": 20_000,
            "depth": 1000,
            "lines": 20_000_000,
            "bytes": 7e8,
            "metrics": ["map"],
            "jobs": 1,
            "missing": [],
            "stages": stages,
        },
    }
    head = {"created": "2026-01-02T03:04:05", "revision": "abc", "quick": False, "rounds": 3, "machine": MACHINE}
    return {
        name: {"name": name, "command": f"python {name}.py", **head, **body}
        | ({} if "groups" in body else {"claims": claims})
        for name, body in bodies.items()
    }


def write(folder: Path, found: dict[str, dict]) -> Path:
    folder.mkdir()
    for name, result in found.items():
        (folder / f"{name}.json").write_text(json.dumps(result))
    return folder


def test_every_script_has_its_section(tmp_path: Path):
    folder = write(tmp_path / "results", results())
    write_report(folder, tmp_path / "docs" / "performance.md")
    page = (tmp_path / "docs" / "performance.md").read_text("utf-8")
    for name, (title, _) in SECTIONS.items():
        assert f"\n## {title}\n" in page and f"python {name}.py" in page
    shown = [line.split("(")[1].rstrip(")") for line in page.splitlines() if line.startswith("![")]
    assert len(shown) == len(SECTIONS)
    for figure in shown:
        assert 1000 < (tmp_path / "docs" / figure).stat().st_size < 100_000
    assert "| Encoding on a CPU: cacm: ours over stock | 2 [1, 4] × | ≥ 20 × | **no** |" in page
    assert "Not built: hnsw-pq: refused, because" in page
    assert "| `search bm25` | 100 k | 1.00 GB | 2 s | 1.5 to 9 |" in page
    assert "4 commands ran at a time. The load average was between 1.5 and 9 meanwhile" in page
    assert "Ended early, without: hnsw." in page
    assert "A trial" not in page and "Not measured yet" not in page


def test_the_same_results_give_the_same_bytes(tmp_path: Path):
    folder = write(tmp_path / "results", results())
    pages = []
    for name in ("one", "two"):
        write_report(folder, tmp_path / name / "performance.md")
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        pages.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert pages[0] == pages[1] and len(pages[0]) == len(SECTIONS) + 1


def test_what_is_missing_or_a_trial_is_said(tmp_path: Path):
    found = {name: result | {"quick": True} for name, result in results().items() if name == "search"}
    write_report(write(tmp_path / "results", found), tmp_path / "performance.md")
    page = (tmp_path / "performance.md").read_text("utf-8")
    assert page.count("Not measured yet: ") == len(SECTIONS) - 1
    assert page.count("A trial") == 1


def test_results_that_are_none_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="holds no results"):
        write_report(write(tmp_path / "empty", {}), tmp_path / "page.md")
    other = results()["growth"] | {"claims": [{"what": "of another version", "aim": 1.0}]}
    with pytest.raises(DataError, match=r"is no result of growth\.py"):
        write_report(write(tmp_path / "other", {"growth": other}), tmp_path / "page.md")
    broken = results()["growth"]
    del broken["encoding"]
    with pytest.raises(DataError, match=r"growth\.json: is no result of growth\.py \(KeyError\('encoding'\)\)"):
        write_report(write(tmp_path / "broken", {"growth": broken}), tmp_path / "page.md")
    assert not (tmp_path / "page.md").exists()


def test_numbers_have_three_digits():
    shown = [number(value) for value in (0, 0.01234, 1.236, 12.34, 123.4, 1234.5, 1_234_567, 999.6, 0.99994)]
    assert shown == ["0", "0.0123", "1.24", "12.3", "123", "1,230", "1,230,000", "1000", "0.99994"]
    assert ranged(S) == "2 [1, 4]"
    assert (seconds(0.0123), seconds(12.3)) == ("12.3 ms", "12.3 s")


@pytest.mark.parametrize("name", [*SECTIONS, "report"])
def test_help_has_examples_and_loads_nothing_heavy(scripts: Path, name: str):
    code = (
        "import runpy, sys\n"
        "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally: print(sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)\n"
    )
    program = (
        f"import sys; sys.argv = {[str(scripts / f'{name}.py'), '--help']!r}; sys.path.insert(0, {str(scripts)!r})"
    )
    done = subprocess.run([sys.executable, "-c", f"{program}\n{code}"], capture_output=True, text=True, check=True)
    assert "examples:\n  python benchmarks/" in done.stdout
    assert not {"torch", "faiss", "transformers", "pyserini"} & set(done.stderr.replace("'", "").split(", "))
