"""`index verify` finds what is wrong, and nothing where nothing is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.core.errors import SdrError, UsageError
from pyserini_sdr.index.__main__ import COMMAND

from ..encode.make import make_checkpoint, read_index, run_encode
from ..tiny import make_tiny_encoder
from .test_build import write_flat


@pytest.fixture(scope="module")
def flat(tiny_collection: Path, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_encode(tiny_collection, tmp_path_factory.mktemp("verify") / "flat", checkpoint)


@pytest.fixture
def copy(flat: Path, tmp_path: Path) -> Path:
    shutil.copytree(flat, tmp_path / "index")
    return tmp_path / "index"


def verify(capsys: pytest.CaptureFixture[str], index: Path, *flags: object) -> tuple[int, str]:
    capsys.readouterr()
    status = COMMAND.execute("index", ["verify", "--index", str(index), "--device", "cpu", *map(str, flags)])
    return status, capsys.readouterr().out


def replace_vectors(folder: Path, rows: dict[int, object]) -> None:
    ids, vectors = read_index(folder)
    for row, value in rows.items():
        vectors[row] = value
    write_flat(folder, vectors, ids)


def test_ok(capsys: pytest.CaptureFixture[str], flat: Path, tiny_collection: Path, checkpoint: Path) -> None:
    assert verify(capsys, flat) == (
        0,
        f"{flat}: 60 vectors of dimension 32, encoder {checkpoint}; checked files, counts, ids, vectors: ok\n",
    )
    status, text = verify(capsys, flat, "--corpus", tiny_collection, "--sample", 5)
    assert status == 0
    assert text.endswith("ids, vectors, corpus ids, 5 documents encoded again: ok\n")


@pytest.mark.parametrize(
    ("rows", "finding"),
    [
        ({3: np.nan, 5: np.inf}, "2 vectors have NaN or infinite values (first: 'd003')"),
        ({4: 0}, "1 vectors are zero (first: 'd004')"),
        ({7: 0.9}, "1 vectors are not of length 1, though the similarity is cosine (first: 'd007')"),
        (dict.fromkeys(range(60), 32**-0.5), "all vectors are nearly the same: the encoder has collapsed"),
    ],
)
def test_bad_vectors(capsys: pytest.CaptureFixture[str], copy: Path, rows: dict[int, object], finding: str) -> None:
    replace_vectors(copy, rows)
    status, text = verify(capsys, copy)
    assert status == 1
    assert text.splitlines()[0] == f"{copy}: {finding}"
    assert text.splitlines()[-1].endswith(": 1 problems")


def test_length_of_vectors_is_free_under_dot(
    capsys: pytest.CaptureFixture[str], tiny_collection: Path, checkpoint: Path, tmp_path: Path
) -> None:
    flags = ("--precision", "fp32", "--no-l2-norm")
    folder = run_encode(tiny_collection, tmp_path / "dot", checkpoint, model=flags)
    assert abs(np.linalg.norm(read_index(folder)[1], axis=1) - 1).min() > 0.1
    assert verify(capsys, folder, "--corpus", tiny_collection)[0] == 0


def test_duplicate_ids(capsys: pytest.CaptureFixture[str], copy: Path) -> None:
    ids = (copy / "docid").read_text().splitlines()
    (copy / "docid").write_text("\n".join([*ids[:-1], ids[0]]) + "\n")
    status, text = verify(capsys, copy)
    assert (status, text.splitlines()[0]) == (1, f"{copy}: duplicate document ids, 'd000' occurs 2 times")


def test_corpus_in_another_order(capsys: pytest.CaptureFixture[str], copy: Path, tiny_collection: Path) -> None:
    ids = (copy / "docid").read_text().splitlines()
    ids[10], ids[20] = ids[20], ids[10]
    (copy / "docid").write_text("\n".join(ids) + "\n")
    status, text = verify(capsys, copy, "--corpus", tiny_collection)
    assert status == 1
    assert text.splitlines()[0] == f"{copy}: document 11 of the corpus is 'd010', of the index 'd020'"


@pytest.mark.parametrize(
    ("documents", "finding"),
    [
        (59, "the index holds 60 documents, the corpus 59"),
        (61, "document 61 of the corpus is 'more', of the index 'nothing'"),
    ],
)
def test_corpus_of_another_size(
    capsys: pytest.CaptureFixture[str], flat: Path, tiny_collection: Path, tmp_path: Path, documents: int, finding: str
) -> None:
    lines = (tiny_collection / "corpus" / "part-0.jsonl").read_text().splitlines()
    lines.append(json.dumps({"id": "more", "contents": "x"}))
    (tmp_path / "c.jsonl").write_text("\n".join(lines[:documents]) + "\n")
    status, text = verify(capsys, flat, "--corpus", tmp_path / "c.jsonl")
    assert (status, text.splitlines()[0]) == (1, f"{flat}: {finding}")


def test_texts_that_changed(
    capsys: pytest.CaptureFixture[str], flat: Path, tiny_collection: Path, tmp_path: Path
) -> None:
    """The ids are the same; only encoding a sample again tells."""
    lines = (tiny_collection / "corpus" / "part-0.jsonl").read_text().splitlines()
    records = [{**json.loads(line), "contents": "river and engine"} for line in lines]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    status, text = verify(capsys, flat, "--corpus", tmp_path / "c.jsonl")
    assert status == 1
    assert "encoded again has cosine 0." in text
    assert verify(capsys, flat, "--corpus", tmp_path / "c.jsonl", "--sample", 0)[0] == 0


def test_wrong_encoder(capsys: pytest.CaptureFixture[str], flat: Path, tiny_collection: Path, tmp_path: Path) -> None:
    other = make_checkpoint(tmp_path / "other", make_tiny_encoder(tmp_path / "raw", seed=1))
    with pytest.raises(UsageError, match="differs from this one in weights"):
        verify(capsys, flat, "--corpus", tiny_collection, "--encoder", other)


def test_shard_is_compared_with_its_part(
    capsys: pytest.CaptureFixture[str], tiny_collection: Path, checkpoint: Path, tmp_path: Path
) -> None:
    flags = ("--shard-id", 1, "--shard-num", 3)
    folder = run_encode(tiny_collection, tmp_path / "shard", checkpoint, input=flags)
    status, text = verify(capsys, folder, "--corpus", tiny_collection, "--sample", 20)
    assert status == 0, text
    assert "20 documents encoded again" in text


@pytest.mark.parametrize("wanted", [(), ("--fields", "title", "text"), ("--fields", "title", "text", "--add-sep")])
def test_documents_are_read_as_they_were_encoded(
    capsys: pytest.CaptureFixture[str], checkpoint: Path, tmp_path: Path, wanted: tuple[str, ...]
) -> None:
    rows = [{"key": f"k{n}", "title": f"music {n}", "text": f"river of {n} engine"} for n in range(8)]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    inputs = ("--fields", "title", "text", "--docid-field", "key")
    model = ("--precision", "fp32", *wanted)
    folder = run_encode(tmp_path / "c.jsonl", tmp_path / "index", checkpoint, input=inputs, model=model)
    status, text = verify(capsys, folder, "--corpus", tmp_path / "c.jsonl")
    assert status == 0, text


def test_index_of_stock(capsys: pytest.CaptureFixture[str], flat: Path, tiny_collection: Path, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    shutil.copytree(flat, folder, ignore=shutil.ignore_patterns("*.json"))
    status, text = verify(capsys, folder)
    assert status == 0 and "no manifest: not made by pyserini_sdr" in text
    with pytest.raises(SdrError, match=r"has no sdr_index\.json to tell its encoder; give --encoder or --sample 0"):
        verify(capsys, folder, "--corpus", tiny_collection)
    assert verify(capsys, folder, "--corpus", tiny_collection, "--sample", 0)[0] == 0
    facts = {"kind": "index", "type": "flat", "count": len(read_index(folder)[0])}
    (folder / "sdr_index.json").write_text(json.dumps(facts))
    with pytest.raises(SdrError, match="does not tell its encoder; give --encoder or --sample 0"):
        verify(capsys, folder, "--corpus", tiny_collection)
