"""The spec: stored, read back, read from foreign files, and never guessed."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.model.spec import SPEC_FILE, EncoderSpec, is_raw_backbone, read_spec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
specs = st.builds(
    EncoderSpec,
    pooling=st.sampled_from(["cls", "mean"]),
    similarity=st.sampled_from(["cosine", "dot"]),
    dimension=st.just(32),
    query_prefix=texts,
    document_prefix=texts,
    query_max_length=st.integers(1, 100),
    document_max_length=st.integers(1, 100),
    backbone=texts,
)


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def checkpoint(folder: Path, **config: Any) -> Path:
    """A directory with the configuration of a model and nothing else."""
    write(folder / "config.json", {"hidden_size": 32, "max_position_embeddings": 128, "model_type": "bert", **config})
    return folder


def old_layout(folder: Path, *, normalize: bool = True, pooling: str = "pooling_mode_mean_tokens") -> Path:
    """As sentence-transformers wrote it up to 5."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalize else [])]
    modules = [{"idx": i, "path": p, "type": f"sentence_transformers.models.{k}"} for i, (p, k) in enumerate(kinds)]
    write(folder / "modules.json", modules)
    modes = ("pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens")
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **{m: m == pooling for m in modes}})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 100, "do_lower_case": False})
    return checkpoint(folder)


@given(specs)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, spec: EncoderSpec) -> None:
    folder = checkpoint(tmp_path_factory.mktemp("spec"))
    spec.save(folder)
    assert read_spec(folder, {}) == spec
    (folder / SPEC_FILE).unlink()  # what sentence-transformers would make of it is the same encoder
    assert dataclasses.replace(read_spec(folder, {}), backbone=spec.backbone) == spec


def test_prefixes_lose_their_outer_spaces_and_get_one() -> None:
    spec = EncoderSpec("mean", "cosine", 32, query_prefix=" query: ", document_prefix="\tpassage:\n")
    assert (spec.query_prefix, spec.document_prefix) == ("query:", "passage:")
    assert spec.query_text("a") == "query: a"
    assert spec.document_text("a") == "passage: a"
    assert EncoderSpec("mean", "cosine", 32).query_text("a") == "a"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pooling": "last"}, "pooling 'last': expected cls or mean"),
        ({"similarity": "l2"}, "similarity 'l2': expected cosine or dot"),
        ({"dimension": 0}, "dimension 0: expected a positive integer"),
        ({"query_max_length": True}, "query_max_length True: expected a positive integer"),
        ({"document_prefix": 3}, "document_prefix 3: expected a string"),
    ],
)
def test_bad_values(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    values = {"pooling": "cls", "similarity": "dot", "dimension": 32, **change}
    with pytest.raises(UsageError) as caught:
        EncoderSpec(**values)
    assert message in str(caught.value)
    write(checkpoint(tmp_path) / SPEC_FILE, values)
    with pytest.raises(DataError) as caught:
        read_spec(tmp_path, {})
    assert str(caught.value) == f"{tmp_path / SPEC_FILE}: {message}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pooling": "cls"}, "lacks dimension, similarity"),
        ({"pooling": "cls", "similarity": "dot", "dimension": 32, "poling": 1}, "has unknown keys poling"),
        ([1], "expected a JSON object, found [1]"),
    ],
)
def test_spec_file_that_is_none(tmp_path: Path, values: Any, message: str) -> None:
    write(checkpoint(tmp_path) / SPEC_FILE, values)
    with pytest.raises(DataError) as caught:
        read_spec(tmp_path, {})
    assert message in str(caught.value) and SPEC_FILE in str(caught.value)


def test_old_sentence_transformers_layout(tmp_path: Path) -> None:
    spec = read_spec(old_layout(tmp_path), {})
    assert (spec.pooling, spec.similarity, spec.dimension) == ("mean", "cosine", 32)
    assert (spec.query_max_length, spec.document_max_length) == (100, 100)
    assert not is_raw_backbone(tmp_path)


def test_old_layout_with_prompts(tmp_path: Path) -> None:
    folder = old_layout(tmp_path, normalize=False, pooling="pooling_mode_cls_token")
    prompts = {"query": "query: ", "passage": "passage: "}
    write(folder / "config_sentence_transformers.json", {"prompts": prompts, "similarity_fn_name": "dot"})
    spec = read_spec(folder, {})
    assert (spec.pooling, spec.similarity) == ("cls", "dot")
    assert (spec.query_prefix, spec.document_prefix) == ("query:", "passage:")
    write(folder / "config_sentence_transformers.json", {"prompts": {"corpus": "text: "}, "similarity_fn_name": "dot"})
    assert read_spec(folder, {}).document_prefix == "text:"


