"""The embedded collection, on a made-up package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data import known_item
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.data.docstrings import read_docstrings
from pyserini_sdr.data.doctext import normalise
from pyserini_sdr.data.known_item import pydocs_material, reduce, split_by_group
from pyserini_sdr.data.material import write_collection
from pyserini_sdr.data.pydocs import Entry, find_sources, read_entries

SYLLABLES = ("ba", "co", "du", "fe", "gi", "ho", "ju", "ka", "li", "mo")


def words(seed: int, count: int) -> str:
    """Made-up words that two seeds hardly share."""
    numbers = [(seed * 7919 + i * 104729) % 100_000 for i in range(count)]
    return " ".join("".join(SYLLABLES[int(digit)] for digit in f"{number:05d}") for number in numbers)


def function(name: str, seed: int) -> str:
    return f'def {name}():\n    """Find {words(seed, 5)}.\n\n    {words(seed + 1, 30)}\n    """\n\n'


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the distribution `toydoc`: 40 modules of three functions in 20 sub-packages."""
    folder = tmp_path / "site"
    files: dict[str, str] = {"toydoc/__init__.py": f'"""Tools for toys and other things.\n\n{words(66_001, 30)}"""\n'}
    for module in range(40):
        path = f"toydoc/sub{module % 20}/m{module}.py"
        files[path] = "".join(function(f"f{n}", 1000 * module + 10 * n) for n in range(3))
    mark = "import pathlib\npathlib.Path(__file__).with_name('EXECUTED').write_text('x')\nraise RuntimeError\n"
    files["toydoc/sub0/danger.py"] = mark + function("boom", 77_001)
    files["toydoc/tests/test_x.py"] = function("in_tests", 88_001)
    files["toydoc/_private/x.py"] = function("in_private", 88_101)
    files["toydoc/sub1/broken.py"] = "def broken(:\n" + function("never", 88_201)
    files["toydoc/sub2/_m99.py"] = function("f0", 1000 * 2)  # the text of sub2.m2.f0 again
    files["toydoc/sub3/twin.py"] = function("twin", 5).replace(words(5, 5), words(1000 * 3, 5))  # m3.f0's query again
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    info = folder / "toydoc-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toydoc\nVersion: 1.2\nLicense: MIT\n")
    (info / "RECORD").write_text("".join(f"{path},,\n" for path in reversed(files)))
    monkeypatch.syspath_prepend(folder)
    return folder


def build(directory: Path, **options) -> Collection:
    write_collection(directory, lambda: pydocs_material(["toydoc"], **options), config={})
    return Collection.open(directory)


@pytest.fixture(autouse=True)
def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_item, "MINIMUM", 25)


def test_entries(site: Path) -> None:
    entries = {entry.id: entry for entry in read_entries(find_sources(["toydoc"]), progress=False)}
    assert len(entries) == 40 * 3 + 2
    assert "toydoc.sub0.danger.boom" in entries and not (site / "toydoc/sub0/EXECUTED").exists()
    assert entries["toydoc"].query == "Tools for toys and other things"
    assert "toydoc.sub2.m2.f0" in entries and "toydoc.sub2._m99.f0" not in entries
    assert len({"toydoc.sub3.m3.f0", "toydoc.sub3.twin.twin"} & set(entries)) == 1
    entry = entries["toydoc.sub4.m24.f1"]
    assert (entry.group, entry.package) == ("toydoc.sub4", "toydoc")
    assert (entry.query, entry.contents) == (f"Find {words(24_010, 5)}", words(24_011, 30))


def test_collection(site: Path, tmp_path: Path) -> None:
    collection = build(tmp_path / "c")
    texts = {document.id: document.contents for document in iter_documents(collection.corpus)}
    groups: dict[str, set[str]] = {}
    queries: list[str] = []
    for split in ("train", "dev", "test"):
        topics, qrels = collection.topics(split), collection.qrels(split)
        assert list(topics) == list(qrels)
        for qid, grades in qrels.items():
            (docid,) = grades
            assert qid == f"q-{docid}" and qid not in texts
            assert normalise(topics[qid]) not in normalise(texts[docid]) and docid not in texts[docid]
            groups.setdefault(".".join(docid.split(".")[:2]), set()).add(split)
        queries += topics.values()
        assert len(topics) >= 25
    assert all(len(splits) == 1 for splits in groups.values())
    assert len(queries) == len(set(map(normalise, queries))) == len(texts)
    assert {docid for _, docid in collection.pairs()} == {next(iter(g)) for g in collection.qrels("train").values()}
    manifest = collection.manifest
    assert manifest is not None
    assert manifest["packages"] == [{"name": "toydoc", "version": "1.2", "licence": "MIT", "documents": len(texts)}]
    card = (tmp_path / "c" / "CARD.md").read_text()
    assert "| toydoc | 1.2 | MIT | 122 |" in card and manifest["corpus"]["sha256"] in card


