"""What a file from elsewhere could do: run code, lead out of its directory, bring markup into a report."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..test_architecture import ROOT, module_files, project_files

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "tarfile",
    "zipfile",
}
FORBIDDEN_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.unsafe_load",
    "yaml.full_load",
}


def called(node: ast.Call) -> str:
    """The name that is called, as it is written."""
    return ast.unparse(node.func)


def faults(text: str) -> Iterator[str]:
    """What of a module's text would run code out of data, or hand a shell what it is given."""
    tree = ast.parse(text)
    safe = {
        node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and "SafeLoader" in ast.unparse(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in modules if name.split(".")[0] in FORBIDDEN_MODULES)
        if not isinstance(node, ast.Call):
            continue
        name, keywords = called(node), {k.arg: ast.unparse(k.value) for k in node.keywords}
        if name in FORBIDDEN_CALLS:
            yield f"calls {name}"
        if name.endswith(("torch.load", "torch.jit.load")) and keywords.get("weights_only") != "True":
            yield "torch.load without weights_only=True"
        if name in ("yaml.load", "yaml.load_all") and ast.unparse(node.args[1]) not in {"yaml.SafeLoader", *safe}:
            yield "yaml.load without a safe loader"
        if "allow_pickle" in keywords or name.endswith(("read_pickle", "to_pickle")):
            yield "pickled arrays or frames"
        if keywords.get("shell", "False") != "False":
            yield "a shell"
        if "trust_remote_code" in keywords:
            yield "code of a checkpoint"


def test_the_search_finds_what_it_looks_for() -> None:
    bad = [
        *("import pickle", "from joblib import load", "eval('1')", "import os\nos.system('x')", "import zipfile"),
        *("torch.load(p)", "torch.load(p, weights_only=False)", "yaml.load(t, yaml.Loader)", "yaml.load(t, Mine)"),
        *("np.load(p, allow_pickle=True)", "pd.read_pickle(p)", "subprocess.run(x, shell=True)"),
        "AutoModel.from_pretrained(p, trust_remote_code=True)",
    ]
    assert [text for text in bad if not list(faults(text))] == []
    assert list(faults("class Mine(yaml.SafeLoader): pass\nyaml.load(t, Mine)\ntorch.load(p, weights_only=True)")) == []


@pytest.mark.parametrize("path", module_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_runs_code_out_of_data(path: Path) -> None:
    assert list(faults(path.read_text("utf-8"))) == []


def test_nothing_pickled_is_in_the_repository() -> None:
    endings = {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy", ".npz", ".bin", ".tar", ".zip"}
    assert [str(path) for path in project_files() if path.suffix in endings] == []


@pytest.mark.parametrize("id", ["../../x", "/etc/x", "..", "a/b", "~", "a\\b", "-rf", "$(x)"])
def test_an_id_is_no_path(id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids of documents, queries and teachers go into files, never into their names."""
    from pyserini_sdr.data.corpus import Document, iter_documents
    from pyserini_sdr.data.group import Candidate, Group
    from pyserini_sdr.data.groups import read_groups, write_groups
    from pyserini_sdr.data.material import write_documents
    from pyserini_sdr.trec.run import RunWriter, read_run

    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    write_documents("corpus.jsonl", [Document(id, "text")])
    write_groups("groups.jsonl", [Group(id, "q", [Candidate(id)], [], {id: {id: 1.0}})])
    with RunWriter("run.trec") as run:
        run.write(id, [id], [1.0])
    assert [d.id for d in iter_documents("corpus.jsonl")] == [id] and list(read_run("run.trec")) == [id]
    assert [g.query_id for g in read_groups("groups.jsonl")] == [id]
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == [
        f"deep/folder/{name}" for name in ("corpus.jsonl", "groups.jsonl", "run.trec")
    ]
