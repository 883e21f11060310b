"""`collection pseudo-queries` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyserini_sdr.collection.check import check_collection
from pyserini_sdr.collection.commands import COMMAND
from pyserini_sdr.core.errors import DataError, UsageError
from pyserini_sdr.data.collection import Collection
from pyserini_sdr.data.corpus import iter_documents
from pyserini_sdr.model.fingerprint import weights_fingerprint


def execute(*argv: object) -> int:
    return COMMAND.execute("collection", ["pseudo-queries", *map(str, argv)])


@pytest.mark.parametrize("method", ["first-sentence", "inverse-cloze", "key-phrases"])
def test_every_method_makes_a_sound_collection(method: str, tiny_collection: Path, tmp_path: Path, capsys) -> None:
    before = sorted((path, path.read_bytes()) for path in tiny_collection.rglob("*") if path.is_file())
    assert execute(tiny_collection, "--output", tmp_path / "c", "--method", method, "--min-tokens", 3) == 0
    assert f"known-item pseudo-queries by {method}" in capsys.readouterr().out
    report = check_collection(tmp_path / "c", [tmp_path / "c" / "pseudo.train.groups.jsonl"])
    assert [f.message for f in report.findings if f.level == "error"] == []
    assert report.counts["documents"] == 60 and report.counts["test queries"] >= 1
    assert before == sorted((path, path.read_bytes()) for path in tiny_collection.rglob("*") if path.is_file())


def corpus(path: Path, titled: int) -> Path:
    with path.open("w") as handle:
        for i in range(40):
            body = (
                f"It holds word{i} and more. Then come word{i + 1} and others of the kind. At last it ends with x{i}."
            )
            record = {"id": f"d{i}", "contents": body}
            if i < titled:
                record |= {"title": f"A note on {i}", "contents": f"A note on {i} {body}"}
            handle.write(json.dumps(record) + "\n")
    return path


@pytest.mark.parametrize(("titled", "method"), [(20, "title-body"), (19, "inverse-cloze"), (0, "inverse-cloze")])
def test_auto(titled: int, method: str, tmp_path: Path, capsys) -> None:
    assert execute(corpus(tmp_path / "corpus.jsonl", titled), "--output", tmp_path / "c") == 0
    assert f"--method auto: {method}\n" in capsys.readouterr().err
    manifest = Collection.open(tmp_path / "c").manifest
    assert manifest is not None and manifest["pseudo_queries"]["method"] == method


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "seq2seq"), "--method seq2seq and --generator NAME go together"),
        (("--generator", "x"), "--method seq2seq and --generator NAME go together"),
        (("--method", "title-body", "--per-document", 2), "--method title-body makes one query per document"),
        (("--min-query-tokens", 9, "--max-query-tokens", 8), "must not be above --max-query-tokens 8"),
        (("--dev", 0.5, "--test", 0.5), "leave too little to train on"),
        (("--method", "seq2seq", "--generator", "x", "--keep", 0.5), "seq2seq cuts nothing"),
        (("--dev", 0.7), "must lie between 0 and 0.5"),
    ],
)
def test_usage_errors(words: tuple[object, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        execute(tmp_path, "--output", tmp_path / "c", *words)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus.jsonl", 40)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "mine").write_text("precious")
    with pytest.raises(DataError, match="already exists and is not empty"):
        execute(source, "--output", tmp_path / "c")
    assert execute(source, "--output", tmp_path / "c", "--overwrite") == 0
    with pytest.raises(DataError, match="holds the corpus that is to be read"):
        execute(tmp_path / "c", "--output", tmp_path / "c", "--overwrite")
    assert (tmp_path / "c" / "corpus" / "documents.jsonl").exists()


def make_tiny_generator(directory: Path) -> Path:
    """A random T5 over the words of the test corpus."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = ["<pad>", "</s>", "<unk>", "It", "holds", "and", "more", "Then", "come", *(f"word{i}" for i in range(40))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64
    )
    fast.save_pretrained(directory)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
        )  # fmt: skip
        model = T5ForConditionalGeneration(config).eval()
        model.generation_config.eos_token_id = [1, *range(30, 49)]  # so that its queries end
        model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_generator(tmp_path_factory.mktemp("generator") / "t5")


