"""Checkpoints that are damaged or do not fit: spec, configuration, weights, tokenizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from .conftest import Case, Run, refuses
from .material import DENSE as SEARCH
from .material import ENCODE, TRAIN, Damage, all_of, cut, edit, remove, write

SPEC = "checkpoint/sdr_encoder.json"
DENSE = f"{SEARCH} --encoder checkpoint"
RAW = ENCODE.replace("encoder checkpoint", "encoder encoder")
RERANK = "search rerank --run run.trec --topics topics.tsv --corpus collection --cross-encoder cross --output out.trec"


def weights(**changes: object) -> Damage:
    """The weights of `checkpoint`, changed by name (a name ending in `_` stands for all that begin so)."""

    def damage() -> None:
        path = Path("checkpoint/model.safetensors")
        tensors = load_file(path)
        for name, change in changes.items():
            key = next(key for key in tensors if key.endswith(name.replace("__", ".")))
            value = change(tensors.pop(key))  # type: ignore[operator]
            if value is not None:
                tensors[key] = value.contiguous()
        save_file(tensors, path, metadata={"format": "pt"})

    return damage


def more_weights() -> None:
    path = Path("checkpoint/model.safetensors")
    tensors = load_file(path)
    save_file(
        {**tensors, "adapter.down.weight": tensors["embeddings.LayerNorm.weight"].clone()},
        path,
        metadata={"format": "pt"},
    )


def other_vocabulary() -> None:
    """A tokenizer that knows words for which there is no embedding."""
    path = Path("checkpoint/tokenizer.json")
    value = json.loads(path.read_text())
    value["model"]["vocab"] |= {f"river{n}": len(value["model"]["vocab"]) + n for n in range(50)}
    value["model"]["vocab"] |= {"the": len(value["model"]["vocab"]) + 60}
    path.write_text(json.dumps(value))


SPECS = [
    Case("cut", ENCODE, r"sdr_encoder\.json:\d+: invalid JSON", cut(SPEC)),
    Case("empty", ENCODE, r"sdr_encoder\.json:1: invalid JSON", write(SPEC, "")),
    Case("list", ENCODE, r"sdr_encoder\.json: expected a JSON object", write(SPEC, "[]")),
    Case("not UTF-8", ENCODE, r"sdr_encoder\.json: invalid JSON", write(SPEC, b'{"pooling": "\xff"}')),
    Case(
        "number of 5,000 digits",
        ENCODE,
        r"sdr_encoder\.json: invalid JSON",
        write(SPEC, '{"dimension": ' + "9" * 5000 + "}"),
    ),
    Case("no pooling", ENCODE, r"sdr_encoder\.json: the encoder spec lacks pooling;", edit(SPEC, pooling=...)),
    Case(
        "unknown key", ENCODE, r"sdr_encoder\.json: the encoder spec has unknown keys colour;", edit(SPEC, colour="red")
    ),
    Case(
        "unknown pooling", ENCODE, r"sdr_encoder\.json: pooling 'max': expected cls or mean", edit(SPEC, pooling="max")
    ),
    Case("pooling is a list", ENCODE, r"sdr_encoder\.json: pooling", edit(SPEC, pooling=["mean"])),
    Case("unknown similarity", ENCODE, r"sdr_encoder\.json: similarity 'l2'", edit(SPEC, similarity="l2")),
    Case("dimension as text", ENCODE, r"sdr_encoder\.json: dimension '32'", edit(SPEC, dimension="32")),
    Case(
        "dimension of another model",
        ENCODE,
        r"sdr_encoder\.json: says dimension 64, the model has 32",
        edit(SPEC, dimension=64),
    ),
    Case("length of nothing", ENCODE, r"sdr_encoder\.json: document_max_length 0", edit(SPEC, document_max_length=0)),
    Case("length is true", ENCODE, r"sdr_encoder\.json: query_max_length True", edit(SPEC, query_max_length=True)),
    Case(
        "length beyond the positions", ENCODE, r"sdr_encoder\.json: .*4000.*128", edit(SPEC, document_max_length=4000)
    ),
    Case("prefix is a number", ENCODE, r"sdr_encoder\.json: document_prefix 3", edit(SPEC, document_prefix=3)),
    Case("backbone is a number", ENCODE, r"sdr_encoder\.json: backbone 3", edit(SPEC, backbone=3)),
    Case(
        "document encoder is a list", DENSE, r"sdr_encoder\.json: document_weights", edit(SPEC, document_weights=["x"])
    ),
    Case("train", TRAIN, r"sdr_encoder\.json: pooling 'max'", edit(SPEC, pooling="max")),
    Case("search", DENSE, r"sdr_encoder\.json: pooling 'max'", edit(SPEC, pooling="max")),
]

MODELS = [
    Case("absent", ENCODE.replace("encoder checkpoint", "encoder ./none"), r"none: no such checkpoint"),
    Case("file", ENCODE.replace("encoder checkpoint", "encoder qrels.txt"), r"qrels\.txt: is not a checkpoint"),
    Case("no config", ENCODE, r"checkpoint: is not a checkpoint \(no config\.json\)", remove("checkpoint/config.json")),
    Case("cut config", ENCODE, r"config\.json:\d+: invalid JSON", cut("checkpoint/config.json")),
    Case("config is a list", RAW, r"config\.json: expected a JSON object", write("encoder/config.json", "[]")),
    Case(
        "config of no model",
        ENCODE,
        r"checkpoint: cannot be loaded as an encoder|config\.json",
        write("checkpoint/config.json", "{}"),
    ),
    Case(
        "config of unknown model",
        ENCODE,
        r"checkpoint: cannot be loaded as an encoder",
        edit("checkpoint/config.json", model_type="telepath"),
    ),
    Case(
        "config of another size",
        ENCODE,
        r"checkpoint: \d+ weights are misshapen|says dimension",
        edit("checkpoint/config.json", intermediate_size=99),
    ),
    Case(
        "config of more layers",
        ENCODE,
        r"checkpoint: \d+ weights are missing",
        edit("checkpoint/config.json", num_hidden_layers=3),
    ),
    Case(
        "config of fewer layers",
        ENCODE,
        r"checkpoint: \d+ weights are unexpected",
        edit("checkpoint/config.json", num_hidden_layers=1),
    ),
    Case(
        "config: heads do not divide",
        ENCODE,
        r"checkpoint: cannot be loaded|config\.json",
        edit("checkpoint/config.json", num_attention_heads=5),
    ),
    Case(
        "config: no heads",
        ENCODE,
        r"checkpoint: cannot be loaded|config\.json",
        edit("checkpoint/config.json", num_attention_heads=0),
    ),
    Case(
        "config: size is text",
        ENCODE,
        r"checkpoint: cannot be loaded|config\.json",
        edit("checkpoint/config.json", hidden_size="many"),
    ),
    Case(
        "config: unknown activation",
        ENCODE,
        r"checkpoint: cannot be loaded|config\.json",
        edit("checkpoint/config.json", hidden_act="magic"),
    ),
    Case(
        "config: vocabulary of another size",
        ENCODE,
        r"checkpoint: its tokenizer has tokens up to number 162.*;",
        edit("checkpoint/config.json", vocab_size=50),
    ),
    Case("no weights", ENCODE, r"checkpoint: ", remove("checkpoint/model.safetensors")),
    Case("empty weights", ENCODE, r"checkpoint: ", write("checkpoint/model.safetensors", b"")),
    Case("cut weights", ENCODE, r"checkpoint: damaged weights", cut("checkpoint/model.safetensors")),
    Case(
        "weights cut in their header",
        ENCODE,
        r"checkpoint: damaged weights",
        cut("checkpoint/model.safetensors", 0.001),
    ),
    Case(
        "weights are text",
        ENCODE,
        r"checkpoint: damaged weights",
        write("checkpoint/model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
    ),
    Case(
        "a weight lost",
        ENCODE,
        r"checkpoint: 1 weights are missing \(.*\);",
        weights(layer__1__output__dense__weight=lambda t: None),
    ),
    Case(
        "a weight of another shape",
        ENCODE,
        r"checkpoint: 1 weights are misshapen",
        weights(layer__1__output__dense__weight=lambda t: t[:, :3]),
    ),
    Case("a weight too many", ENCODE, r"checkpoint: 1 weights are unexpected \(adapter\.down\.weight\);", more_weights),
    Case(
        "a weight is NaN",
        ENCODE,
        r"NaN or infinite",
        weights(layer__1__output__dense__weight=lambda t: t * float("nan")),
    ),
    Case(
        "no tokenizer",
        ENCODE,
        r"checkpoint: holds no tokenizer.*;",
        all_of(remove("checkpoint/tokenizer.json"), remove("checkpoint/tokenizer_config.json")),
    ),
    Case("cut tokenizer", ENCODE, r"checkpoint: cannot be loaded as an encoder", cut("checkpoint/tokenizer.json")),
    Case("tokenizer of another vocabulary", ENCODE, r"checkpoint: .*token", other_vocabulary),
    Case("raw backbone", RAW, r"encoder: no sdr_encoder\.json.*give --pooling", status=2),
    Case(
        "sentence-transformers: modules cut",
        RAW,
        r"modules\.json:\d+: invalid JSON",
        write("encoder/modules.json", "[{"),
    ),
    Case(
        "sentence-transformers: modules no list",
        RAW,
        r"modules\.json: not a sentence-transformers",
        write("encoder/modules.json", "{}"),
    ),
    Case(
        "sentence-transformers: module a number",
        RAW,
        r"modules\.json: not a sentence-transformers",
        write("encoder/modules.json", "[3]"),
    ),
    Case(
        "sentence-transformers: dense layer",
        RAW,
        r"modules\.json: modules .* not a plain bi-encoder;",
        write(
            "encoder/modules.json",
            json.dumps(
                [{"type": f"sentence_transformers.models.{k}", "path": k} for k in ("Transformer", "Pooling", "Dense")]
            ),
        ),
    ),
    *(
        Case(
            f"sentence-transformers: {name} {kind}",
            RAW,
            rf"{name}",
            all_of(
                write(
                    "encoder/modules.json",
                    json.dumps([{"type": "s.Transformer", "path": ""}, {"type": "s.Pooling", "path": "1_Pooling"}]),
                ),
                write("encoder/1_Pooling/config.json", '{"pooling_mode_mean_tokens": true}'),
                write(f"encoder/{name}", content),
            ),
        )
        for name in ("1_Pooling/config.json", "sentence_bert_config.json", "config_sentence_transformers.json")
        for kind, content in (("is a list", "[]"), ("is a text", '"x"'))
    ),
    Case(
        "sentence-transformers: prompts a list",
        RAW,
        r"config_sentence_transformers",
        all_of(
            write(
                "encoder/modules.json",
                json.dumps([{"type": "s.Transformer", "path": ""}, {"type": "s.Pooling", "path": "1_Pooling"}]),
            ),
            write("encoder/1_Pooling/config.json", '{"pooling_mode_mean_tokens": true}'),
            write(
                "encoder/config_sentence_transformers.json", '{"prompts": ["query"], "similarity_fn_name": "cosine"}'
            ),
        ),
    ),
    Case(
        "sentence-transformers: a prompt a number",
        RAW,
        r"config_sentence_transformers",
        all_of(
            write(
                "encoder/modules.json",
                json.dumps([{"type": "s.Transformer", "path": ""}, {"type": "s.Pooling", "path": "1_Pooling"}]),
            ),
            write("encoder/1_Pooling/config.json", '{"pooling_mode_mean_tokens": true}'),
            write(
                "encoder/config_sentence_transformers.json", '{"prompts": {"query": 3}, "similarity_fn_name": "cosine"}'
            ),
        ),
    ),
    Case("train: weights cut", TRAIN, r"checkpoint: damaged weights", cut("checkpoint/model.safetensors")),
    Case("cross-encoder: weights cut", RERANK, r"cross: damaged weights", cut("cross/model.safetensors")),
    Case(
        "cross-encoder: three labels",
        RERANK,
        r"cross",
        edit("cross/config.json", id2label={"0": "a", "1": "b", "2": "c"}),
    ),
    Case(
        "cross-encoder: a bi-encoder", RERANK.replace("cross-encoder cross", "cross-encoder checkpoint"), r"checkpoint"
    ),
    Case(
        "dimension not the encoder's",
        f"{ENCODE} --dimension 768",
        r"--dimension 768: the encoder's dimension is 32",
        status=2,
    ),
    Case("length beyond the positions", f"{ENCODE} --max-length 4000", r"4000.*128", status=2),
]


@pytest.mark.parametrize("case", SPECS, ids=lambda case: case.name)
def test_specs(case: Case, place, run: Run) -> None:
    refuses(case, place, run)


@pytest.mark.parametrize("case", MODELS, ids=lambda case: case.name)
def test_models(case: Case, place, run: Run) -> None:
    refuses(case, place, run)
