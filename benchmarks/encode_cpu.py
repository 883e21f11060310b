"""Documents per second on a CPU: stock Pyserini, sentence-transformers, a plain loop, ours.

Claims: ours encodes at least 20 times as fast as stock `pyserini.encode`, 3 times as fast as sentence-transformers as
it comes and 1.3 times as fast as sentence-transformers in bf16, with cosines of at least 0.999 to float32 vectors, and
reaches at least 60 % of the bf16 matrix-product rate that the same machine shows in the same rounds.

Every arm is a process of its own that has loaded its model and encoded the documents once before its time counts.
Operations are counted for real tokens only, padding not. Stock runs in two ways: its class in its own loop (in-process,
`stock`), and its command as a whole, less the same command on one document (`processes`); ours likewise.

examples:
  python benchmarks/encode_cpu.py --corpus ../shared/data/cacm:640 ../shared/data/scifact:200 --first
  python benchmarks/encode_cpu.py --corpus collection:500 --encoder checkpoint --rounds 5
  python benchmarks/encode_cpu.py --corpus collection --quick
"""

from __future__ import annotations

import contextlib
import statistics
from pathlib import Path
from typing import Any

from common import Benchmark, claim, corpus_and_count, paired_ratio, show, spread
from encode_arms import STOCK_BATCH, arm_records, compare, speed_claims
from material import draw_documents, write_documents
from processes import run_ours, run_stock
from rates import FORMULA, encoder_flops
from worker import Worker

from pyserini_sdr.anserini.stock import encode_command
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.model.names import resolve_encoder
from pyserini_sdr.model.spec import read_spec

STOCK, ST, ST_BF16, LOOP, OURS = (
    "stock",
    "sentence-transformers",
    "sentence-transformers bf16",
    "plain bf16 loop",
    "ours",
)
TARGETS: dict[str, tuple[str, dict[str, Any]]] = {
    STOCK: ("encode_arms:stock", {}),
    ST: ("encode_arms:sentence_transformers", {}),
    ST_BF16: ("encode_arms:sentence_transformers", {"dtype": "bfloat16"}),
    LOOP: ("encode_arms:plain_loop", {}),
    OURS: ("encode_arms:ours", {}),
}
AIMS = {STOCK: 20.0, ST: 3.0, ST_BF16: 1.3, LOOP: None}
RATE = "bf16 matrix products"
QUICK_DOCUMENTS = 16


def main() -> None:
    benchmark = Benchmark("encode_cpu", __doc__)
    add = benchmark.parser.add_argument
    add("--corpus", nargs="+", required=True, metavar="PATH[:COUNT]", help="corpora, documents drawn (default: 500)")
    add("--first", action="store_true", help="take the first documents of a corpus instead of drawing them")
    add("--encoder", default="all-MiniLM-L6-v2", help="default: the bundled all-MiniLM-L6-v2")
    add("--no-processes", action="store_true", help="leave the whole commands out")
    add("--square", type=int, default=4096, metavar="N", help="rows and columns of the square product (default: 4096)")
    benchmark.run(work)


def work(benchmark: Benchmark) -> dict[str, Any]:
    args = benchmark.args
    wanted = [corpus_and_count(text, 500) for text in args.corpus]
    if args.quick:
        wanted, args.square = [(path, min(count, QUICK_DOCUMENTS)) for path, count in wanted], min(args.square, 1024)
    names = [path.stem for path, _ in wanted]
    if len(set(names)) < len(names):
        raise UsageError(f"--corpus: two corpora are called {max(names, key=names.count)!r}")
    directory = resolve_encoder(args.encoder).directory
    documents = {path.stem: draw_documents(path, count, args.seed, first=args.first) for path, count in wanted}
    # texts as the files hold them that the commands read
    texts = {name: [" ".join(document.contents.split()) for document in drawn] for name, drawn in documents.items()}
    commands = {
        name: _commands(directory, drawn, benchmark.folder / f"corpus{place}") if not args.no_processes else {}
        for place, (name, drawn) in enumerate(documents.items())
    }
    shared = {"encoder": str(directory), "corpora": texts}
    with Worker("encode_arms:token_lengths", **shared) as worker:
        model = worker()
    lengths = model.pop("lengths")
    with contextlib.ExitStack() as stack:
        sizes = {"hidden": model["hidden"], "intermediate": model["intermediate"]}
        rates = stack.enter_context(Worker("rates:cpu_rates", square=args.square, **sizes))
        found = compare(
            TARGETS,
            ("encode_arms:plain_loop", {"dtype": "float32"}),
            shared,
            benchmark.folder,
            args.rounds,
            lambda name: {RATE: rates} | commands[name],
        )
    groups = []
    for name, timed in found.items():
        print(f"\n{name}: {len(texts[name])} documents, {statistics.mean(lengths[name]):.0f} tokens on average")
        groups.append(_group(name, timed, lengths[name], encoder_flops(lengths[name], **model)))
    return {
        "encoder": {"name": args.encoder, **model},
        "stock_batch_size": STOCK_BATCH,
        "flops_formula": FORMULA,
        "square": args.square,
        "warm_up": "every arm encodes all documents once before its time counts",
        "groups": groups,
    }


