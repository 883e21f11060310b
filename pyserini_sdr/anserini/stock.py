"""Stock Pyserini command lines: built, printed, run, and the paths they would misread. Imports no pyserini."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.errors import SdrError, UsageError
from ..trec.names import parse
from . import compat
from .java import Java, find_java, java_environment

RUNNER = "pyserini_sdr.anserini"
"""Our command that runs a stock module after starting the JVM itself."""


@dataclass(frozen=True)
class StockCommand:
    """A stock command line.

    Args:
        module: what follows `python -m`.
        args: its arguments.
    """

    module: str
    args: tuple[str, ...]

    @property
    def argv(self) -> list[str]:
        """The command as a list, with this interpreter."""
        return [sys.executable, "-m", self.module, *self.args]

    def __str__(self) -> str:
        """The command as one would type it in a shell."""
        return shlex.join(["python", "-m", self.module, *self.args])

    def run(self, *, output: str | os.PathLike[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Runs it, see `run_stock`."""
        return run_stock(self.module, self.args, output=output)


def _arguments(*parts: object) -> tuple[str, ...]:
    """Flags and values as strings; `None` values drop their flag, True keeps it bare, False drops it."""
    result: list[str] = []
    for flag, value in zip(parts[::2], parts[1::2], strict=True):
        if value is None or value is False:
            continue
        if value is True:
            result.append(str(flag))
        elif isinstance(value, list | tuple):
            result += [str(flag), *map(str, value)]
        elif str(value).startswith("-"):  # argparse would take it for a flag
            result.append(f"{flag}={value}")
        else:
            result += [str(flag), str(value)]
    return tuple(result)


