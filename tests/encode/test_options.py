"""The command line of `encode`: stock's three groups, and what stock gets wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.encode import __main__ as cli
from pyserini_sdr.encode.options import EncodeOptions

PROG = "python -m pyserini_sdr.encode"


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[EncodeOptions]]:
    """The options that the command would work with, in a list."""
    got: list[EncodeOptions] = []
    monkeypatch.setattr(cli, "load", lambda target: got.append)
    yield got


def parse(parsed: list[EncodeOptions], *argv: str) -> EncodeOptions:
    assert cli.COMMAND.execute(PROG, argv) == 0
    return parsed.pop()


MINIMAL = ("input", "--corpus", "c", "output", "--embeddings", "e", "encoder", "--encoder", "m")


def test_groups_in_any_order(parsed: list[EncodeOptions]) -> None:
    first = parse(parsed, *MINIMAL)
    second = parse(parsed, "encoder", "--encoder", "m", "input", "--corpus", "c", "output", "--embeddings", "e")
    assert first == second
    assert (first.input.corpus, first.output.embeddings, first.encoder.encoder) == (Path("c"), Path("e"), "m")


def test_values_that_are_group_names(parsed: list[EncodeOptions]) -> None:
    """Stock cuts there and fails with "expected one argument"."""
    words = "input --corpus input --docid-field encoder output --embeddings output encoder --encoder encoder"
    options = parse(parsed, *words.split())
    assert (options.input.corpus, options.input.docid_field) == (Path("input"), "encoder")
    assert (options.output.embeddings, options.encoder.encoder) == (Path("output"), "encoder")
    options = parse(parsed, "input", "--corpus=input", "output", "--emb", "encoder", "encoder", "--encoder", "input")
    assert (options.input.corpus, options.output.embeddings) == (Path("input"), Path("encoder"))


def test_stock_flags(parsed: list[EncodeOptions]) -> None:
    """A stock command line with every flag that an automatic encoder has, and one of ours that overrides the spec."""
    words = (
        "input --corpus c --fields title text --docid-field key --delimiter \\n --shard-id 1 --shard-num 3 "
        "output --embeddings e --to-faiss "
        "encoder --encoder m --encoder-class auto --fields title text --batch-size 32 --max-length 100 --dimension 384 "
        "--device cuda:0 --fp16 --add-sep --pooling mean --l2-norm --prefix passage: --truncate-dim 64"
    )
    options = parse(parsed, *words.split())
    assert options.input.fields == options.encoder.fields == ["title", "text"]
    assert (options.input.delimiter, options.input.shard_id, options.input.shard_num) == ("\n", 1, 3)
    assert options.output.to_faiss and options.encoder.fp16 and options.encoder.add_sep
    assert (options.encoder.batch_size, options.encoder.dimension, options.encoder.device) == (32, 384, "cuda:0")
    assert options.encoder.spec_overrides() == {
        "pooling": "mean",
        "similarity": "cosine",
        "document_prefix": "passage:",
        "document_max_length": 100,
        "dimension": 64,
    }


def test_flags_not_given_override_nothing(parsed: list[EncodeOptions]) -> None:
    assert set(parse(parsed, *MINIMAL).encoder.spec_overrides().values()) == {None}
    assert parse(parsed, *MINIMAL, "--no-l2-norm").encoder.spec_overrides()["similarity"] == "dot"


def test_print_config_reads_back(
    parsed: list[EncodeOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*MINIMAL, "--pooling", "cls", "input"][:-1]
    argv[3:3] = ["--fields", "title", "text", "--delimiter", "\\t", "--shard-num", "2"]
    assert cli.COMMAND.execute(PROG, [*argv, "--print-config"]) == 0
    config = tmp_path / "c.yaml"
    config.write_text(capsys.readouterr().out)
    assert not parsed
    assert parse(parsed, "--config", str(config)) == parse(parsed, *argv)
    options = parse(parsed, "--config", str(config), "encoder", "--pooling", "mean", "--encoder", "other")
    assert (options.encoder.pooling, options.encoder.encoder) == ("mean", "other")  # flags win
    assert (options.input.delimiter, options.input.shard_num) == ("\t", 2)


def test_delimiter_is_unescaped(parsed: list[EncodeOptions]) -> None:
    assert parse(parsed, "input", "--delimiter", "\\t", *MINIMAL[1:]).input.delimiter == "\t"
    assert parse(parsed, *MINIMAL).input.delimiter == "\n"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("output", "--embeddings", "e", "encoder", "--encoder", "m"), "input: --corpus is required"),
        (("--corpus", "c"), "'--corpus' stands before the first of the groups input, output, encoder"),
        ((*MINIMAL, "input", "--fields", "text"), "the group 'input' occurs twice"),
        ((*MINIMAL, "--to-faiss"), "unrecognized arguments: --to-faiss"),
        ((*MINIMAL, "--pooling", "last"), "invalid choice: 'last'"),
        ((*MINIMAL, "--max-length", "1"), "encoder: --max-length 1: must be at least 2"),
        ((*MINIMAL, "--encoder-class", "tct"), "encoder: --encoder-class tct: unknown encoder class 'tct'"),
        (("input", "--shard-id", "2", "--shard-num", "2", *MINIMAL[1:]), "--shard-id 2: must be below --shard-num 2"),
        (("input", "--shard-num", "0", *MINIMAL[1:]), "input: --shard-num 0: must be at least 1"),
    ],
)
def test_usage_errors(parsed: list[EncodeOptions], argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        cli.COMMAND.execute(PROG, argv)
    assert message in str(caught.value)
    assert not parsed


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("encodr: {corpus: c}", "unknown group 'encodr'; did you mean 'encoder'?"),
        ("input: [1]", "input: expected a mapping of option names to values"),
        ("encoder: {poling: cls}", "encoder: unknown option 'poling'; did you mean 'pooling'?"),
    ],
)
def test_bad_config_names_the_file(parsed: list[EncodeOptions], tmp_path: Path, config: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(config)
    with pytest.raises(DataError) as caught:
        cli.COMMAND.execute(PROG, ["--config", str(tmp_path / "c.yaml"), *MINIMAL])
    assert f"{tmp_path / 'c.yaml'}: {message}" in str(caught.value)


@pytest.mark.parametrize(("argv", "status"), [(["--help"], 0), ([], 2)])
def test_help(argv: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.COMMAND.execute(PROG, argv) == status
    text: Any = capsys.readouterr().out
    for part in ("\ninput:\n", "\noutput:\n", "\nencoder:\n", "--to-faiss", "--pooling {cls,mean}", "torchrun"):
        assert part in text