def test_deterministic_whatever_the_order_of_files(site: Path, tmp_path: Path) -> None:
    build(tmp_path / "one")
    record = site / "toydoc-1.2.dist-info" / "RECORD"
    record.write_text("".join(sorted(record.read_text().splitlines(keepends=True))))
    build(tmp_path / "two")
    files = [path for path in (tmp_path / "one").rglob("*") if path.is_file() and path.name != "collection.json"]
    assert len(files) == 1 + 3 + 3 + 1 + 1
    for file in files:
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


def test_smaller_collection(site: Path, tmp_path: Path) -> None:
    full, small = build(tmp_path / "full"), build(tmp_path / "small", max_documents=100)
    assert sum(1 for _ in iter_documents(small.corpus)) == 100
    for split in ("dev", "test"):
        assert len(small.topics(split)) == 25
        assert set(small.topics(split)) <= set(full.topics(split))


def test_reduce_keeps_quarters_when_small() -> None:
    entries = [Entry(f"p.g{i % 50}.f{i}", "p", f"p.g{i % 50}", "q", "d") for i in range(400)]
    splits = split_by_group(entries)
    assert [len(reduce(splits, 40)[split]) for split in ("train", "dev", "test")] == [20, 10, 10]
    assert 397 <= sum(map(len, reduce(splits, 399).values())) <= 399


def test_large_group_goes_to_train() -> None:
    entries = [Entry(f"p.big.f{i}", "p", "p.big", "q", "d") for i in range(100)]
    entries += [Entry(f"p.g{i}.f", "p", f"p.g{i}", "q", "d") for i in range(100)]
    splits = split_by_group(entries)
    assert {entry.group for entry in splits["train"]} >= {"p.big"}
    assert len(splits["dev"]) == len(splits["test"]) == 25


def test_bad_packages(site: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--packages nothere: no such distribution is installed"):
        find_sources(["nothere"])
    (site / "toydoc-1.2.dist-info" / "RECORD").write_text("toydoc/__init__.py,,\n")
    with pytest.raises(DataError, match="too few for train, dev and test"):
        build(tmp_path / "c")
    assert not (tmp_path / "c").exists()
    (site / "toydoc-1.2.dist-info" / "RECORD").write_text("")
    with pytest.raises(UsageError, match="has no Python source files"):
        find_sources(["toydoc"])


def test_docstrings_of_compiled_functions(tmp_path: Path) -> None:
    file = tmp_path / "docs.py"
    file.write_text(
        'add_docstr(torch.abs, r"""\nabs(x)\n\nDoes {this}.\n""".format(**common))\n'
        'add_newdoc("numpy.core", "sin", """Sine.""")\n'
        'add_newdoc("fdtr", """F.""")\n'
        'add_newdoc(name, """Not known.""" + more)\n'
        'if True:\n    class A:\n        """Doc A."""\n        def b(self):\n            """Doc b."""\n'
        '        def _c(self):\n            """Hidden."""\n'
    )
    found = [(d.name, d.module, d.text) for d in read_docstrings(file, "pkg.docs")]
    assert found == [
        ("torch.abs", "torch", "abs(x)\n\nDoes {this}."),
        ("numpy.core.sin", "numpy.core", "Sine."),
        ("pkg.fdtr", "pkg", "F."),
        ("pkg.docs.A", "pkg.docs", "Doc A."),
        ("pkg.docs.A.b", "pkg.docs", "Doc b."),
    ]


def test_standard_library_is_found() -> None:
    (source,) = find_sources(["python"])
    names = {module for _, module in source.files}
    assert {"os", "json.decoder", "asyncio.events"} <= names
    assert not any("test" in name.split(".") or name.startswith("_") for name in names)
    entries = read_entries([source.__class__("python", "3", "PSF-2.0", source.files[:60])], progress=False)
    assert entries and all(entry.group == entry.id.split(".")[0] for entry in entries)
    assert json.dumps([entry.query for entry in entries])