def faiss_search_command(
    *,
    index: str | os.PathLike[str],
    topics: str | os.PathLike[str],
    encoder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    encoder_class: str = "auto",
    pooling: str | None = None,
    l2_norm: bool = False,
    query_prefix: str | None = None,
    hits: int = 1000,
    batch_size: int | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> StockCommand:
    """`pyserini.search.faiss` on our index with our checkpoint.

    The encoder class is always given: without it stock chooses a class by words found anywhere in the path and, if it
    then arrives at `auto` by the word `auto`, ignores pooling and normalisation.

    Args:
        encoder_class: as stock calls it.
        pooling: for `auto`, which alone takes it: `cls` or `mean` (it takes others silently for `cls`).
        l2_norm: for `auto`: whether vectors are normalised (cosine similarity).
        query_prefix: without its trailing space; stock inserts one.
    """
    if encoder_class == "auto":
        _check_pooling(pooling)
    return StockCommand(
        "pyserini.search.faiss",
        _arguments(
            *("--index", index, "--topics", topics, "--encoder", encoder, "--encoder-class", encoder_class),
            *("--pooling", pooling, "--l2-norm", l2_norm, "--query-prefix", query_prefix or None),
            *("--output", output, "--hits", hits),
            *("--batch-size", batch_size, "--threads", threads, "--device", device),
        ),
    )


def encode_command(
    *,
    corpus: str | os.PathLike[str],
    embeddings: str | os.PathLike[str],
    encoder: str | os.PathLike[str],
    dimension: int,
    pooling: str,
    l2_norm: bool,
    document_prefix: str | None = None,
    max_length: int = 256,
    fields: Sequence[str] = ("text",),
    delimiter: str | None = None,
    to_faiss: bool = True,
    batch_size: int | None = None,
    device: str = "cpu",
) -> StockCommand:
    """`pyserini.encode` with its three groups of arguments.

    A path that is one of the words `input`, `output`, `encoder` is written `./input`, because stock cuts its arguments
    at these words wherever they stand.
    """
    _check_pooling(pooling)
    input_ = _arguments("--corpus", _not_a_group(corpus), "--fields", list(fields), "--delimiter", delimiter)
    output = _arguments("--embeddings", _not_a_group(embeddings), "--to-faiss", to_faiss)
    model = _arguments(
        *("--encoder", _not_a_group(encoder), "--encoder-class", "auto", "--fields", list(fields)),
        *("--pooling", pooling, "--l2-norm", l2_norm, "--prefix", document_prefix or None),
        *("--max-length", max_length, "--dimension", dimension, "--batch-size", batch_size, "--device", device),
    )
    return StockCommand("pyserini.encode", ("input", *input_, "output", *output, "encoder", *model))


def lucene_index_command(
    *,
    corpus: str | os.PathLike[str],
    index: str | os.PathLike[str],
    threads: int = 1,
    store_positions: bool = False,
    store_docvectors: bool = False,
    store_raw: bool = False,
    language: str | None = None,
) -> StockCommand:
    """`pyserini.index.lucene` over a directory of `{"id", "contents"}` JSON lines files."""
    return StockCommand(
        "pyserini.index.lucene",
        _arguments(
            *("--collection", "JsonCollection", "--generator", "DefaultLuceneDocumentGenerator"),
            *("--input", corpus, "--index", index, "--threads", threads, "--language", language),
            *("--storePositions", store_positions, "--storeDocvectors", store_docvectors, "--storeRaw", store_raw),
        ),
    )


def lucene_search_command(
    *,
    index: str | os.PathLike[str],
    topics: str | os.PathLike[str],
    output: str | os.PathLike[str],
    k1: float = 0.9,
    b: float = 0.4,
    hits: int = 1000,
    batch_size: int | None = None,
    threads: int | None = None,
) -> StockCommand:
    """`pyserini.search.lucene --bm25`; k1 and b are always given, because stock guesses them from the index name."""
    return StockCommand(
        "pyserini.search.lucene",
        _arguments(
            *("--bm25", True, "--index", index, "--topics", topics, "--output", output, "--hits", hits),
            *("--k1", k1, "--b", b, "--batch-size", batch_size, "--threads", threads),
        ),
    )


def trec_eval_commands(
    qrels: str | os.PathLike[str],
    run: str | os.PathLike[str],
    measures: Sequence[str],
    *,
    complete: bool = True,
    per_query: bool = False,
    relevance_level: int = 1,
) -> list[StockCommand]:
    """`pyserini.eval.trec_eval` for measures named as in `trec.names`; `judged_K` is none of trec_eval's, and left out.

    `recip_rank_cut_10` is `-M 10 -m recip_rank`, `map(rel=2)` is `-l 2 -m map`; -M and -l hold for every measure of a
    command, so such measures get commands of their own. Of `-m P.5 -m P.10` trec_eval heeds one: it is `-m P.5,10`.

    Args:
        complete: average over all judged queries (`-c`), not only those retrieved.
        relevance_level: of measures that name none.
    """
    by_flags: dict[tuple[str | None, int | None], dict[str, list[str]]] = {}
    for measure in map(parse, measures):
        level = 1 if measure.graded else measure.level or relevance_level
        flags = (measure.cut if measure.base == "recip_rank_cut" else None, level if level > 1 else None)
        if measure.base != "judged":
            cuts = by_flags.setdefault(flags, {}).setdefault("recip_rank" if flags[0] else measure.base, [])
            if measure.cut and not flags[0] and measure.cut not in cuts:
                cuts.append(measure.cut)
    return [
        StockCommand(
            "pyserini.eval.trec_eval",
            (
                *_arguments("-c", complete, "-q", per_query, "-M", depth, "-l", level),
                *(
                    word
                    for base, cuts in names.items()
                    for word in ("-m", ".".join(filter(None, [base, ",".join(cuts)])))
                ),
                str(qrels),
                str(run),
            ),
        )
        for (depth, level), names in by_flags.items()
    ]


def _check_pooling(pooling: str | None) -> None:
    if pooling not in ("cls", "mean"):
        raise UsageError(f"pooling {pooling!r} cannot be had from stock Pyserini's auto encoder; it knows cls and mean")


def _not_a_group(path: str | os.PathLike[str]) -> str:
    return f"./{path}" if os.fspath(path) in ("input", "output", "encoder") else os.fspath(path)


def invocation(module: str, args: Sequence[str], java: Java | None = None) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run `python -m MODULE ARGS...` on the Java found.

    Where that Java lacks `jdk.incubator.vector`, or Pyserini would ask for a network, the module runs inside our
    runner, which starts the JVM first.
    """
    java = java or find_java()
    by_itself = java.has_vector and compat.starts_without_network()
    command = [sys.executable, "-m", *([] if by_itself else [RUNNER]), module]
    return [*command, *args], java_environment(java)


def run_stock(
    module: str, args: Sequence[str], *, output: str | os.PathLike[str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a stock module in a child process and returns its captured text.

    Args:
        output: the file or directory it has to leave; stock exits with 0 after some failures.

    Raises:
        NoJavaError: no Java.
        SdrError: it failed, with its last line of complaint.
    """
    command, environment = invocation(module, args)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )
    if done.returncode or (output is not None and not Path(output).exists()):
        raise SdrError(failure(StockCommand(module, tuple(args)), done.returncode, done.stdout + done.stderr))
    return done