def test_new_sentence_transformers_layout(tmp_path: Path) -> None:
    """Version 6: other class paths, one key for the pooling, lengths per side or in the tokenizer."""
    folder = checkpoint(tmp_path)
    types = ("base.modules.transformer.Transformer", "sentence_transformer.modules.pooling.Pooling")
    modules = [
        {"idx": i, "path": p, "type": f"sentence_transformers.{t}"}
        for i, (p, t) in enumerate(zip(("", "1_Pooling"), types, strict=True))
    ]
    write(folder / "modules.json", modules)
    write(folder / "1_Pooling" / "config.json", {"embedding_dimension": 32, "pooling_mode": "cls"})
    write(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine", "prompts": {}})
    write(folder / "tokenizer_config.json", {"model_max_length": 77})
    spec = read_spec(folder, {})
    assert (spec.pooling, spec.similarity) == ("cls", "cosine")
    assert (spec.query_max_length, spec.document_max_length) == (77, 77)
    write(folder / "sentence_bert_config.json", {"query_length": 20, "document_length": 40})
    spec = read_spec(folder, {})
    assert (spec.query_max_length, spec.document_max_length) == (20, 40)


def test_lengths_end_at_the_models_positions(tmp_path: Path) -> None:
    folder = old_layout(tmp_path)
    write(folder / "tokenizer_config.json", {"model_max_length": 10**30})
    write(folder / "sentence_bert_config.json", {"max_seq_length": 512})
    assert read_spec(folder, {}).document_max_length == 128
    checkpoint(folder, model_type="roberta", max_position_embeddings=130)
    assert read_spec(folder, {}).document_max_length == 128
    with pytest.raises(UsageError, match="maximum document length 200: the encoder has positions for 128 tokens"):
        read_spec(folder, {"document_max_length": 200})
    EncoderSpec("cls", "dot", 32).save(folder)
    with pytest.raises(UsageError, match="maximum query length 200"):
        read_spec(folder, {"query_max_length": 200})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"pooling": "pooling_mode_max_tokens"},
            r"1_Pooling/config\.json: pooling \['pooling_mode_max_tokens'\] is not",
        ),
        ({"pooling": "none of them"}, r"1_Pooling/config\.json: pooling None is not supported; cls and mean are"),
    ],
)
def test_unsupported_pooling(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_spec(old_layout(tmp_path, **change), {})


def test_unsupported_modules(tmp_path: Path) -> None:
    folder = old_layout(tmp_path)
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.Dense"
    write(folder / "modules.json", modules)
    with pytest.raises(DataError, match="modules Transformer → Pooling → Dense are not a plain bi-encoder"):
        read_spec(folder, {})
    write(folder / "modules.json", {"no": "list"})
    with pytest.raises(DataError, match="not a sentence-transformers module list"):
        read_spec(folder, {})


def test_pooling_is_never_guessed(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    assert is_raw_backbone(folder)
    with pytest.raises(UsageError) as caught:
        read_spec(folder, {})
    assert caught.value.exit_status == 2
    assert "tell the pooling and similarity of this encoder; give --pooling and --l2-norm" in str(caught.value)
    with pytest.raises(UsageError, match="tell the similarity of this encoder; give --l2-norm or --no-l2-norm"):
        read_spec(folder, {"pooling": "cls"})
    assert read_spec(folder, {"pooling": "cls", "similarity": "dot"}).pooling == "cls"
    assert read_spec(folder, {}, fallback={"pooling": "mean", "similarity": "cosine"}).normalize


def test_overrides_win_and_none_is_no_override(tmp_path: Path) -> None:
    folder = old_layout(tmp_path)
    spec = read_spec(folder, {"pooling": "cls", "similarity": None, "document_max_length": 50})
    assert (spec.pooling, spec.similarity, spec.document_max_length) == ("cls", "cosine", 50)
    spec.save(folder)
    assert read_spec(folder, {"similarity": "dot"}) == dataclasses.replace(spec, similarity="dot")


def test_document_side_leaves_the_query_side_out() -> None:
    one = EncoderSpec("mean", "cosine", 32, query_prefix="a", query_max_length=8, backbone="x")
    two = EncoderSpec("mean", "cosine", 32, query_prefix="b", query_max_length=9, backbone="y")
    assert one.document_side() == two.document_side()
    for change in ({"pooling": "cls"}, {"similarity": "dot"}, {"document_prefix": "d"}, {"document_max_length": 99}):
        assert dataclasses.replace(one, **change).document_side() != one.document_side()
