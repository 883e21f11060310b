"""What a teacher is, by its files."""

from __future__ import annotations

import json
import shutil

import pytest

from pyserini_sdr.core.errors import DataError
from pyserini_sdr.model.cross_encoder import CrossEncoder
from pyserini_sdr.model.encoder import BiEncoder
from pyserini_sdr.teach.loading import load_teacher


def test_by_its_files(cross_encoder, bi_encoder, tmp_path):
    cross = load_teacher(str(cross_encoder), device="cpu", precision="fp32", max_length=40)
    assert isinstance(cross, CrossEncoder) and cross.max_length == 40
    bi = load_teacher(str(bi_encoder), max_length=24)
    assert isinstance(bi, BiEncoder) and bi.spec.document_max_length == 24
    foreign = tmp_path / "foreign"  # a sentence-transformers checkpoint, without our file
    shutil.copytree(bi_encoder, foreign)
    (foreign / "sdr_encoder.json").unlink()
    assert isinstance(load_teacher(str(foreign)), BiEncoder)


def test_neither(tiny_encoder, tmp_path):
    with pytest.raises(DataError, match=r"neither a cross-encoder .* nor a bi-encoder .*teach --train"):
        load_teacher(str(tiny_encoder))
    (tmp_path / "config.json").write_text(json.dumps([]))
    with pytest.raises(DataError, match="expected a JSON object"):
        load_teacher(str(tmp_path))