def _commands(directory: Path, documents: list[Any], folder: Path) -> dict[str, Any]:
    """Arms that run stock's command and ours on all documents and on one: whole processes."""
    folder.mkdir()
    spec = read_spec(directory, {})
    arms: dict[str, Any] = {}
    for what, part in (("all", documents), ("one", documents[:1])):
        corpus = write_documents(folder / f"{what}.jsonl", part)

        def stock(corpus: Path = corpus, output: Path = folder / f"stock-{what}") -> Any:
            command = encode_command(
                corpus=corpus,
                embeddings=output,
                encoder=directory,
                dimension=spec.dimension,
                pooling=spec.pooling,
                l2_norm=spec.normalize,
                document_prefix=spec.document_prefix,
                max_length=spec.document_max_length,
            )
            return run_stock(command, output)

        def ours(corpus: Path = corpus, output: Path = folder / f"ours-{what}") -> Any:
            return run_ours(
                "encode",
                *("input", "--corpus", corpus, "output", "--embeddings", output, "--to-faiss", "--overwrite"),
                *("encoder", "--encoder", directory, "--device", "cpu"),
            )

        arms[f"{STOCK} command, {what}"], arms[f"{OURS} command, {what}"] = stock, ours
    return arms


def _group(name: str, timed: dict[str, Any], lengths: list[int], flops: int) -> dict[str, Any]:
    """What goes into the result for a corpus; its claims are printed."""
    count, others, seconds = len(lengths), timed["others"], timed["seconds"]
    rates = {kind: [measured[kind] for measured in others[RATE]] for kind in others[RATE][0]}
    best = [max(measured.values()) for measured in others[RATE]]
    arms = arm_records(timed, count)
    for arm, values in seconds.items():
        arms[arm]["flops_per_second"] = spread([flops / value for value in values])
        arms[arm]["share"] = {
            kind: paired_ratio([flops / value for value in values], measured)
            for kind, measured in [*rates.items(), ("best", best)]
        }
        show(f"{arm}, documents/s", arms[arm]["documents_per_second"])
    claims = speed_claims(timed, OURS, AIMS)
    claims.append(claim("ours, share of the best bf16 matrix-product rate", arms[OURS]["share"]["best"], 0.6, unit=""))
    claims.append(claim("ours, least cosine to float32", spread([arms[OURS]["cosine"]["min"]]), 0.999, unit=""))
    processes = {}
    for arm in (STOCK, OURS):
        if f"{arm} command, all" not in others:
            continue
        whole, one = others[f"{arm} command, all"], others[f"{arm} command, one"]
        net = statistics.median(run.seconds for run in whole) - statistics.median(run.seconds for run in one)
        processes[arm] = {
            "seconds": spread([run.seconds for run in whole]),
            "one_document_seconds": spread([run.seconds for run in one]),
            "net_seconds": net,
            "documents_per_second": (count - 1) / net if net > 0 else None,  # start-up varies more than that
            "peak_memory_bytes": max(run.peak_memory_bytes for run in whole),
        }
    if processes:
        stock, ours = (processes[arm] for arm in (STOCK, OURS))
        whole = paired_ratio(stock["seconds"]["values"], ours["seconds"]["values"])
        claims.append(claim("our command over stock's, start to end", whole))
        if stock["net_seconds"] > 0 and ours["net_seconds"] > 0:
            net = spread([stock["net_seconds"] / ours["net_seconds"]])
            claims.append(claim("our command over stock's, less one document's (medians)", net))
    return {
        "corpus": name,
        "documents": count,
        "tokens": {"mean": statistics.mean(lengths), "max": max(lengths), "total": sum(lengths)},
        "flops": flops,
        "rates": {kind: spread(values) for kind, values in rates.items()},
        "arms": arms,
        "processes": processes,
        "claims": claims,
    }


if __name__ == "__main__":
    main()