def failure(command: StockCommand, status: int, text: str) -> str:
    """One line on a failed stock command: its last complaint, its exit status, and the command to repeat."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    complaints = [line for line in lines if re.search(r"Error|Exception|error:", line) and not line.startswith("at ")]
    last = (complaints or lines or ["it printed nothing"])[-1]
    what = f"failed with exit status {status}" if status else "left no output"
    return f"{command.module} {what}: {last[:300]}; repeat with: {command}"


Role = Literal["encoder", "index", "topics", "corpus"]
_CLASS_WORDS = (
    *("dkrr", "cosdpr", "dpr", "bpr", "tct_colbert", "aggretriever", "ance", "sentence", "unicoil", "openai-api"),
    *("auto", "contriever", "arctic", "uniir", "splade", "qwen3", "mmeb"),
)
_PREDEFINED_TOPICS = (
    *("msmarco-passage-dev-subset", "msmarco-passage-test-subset"),
    *("msmarco-doc-dev", "msmarco-doc-test"),
)


def path_warnings(path: str | os.PathLike[str], role: Role, *, class_given: bool = True) -> list[str]:
    """What stock Pyserini would misread in `path`, one line each with the remedy; empty if nothing.

    Stock looks for words in the whole path as it stands on its command line, folders included.

    Args:
        path: as it will be given to the stock command.
        role: what it is there.
        class_given: the stock command has `--encoder-class auto`, as ours always have; False warns of the words that
            pick another encoder class without it.
    """
    text = os.fspath(path)
    lower = text.lower()
    found: list[str] = []

    def warn(word: str, effect: str, remedy: str = "rename the folder or file") -> None:
        found.append(f"{text}: stock Pyserini sees {word!r} in this path and {effect}; {remedy}")

    if role == "encoder":
        for word in [w for w, seen in (("clip", "clip" in text), ("dse", "dse" in lower)) if seen]:
            warn(word, "passes options that its auto encoder refuses (documents) or forces L2 norm (queries)")
        if not class_given:
            for word in _CLASS_WORDS:
                if word in lower:
                    effect = "drops pooling and normalisation" if word == "auto" else "takes another encoder class"
                    warn(word, effect, "give --encoder-class auto or rename the folder")
                    break
    elif role == "index":
        for word in ("bright-aops", "bright-leetcode", "bright-theoremqa-questions"):
            if word in text:
                warn(word, "downloads a list of documents to leave out of the results")
    elif role == "topics":
        if "beir" in text and not text.endswith((".json", ".tsv", ".tsv.gz", ".txt", ".txt.gz")):
            warn("beir", "reads it as tab-separated whatever its extension")
        elif "cacm" in text and "beir" not in text and not text.endswith(".json"):
            warn("cacm", "reads it as topics of the CACM collection")
        stem = Path(text).stem.replace("_", "-")
        if stem in _PREDEFINED_TOPICS:
            warn(stem, "fails with a KeyError (before Pyserini 2.4)", "rename the file or give the stock name itself")
    elif role == "corpus":
        if "mbeir" in text:
            warn("mbeir", "lets documents lack fields")
        if "bright" in text:
            warn("bright", "keeps spaces at the ends of texts")
    return found