def generate(source: Path, target: Path, generator: Path, *more: object) -> int:
    return execute(
        source, "--output", target, "--method", "seq2seq", "--generator", generator, "--per-document", 2,
        "--max-query-tokens", 12, "--min-query-tokens", 2, "--device", "cpu", *more,
    )  # fmt: skip


def test_seq2seq_leaves_documents_as_they_are(generator: Path, tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus.jsonl", 10)
    assert generate(source, tmp_path / "c", generator) == 0
    made = Collection.open(tmp_path / "c")
    assert list(iter_documents(made.corpus)) == list(iter_documents(source))
    topics = made.topics("train")
    assert {qid.split("-")[0] for qid in topics} == {"pq1", "pq2"}
    assert all(2 <= len(query.split()) <= 12 for query in topics.values())
    manifest = made.manifest
    assert manifest is not None and manifest["pseudo_queries"]["generator"] == str(generator)
    assert manifest["pseudo_queries"]["generator_weights"] == weights_fingerprint(generator)
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.jsonl", "c"}


def test_seq2seq_resumes(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pyserini_sdr.collection import pseudo_generated
    from pyserini_sdr.model.generator import QueryGenerator

    monkeypatch.setattr(pseudo_generated.Generated.__init__, "__kwdefaults__", {"part": 16})
    source = corpus(tmp_path / "corpus.jsonl", 0)
    assert generate(source, tmp_path / "whole", generator) == 0
    calls: list[int] = []
    original = QueryGenerator.generate

    def counted(self, texts, count, seed):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(texts))
        return original(self, texts, count, seed)

    monkeypatch.setattr(QueryGenerator, "generate", counted)
    with pytest.raises(KeyboardInterrupt):
        generate(source, tmp_path / "c", generator)
    assert calls == [16, 16] and not (tmp_path / "c").exists()
    with pytest.raises(DataError, match="unfinished pseudo-queries with another top_k"):
        generate(source, tmp_path / "c", generator, "--top-k", 3)
    with (
        monkeypatch.context() as patch,
        pytest.raises(DataError, match="unfinished pseudo-queries with another weights"),
    ):
        patch.setattr("pyserini_sdr.model.generator.weights_fingerprint", lambda _: "others")
        generate(source, tmp_path / "c", generator)
    calls[:] = [0]
    assert generate(source, tmp_path / "c", generator) == 0
    assert calls == [0, 8]
    for name in ("topics.train.tsv", "topics.test.tsv", "qrels.dev.txt"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_generator_that_is_none(tiny_encoder: Path, generator: Path, tmp_path: Path) -> None:
    source = corpus(tmp_path / "corpus.jsonl", 0)
    with pytest.raises(DataError, match="cannot be loaded as a query generator"):
        generate(source, tmp_path / "c", tiny_encoder, "--max-length", 64)
    with pytest.raises(UsageError, match=r"--max-length 384: .* has positions for 128 tokens"):
        generate(source, tmp_path / "c", tiny_encoder)
    assert [path.name for path in tmp_path.iterdir()] == ["corpus.jsonl"]  # nothing that holds us to that generator


def test_an_attempt_that_failed_at_once_does_not_bind(
    generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyserini_sdr.model.generator import QueryGenerator

    source = corpus(tmp_path / "corpus.jsonl", 0)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        patch.setattr(QueryGenerator, "generate", lambda *_: (_ for _ in ()).throw(MemoryError))
        generate(source, tmp_path / "c", generator)
    assert generate(source, tmp_path / "c", generator, "--batch-tokens", 512) == 0


def test_queries_are_no_longer_than_the_model_has_positions(tmp_path: Path) -> None:
    from transformers import BartConfig, BartForConditionalGeneration

    from pyserini_sdr.model.generator import QueryGenerator

    folder = make_tiny_generator(tmp_path / "bart")
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    config = BartConfig(
        vocab_size=49, max_position_embeddings=20, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
        pad_token_id=0, bos_token_id=0, eos_token_id=1, decoder_start_token_id=0, forced_eos_token_id=None, **sizes,
    )  # fmt: skip
    model = BartForConditionalGeneration(config)
    model.generation_config.eos_token_id = None  # so that queries are as long as may be
    model.save_pretrained(folder)
    made = QueryGenerator(str(folder), device="cpu", max_length=20, max_query_length=64)
    assert made.max_query_length == 19 and len(made.generate(["It holds word1 and more"], 2, 0)[0]) == 2
