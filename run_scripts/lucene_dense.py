"""The steps of `lucene_dense.sh` that no command has: Anserini's indexer, vectors as topics, the comparison."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pyserini_sdr.core.command import Command, CommandGroup, main
from pyserini_sdr.core.options import as_dict, at_least, option

Kind = Literal["Flat", "Hnsw"]
_TIE = 1e-4
"""Documents whose score is so near to that of the last one may be swapped for one another."""
_SCORE = 1e-5
"""How far a score may be from (1 + cosine) / 2; Anserini prints six decimals."""


@dataclass
class IndexOptions:
    vectors: Path = option(help="directory of index export")
    collection: str = option(help="Anserini's collection class")
    kind: Kind = option(help="Lucene's index")
    index: Path = option(help="Lucene index to make")
    threads: int = option(1, help="indexing threads", check=at_least(1))


@dataclass
class TopicsOptions:
    index: Path = option(help="index directory that tells the encoder")
    topics: str = option(help="topics")
    output: Path = option(help="vectors as topics to write, .tsv")
    encoder: str | None = option(None, help="for the queries (default: the one that made the index)")


@dataclass
class CompareOptions:
    topics: str = option(help="topics")
    lucene: Path = option(help="run of Lucene, with topics numbered t0, t1, ...")
    faiss: Path = option(help="run of ours")
    hits: int = option(help="documents per topic")
    kind: Kind = option(help="Lucene's index")


def index(options: IndexOptions) -> None:
    """Runs Anserini's indexer on the Java found."""
    import shutil
    import subprocess

    from pyserini_sdr.anserini import compat
    from pyserini_sdr.anserini.java import VECTOR_MODULE, find_java, java_environment
    from pyserini_sdr.core.errors import SdrError
    from pyserini_sdr.core.manifest import write_manifest

    shutil.rmtree(options.index, ignore_errors=True)  # of a run that was interrupted
    java = find_java()
    command = [str(java.executable), *(["--add-modules", VECTOR_MODULE] if java.has_vector else [])]
    command += ["-cp", str(compat.fatjar()), f"io.anserini.index.Index{options.kind}DenseVectors"]
    command += ["-collection", options.collection, "-input", str(options.vectors), "-index", str(options.index)]
    command += ["-generator", "DenseVectorDocumentGenerator", "-threads", str(options.threads), "-optimize"]
    done = subprocess.run(command, env=java_environment(java), capture_output=True, text=True, check=False)
    if done.returncode or not any(options.index.glob("segments_*")):
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it printed nothing"]
        raise SdrError(f"Anserini's indexer failed with exit status {done.returncode}: {lines[-1]}")
    facts = {"class": options.kind, "java": java.version}
    made = write_manifest(options.index.with_suffix(".json"), "lucene index", config=as_dict(options), **facts)
    print(f"{options.index}: indexed in {made['cost']['seconds']:.0f} s")


def topics(options: TopicsOptions) -> None:
    """Writes `tN<TAB>[vector]` for every topic; stock Pyserini takes the vector for the query."""
    from pyserini_sdr.anserini.topics import load_topics
    from pyserini_sdr.core.files import atomic_file
    from pyserini_sdr.search.searcher import Searcher

    queries = load_topics(options.topics)
    vectors = Searcher(options.index, options.encoder).encoder.encode_queries(list(queries.values()))
    with atomic_file(options.output) as handle:
        for number, vector in enumerate(vectors.tolist()):
            handle.write(f"t{number}\t[{','.join(map(repr, vector))}]\n")


def compare(options: CompareOptions) -> int:
    """Prints how the runs agree; exit status 1 if an exact index does not give what FAISS gives."""
    from pyserini_sdr.anserini.topics import load_topics
    from pyserini_sdr.trec.run import read_run

    lucene, faiss = read_run(options.lucene), read_run(options.faiss)
    same, overlap, worst = 0, 0.0, 0.0
    queries = list(load_topics(options.topics))
    for number, qid in enumerate(queries):
        ours = {docid: (1 + score) / 2 for docid, score in faiss.get(qid, {}).items()}
        theirs = lucene.get(f"t{number}", {})
        cut = min(ours.values(), default=0.0)
        both = ours.keys() & theirs.keys()
        worst = max([worst, *(abs(ours[docid] - theirs[docid]) for docid in both)])
        overlap += len(both) / len(ours) if ours else not theirs
        alone = [(ours | theirs)[docid] for docid in ours.keys() ^ theirs.keys()]
        same += len(theirs) == len(ours) and all(abs(score - cut) <= _TIE for score in alone)
    count = len(queries)
    print(
        f"Lucene ({options.kind}) and FAISS, {count} topics, depth {options.hits}: the same documents for {same} "
        f"topics (but for those within {_TIE} of the last score); overlap {overlap / count:.4f}; scores differ by "
        f"{worst:.1e} at most from (1 + cosine) / 2"
    )
    return 1 if worst > _SCORE or (options.kind == "Flat" and same < count) else 0


COMMAND = CommandGroup(
    "Steps of run_scripts/lucene_dense.sh.",
    {
        "index": Command("Index vectors by Anserini.", IndexOptions, f"{__name__}:index"),
        "topics": Command("Encode topics.", TopicsOptions, f"{__name__}:topics"),
        "compare": Command("Compare the runs.", CompareOptions, f"{__name__}:compare"),
    },
)

if __name__ == "__main__":
    main(COMMAND, "lucene_dense")
