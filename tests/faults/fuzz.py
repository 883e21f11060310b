"""Coverage-guided fuzzing of every reader, by atheris (`pip install atheris`; not among our dependencies).

    python -m tests.faults.fuzz -max_total_time=600

The first byte of an input picks the reader, the rest is the file. A reader may refuse it with an error of ours; what
else it raises is printed, with the input, once for each place. Arguments are libFuzzer's.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["pyserini_sdr", "json", "yaml"]):
    from pyserini_sdr.core.errors import SdrError
    from pyserini_sdr.core.files import read_json, read_jsonl, read_lines
    from pyserini_sdr.core.options import read_config
    from pyserini_sdr.data.collection import read_pairs
    from pyserini_sdr.data.corpus import iter_documents
    from pyserini_sdr.data.groups import read_groups
    from pyserini_sdr.data.sources import read_teacher_tsv, read_triples_ids, read_triples_text
    from pyserini_sdr.data.views import read_document_queries
    from pyserini_sdr.encode.texts import Reading
    from pyserini_sdr.index.docids import read_docids
    from pyserini_sdr.index.flat import open_flat
    from pyserini_sdr.index.manifest import read_index_manifest
    from pyserini_sdr.index.sources import EmbeddingSource
    from pyserini_sdr.index.store import spec_of
    from pyserini_sdr.model.spec import read_spec
    from pyserini_sdr.recipe.definition import load_recipe
    from pyserini_sdr.recipe.resolve import resolve
    from pyserini_sdr.trec.qrels import read_qrels
    from pyserini_sdr.trec.run import iter_run
    from pyserini_sdr.trec.topics import read_topics

FOLDER = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))  # noqa: PTH112
TOPICS = {"q1": "a", "1": "b"}


def _recipe(path: Path) -> None:
    resolve(load_recipe(str(path)), collection="c", encoder="e", output=Path("o"))


def _manifest(path: Path) -> None:
    manifest = read_index_manifest(path.parent)
    spec_of(manifest, path)
    Reading.from_manifest(manifest)


def _embeddings(path: Path) -> Iterator[object]:
    return EmbeddingSource(path.parent).blocks()


READERS: list[tuple[str, Callable[[Path], object]]] = [
    *((f"t{end}", read_topics) for end in (".tsv", ".json", ".jsonl", ".trec", ".txt", ".tsv.gz")),
    *(("x.txt", reader) for reader in (read_qrels, iter_run, read_pairs, read_lines, read_docids, open_flat)),
    *(("x.jsonl", reader) for reader in (iter_documents, read_groups, read_document_queries, read_jsonl)),
    ("x.jsonl", lambda path: iter_documents(path, fields=["title", "text"])),
    *(("x.tsv", lambda path, read=read: read(path, TOPICS)) for read in (read_teacher_tsv, read_triples_ids)),
    ("x.tsv", read_triples_text),
    ("x.json", read_json),
    ("x.yaml", read_config),
    ("x.yaml", _recipe),
    ("manifest/sdr_index.json", _manifest),
    ("embeddings/x.jsonl", _embeddings),
    ("spec/sdr_encoder.json", lambda path: read_spec(path.parent, {})),
    ("config/config.json", lambda path: read_spec(path.parent, {}, fallback={"pooling": "mean", "similarity": "dot"})),
    *(
        (f"{folder}/{name}", lambda path: read_spec(FOLDER / path.relative_to(FOLDER).parts[0], {}))
        for folder, name in (
            ("modules", "modules.json"),
            ("pooling", "1_Pooling/config.json"),
            ("settings", "sentence_bert_config.json"),
            ("prompts", "config_sentence_transformers.json"),
            ("tokenizer", "tokenizer_config.json"),
        )
    ),
]
_found: set[tuple[str, int, str]] = set()


def prepare() -> None:
    """What lies beside the files of some readers."""
    for name, _ in READERS:
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
    for folder in ("spec", "modules", "pooling", "settings", "prompts", "tokenizer"):
        (FOLDER / folder / "config.json").write_text('{"hidden_size": 8, "max_position_embeddings": 64}')
    for folder in ("pooling", "settings", "prompts", "tokenizer"):
        (FOLDER / folder / "1_Pooling").mkdir(exist_ok=True)
        (FOLDER / folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
        modules = '[{"type": "s.Transformer", "path": ""}, {"type": "s.Pooling", "path": "1_Pooling"}]'
        (FOLDER / folder / "modules.json").write_text(modules)


def one(data: bytes) -> None:
    """Reads one input."""
    if not data:
        return
    name, reader = READERS[data[0] % len(READERS)]
    path = FOLDER / name
    path.write_bytes(data[1:])
    try:
        result = reader(path)
        if isinstance(result, Iterator):
            for _ in result:
                pass
    except SdrError:
        pass
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        key = (frame.filename, frame.lineno or 0, type(error).__name__)
        if key not in _found:
            _found.add(key)
            print(f"\nFOUND {name} {getattr(reader, '__name__', reader)}: {data[1:400]!r}", file=sys.stderr)
            traceback.print_exc()


def seeds(folder: Path) -> None:
    """A healthy beginning for each reader."""
    texts = [
        *("q1\ta b\n", '{"q1": {"title": "a"}}', '{"id": "q1", "title": "a"}\n', "<top>\n<num> 1\n<title> a\n</top>\n"),
        *("q1 0 d1 1\n", "q1 Q0 d1 1 2.5 t\n", "q1\td1\n", '{"id": "d1", "title": "t", "contents": "t a"}\n'),
        '{"query_id": "q1", "query": "a", "positives": [{"id": "d1"}], "negatives": [], "scores": {"t": {"d1": 1}}}\n',
        *('{"id": "d1", "queries": ["a"]}\n', "2.5\t1.5\tq1\td1\td2\n", "q1\td1\td2\n", "hits: 3\nindex: [a]\n"),
        "settings: {steps: 3}\nstages:\n  - name: s\n    do: train\n    with: {max-steps: '{steps}'}\nresult: s\n",
        '{"pooling": "mean", "similarity": "dot", "dimension": 8, "query_prefix": "q:"}',
        '{"count": 3, "weights": "f", "encoder": "e", "shard": {"id": 0, "num": 2, "start": 0}, "files": {}}',
        '{"id": "a", "vector": [1, 2]}\n', '{"prompts": {"query": "q: "}, "similarity_fn_name": "cosine"}',
        '{"max_seq_length": 12}', '[{"type": "s.Transformer", "path": ""}, {"type": "s.Pooling", "path": "1_Pooling"}]',
    ]  # fmt: skip
    for number in range(len(READERS)):
        for place, text in enumerate(texts):
            (folder / f"{number}-{place}").write_bytes(bytes([number]) + text.encode())


def main() -> None:
    prepare()
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    seeds(corpus)
    atheris.Setup([sys.argv[0], "-max_len=400", "-verbosity=0", *sys.argv[1:], str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
