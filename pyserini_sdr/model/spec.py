"""`EncoderSpec`: everything besides the weights that decides what vector a text gets.

It is stored in the checkpoint (`sdr_encoder.json`) and in every index made with it, so that pooling, similarity,
prefixes and lengths are never flags to remember. This module imports no torch.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..core.errors import DataError, UsageError, shorten
from ..core.files import read_json, read_object, write_json

SPEC_FILE = "sdr_encoder.json"
Pooling = Literal["cls", "mean"]
Similarity = Literal["cosine", "dot"]
_PREFIXES, _LENGTHS = ("query_prefix", "document_prefix"), ("query_max_length", "document_max_length")
_OF_TOWERS = ("document_encoder", "document_weights", "document_pooling")
POOLINGS: tuple[str, ...] = ("cls", "mean")
SIMILARITIES: tuple[str, ...] = ("cosine", "dot")

_ST_MODULES, _ST_SETTINGS, _ST_CONFIG = "modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"
_ST_POOLING, _ST_NORMALIZE = "1_Pooling", "2_Normalize"


@dataclass(frozen=True)
class EncoderSpec:
    """How texts become vectors.

    Args:
        pooling: `cls` (first position) or `mean` (over the attention mask) of the last hidden state.
        similarity: `cosine` means L2-normalised vectors, `dot` vectors as they are; both are searched by inner product.
        dimension: size of a vector.
        query_prefix, document_prefix: put before the text with one space between; empty for none.
        query_max_length, document_max_length: tokens kept, special tokens included.
        backbone: name the encoder started from (information only).
        document_encoder, document_weights, document_pooling: name, fingerprint and pooling of another encoder that
            documents are encoded with; this one then does queries only, and document prefix and length are that one's.
            Empty for one encoder of both.
    """

    pooling: Pooling
    similarity: Similarity
    dimension: int
    query_prefix: str = ""
    document_prefix: str = ""
    query_max_length: int = 64
    document_max_length: int = 256
    backbone: str = ""
    document_encoder: str = ""
    document_weights: str = ""
    document_pooling: str = ""

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise UsageError(f"pooling {self.pooling!r}: expected {' or '.join(POOLINGS)}")
        if self.similarity not in SIMILARITIES:
            raise UsageError(f"similarity {self.similarity!r}: expected {' or '.join(SIMILARITIES)}")
        for name in ("dimension", *_LENGTHS):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{name} {value!r}: expected a positive integer")
        for name in (*_PREFIXES, "backbone", *_OF_TOWERS):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise UsageError(f"{name} {value!r}: expected a string")
        for name in _PREFIXES:
            value = getattr(self, name)
            if value != value.strip():  # the space is ours to add: stock Pyserini adds one as well
                object.__setattr__(self, name, value.strip())

    @property
    def queries_only(self) -> bool:
        """Whether documents are another encoder's."""
        return bool(self.document_weights)

    @property
    def normalize(self) -> bool:
        """Whether vectors are L2-normalised."""
        return self.similarity == "cosine"

    def query_text(self, text: str) -> str:
        """The text the tokenizer sees for a query."""
        return f"{self.query_prefix} {text}" if self.query_prefix else text

    def document_text(self, text: str) -> str:
        """The text the tokenizer sees for a document."""
        return f"{self.document_prefix} {text}" if self.document_prefix else text

    def document_side(self) -> dict[str, Any]:
        """What decides a document's vector, besides the weights."""
        names = ("similarity", "dimension", "document_prefix", "document_max_length")
        return {"pooling": self.document_pooling or self.pooling} | {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; what concerns a document encoder only where there is one."""
        values = dataclasses.asdict(self)
        return values if self.queries_only else {k: v for k, v in values.items() if k not in _OF_TOWERS}

    @classmethod
    def from_dict(cls, values: Any, source: Path | str) -> EncoderSpec:
        """A spec from its JSON form; `DataError` naming `source` if it is not one."""
        names = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(values, dict):
            raise DataError(source, f"expected a JSON object, found {shorten(values)}")
        missing = {"pooling", "similarity", "dimension"} - values.keys()
        if missing or values.keys() - names:
            wrong = (
                f"lacks {', '.join(sorted(missing))}"
                if missing
                else "has unknown keys " + ", ".join(sorted(values.keys() - names))
            )
            raise DataError(source, f"the encoder spec {wrong}", remedy="was it written by another version?")
        try:
            return cls(**values)
        except UsageError as error:
            raise DataError(source, str(error)) from error

    def save(self, directory: Path) -> None:
        """Writes `sdr_encoder.json` and the files by which sentence-transformers builds the same encoder."""
        write_json(directory / SPEC_FILE, self.to_dict())
        modules = [("", "models.Transformer"), (_ST_POOLING, "models.Pooling")]
        if self.normalize:
            modules.append((_ST_NORMALIZE, "models.Normalize"))
        write_json(
            directory / _ST_MODULES,
            [
                {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{kind}"}
                for i, (path, kind) in enumerate(modules)
            ],
        )
        write_json(
            directory / _ST_POOLING / "config.json",
            {
                "word_embedding_dimension": self.dimension,
                "pooling_mode_cls_token": self.pooling == "cls",
                "pooling_mode_mean_tokens": self.pooling == "mean",
                "pooling_mode_max_tokens": False,
                "pooling_mode_mean_sqrt_len_tokens": False,
                "include_prompt": True,
            },
        )
        if self.normalize:
            write_json(directory / _ST_NORMALIZE / "config.json", {})
        write_json(
            directory / _ST_SETTINGS,
            {
                "max_seq_length": max(self.query_max_length, self.document_max_length),
                "query_length": self.query_max_length,
                "document_length": self.document_max_length,
                "do_lower_case": False,
            },
        )
        prompts = {
            side: f"{prefix} " if prefix else ""
            for side, prefix in (("query", self.query_prefix), ("document", self.document_prefix))
        }
        write_json(
            directory / _ST_CONFIG,
            {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": self.similarity},
        )


def read_spec(directory: Path, overrides: dict[str, Any], *, fallback: dict[str, Any] | None = None) -> EncoderSpec:
    """The spec of a checkpoint directory.

    Sources, first found: our `sdr_encoder.json`, sentence-transformers' files, `fallback`. `overrides` win over all.

    Args:
        directory: a local checkpoint directory.
        overrides: field → value from flags; None values are ignored.
        fallback: pooling and similarity for a raw backbone; None refuses to guess.

    Raises:
        UsageError: nothing tells the pooling or similarity.
        DataError: a file contradicts itself or cannot be read.
    """
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if (directory / SPEC_FILE).exists():
        spec = EncoderSpec.from_dict(read_json(directory / SPEC_FILE), directory / SPEC_FILE)
        longest = position_limit(directory)
        _checked_lengths(overrides, longest)
        own = set(_LENGTHS[:1] if spec.queries_only else _LENGTHS) - overrides.keys()
        try:
            _checked_lengths({name: getattr(spec, name) for name in own}, longest)
        except UsageError as error:
            raise DataError(directory / SPEC_FILE, str(error)) from error
        return dataclasses.replace(spec, **overrides)
    values: dict[str, Any] = {"dimension": _hidden_size(directory), "backbone": directory.name}
    if (directory / _ST_MODULES).exists():
        values |= _read_sentence_transformers(directory)
    else:
        values |= fallback or {}
    values |= overrides
    missing = [name for name in ("pooling", "similarity") if name not in values]
    if missing:
        flags = {"pooling": "--pooling", "similarity": "--l2-norm or --no-l2-norm (train: --similarity)"}
        raise UsageError(
            f"{directory}: no {SPEC_FILE} and no sentence-transformers files tell the {' and '.join(missing)} of this "
            f"encoder; give {' and '.join(flags[name] for name in missing)}"
        )
    longest = position_limit(directory)
    _checked_lengths(overrides, longest)
    for name in _LENGTHS:
        default = EncoderSpec.__dataclass_fields__[name].default
        values[name] = min(values.get(name, default), longest) if longest else values.get(name, default)
    return EncoderSpec(**values)


def is_raw_backbone(directory: Path) -> bool:
    """Whether a checkpoint says nothing about pooling."""
    return not (directory / SPEC_FILE).exists() and not (directory / _ST_MODULES).exists()


def _config(directory: Path) -> dict[str, Any]:
    config = read_json(directory / "config.json", "checkpoint configuration")
    if not isinstance(config, dict):
        raise DataError(directory / "config.json", "expected a JSON object")
    return config


def _hidden_size(directory: Path) -> int:
    config = _config(directory)
    for key in ("hidden_size", "dim", "d_model"):  # BERT and kin, DistilBERT, T5
        if isinstance(config.get(key), int):
            return config[key]
    raise DataError(directory / "config.json", "does not tell the hidden size of the model")


def position_limit(directory: Path) -> int | None:
    """Tokens that the model of a checkpoint directory has positions for, special tokens included; None for no limit."""
    config = _config(directory)
    limit = config.get("max_position_embeddings")
    if not isinstance(limit, int):
        return None
    # RoBERTa and kin count positions from pad_token_id + 1
    offset = 2 if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    return limit - offset


def _checked_lengths(overrides: dict[str, Any], longest: int | None) -> dict[str, Any]:
    """The overrides, unless a length asks for more positions than the model has."""
    for name in _LENGTHS:
        if longest is not None and overrides.get(name, 0) > longest:
            side = name.split("_")[0]
            raise UsageError(f"maximum {side} length {overrides[name]}: the encoder has positions for {longest} tokens")
    return overrides


def tokenizer_limit(directory: Path) -> int | None:
    """The length at which the tokenizer truncates: newer sentence-transformers keep their `max_seq_length` there."""
    file = directory / "tokenizer_config.json"
    config = read_json(file) if file.exists() else {}
    limit = config.get("model_max_length") if isinstance(config, dict) else None
    return limit if isinstance(limit, int) and limit < 1 << 20 else None  # 10^30 stands for no limit


def _read_sentence_transformers(directory: Path) -> dict[str, Any]:
    modules = read_json(directory / _ST_MODULES)
    try:
        if not isinstance(modules, list):
            raise TypeError
        kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
        paths = {kind: module["path"] for kind, module in zip(kinds, modules, strict=True)}
    except (TypeError, KeyError, AttributeError) as error:
        raise DataError(directory / _ST_MODULES, "not a sentence-transformers module list") from error
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        raise DataError(
            directory / _ST_MODULES,
            f"modules {' → '.join(kinds)} are not a plain bi-encoder",
            remedy="Transformer → Pooling [→ Normalize] is supported",
        )
    pooling_file = directory / paths["Pooling"] / "config.json"
    pooling = read_object(pooling_file)
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    active = [key for key, on in pooling.items() if key.startswith("pooling_mode_") and on is True]
    mode = pooling.get("pooling_mode") or (modes.get(active[0]) if len(active) == 1 else None)
    if mode not in POOLINGS:
        raise DataError(pooling_file, f"pooling {active or mode!r} is not supported", remedy="cls and mean are")
    values: dict[str, Any] = {"pooling": mode}
    settings_file, config_file = directory / _ST_SETTINGS, directory / _ST_CONFIG
    settings = read_object(settings_file) if settings_file.exists() else {}
    config = read_object(config_file) if config_file.exists() else {}
    prompts = config.get("prompts") or {}
    if not isinstance(prompts, dict) or not all(isinstance(prompt, str | None) for prompt in prompts.values()):
        raise DataError(config_file, f"prompts {shorten(prompts, 60)}: expected texts by their names")
    if "Normalize" in kinds or config.get("similarity_fn_name") == "cosine":
        values["similarity"] = "cosine"
    elif config.get("similarity_fn_name") == "dot":
        values["similarity"] = "dot"
    longest = settings.get("max_seq_length") or tokenizer_limit(directory)
    for side in ("query", "document"):
        length = settings.get(f"{side}_length") or longest
        if isinstance(length, int):
            values[f"{side}_max_length"] = length
        names = ("query",) if side == "query" else ("document", "passage", "corpus")  # as encode_document looks
        prompt = next((prompts[name] for name in names if prompts.get(name)), None)
        if prompt:
            values[f"{side}_prefix"] = prompt.strip()
    return values


def is_for_queries_only(directory: Path) -> bool:
    """Whether a checkpoint directory says that its documents are another encoder's."""
    path = directory / SPEC_FILE
    return path.is_file() and EncoderSpec.from_dict(read_json(path), path).queries_only
