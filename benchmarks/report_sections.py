"""The sections of the report: what each result says, in tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import report_plots as plots
from material import in_words
from report_text import claims_table, megabytes, number, percent, ranged, seconds, table

Result = Mapping[str, Any]


class Figures:
    """The folder that figures go into, and those made so far.

    Args:
        folder: beside the page.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.names = folder, []

    def add(self, name: str, text: str) -> tuple[Path, str]:
        """Path of a new figure, and the Markdown that shows it."""
        self.names.append(name)
        return self.folder / f"{name}.svg", f"![{text}](figures/{name}.svg)\n"


def encode_cpu(result: Result, figures: Figures) -> str:
    model = result["encoder"]
    parts = [
        f"Encoder {model['name']} ({model['layers']} layers, {model['hidden']} dimensions). Stock runs with its batch "
        f"size of {result['stock_batch_size']}; all times begin with texts and end with float32 vectors, tokenisation "
        f"included. Warm-up, for all alike: {result['warm_up']}. Share: floating-point operations of the real tokens, "
        f"`{result['flops_formula']}`, per second, over the bf16 matrix-product rate measured in the same rounds (the "
        "greater of two: products of the model's shapes, and square ones of "
        f"{result['square']}).\n"
    ]
    path, image = figures.add("encode_cpu", "documents per second by encoder")
    speed = {
        group["corpus"]: {name: arm["documents_per_second"] for name, arm in group["arms"].items()}
        for group in result["groups"]
    }
    plots.bars(path, speed, "documents/s")
    parts.append(image)
    for group in result["groups"]:
        rates = group["rates"]
        parts.append(
            f"### {group['corpus']}\n\n{group['documents']} documents, {number(group['tokens']['mean'])} tokens on "
            f"average. bf16 products: {number(rates['model_shapes']['median'] / 1e9)} GFLOP/s in the model's shapes, "
            f"{number(rates['square']['median'] / 1e9)} square.\n"
        )
        parts.append(_encoders(group, "documents/s", "best"))
        if group["processes"]:
            rows = [
                [
                    arm,
                    number(record["documents_per_second"]) if record["documents_per_second"] else "within noise",
                    ranged(record["seconds"]),
                    ranged(record["one_document_seconds"]),
                    megabytes(record["peak_memory_bytes"]),
                ]
                for arm, record in group["processes"].items()
            ]
            head = ["command", "documents/s, start-up taken off", "seconds", "with one document", "peak memory"]
            parts.append("As whole commands (start-up: the same command on one document):\n\n" + table(head, rows))
        parts.append(claims_table(group["claims"]))
    return "\n".join(parts)


def encode_gpu(result: Result, figures: Figures) -> str:
    peak = f", {result['peak_tflops']:g} TFLOP/s by its data sheet" if result["peak_tflops"] else ""
    parts = [
        f"{result['gpu']}{peak}; encoders with random weights. Utilisation is over the square bf16 product measured in "
        f"the same rounds; operations: `{result['flops_formula']}`.\n"
    ]
    for group in result["groups"]:
        hours = [
            [name, f"{ranged(arm['msmarco_hours'])} h", percent(arm["share"]["peak"]) if "peak" in arm["share"] else ""]
            for name, arm in group["arms"].items()
        ]
        parts += [
            f"### {group['size']}\n\n{group['documents']} passages, {number(group['tokens']['mean'])} tokens on "
            f"average; bf16 products {number(group['rates']['square']['median'] / 1e12)} TFLOP/s.\n",
            _encoders(group, "passages/s", "measured"),
            table(["", f"{result['passages']:,} MS MARCO passages", "of the data sheet's peak"], hours),
            claims_table(group["claims"]),
        ]
    path, image = figures.add("encode_gpu", "passages per second by encoder")
    speed = {g["size"]: {n: arm["documents_per_second"] for n, arm in g["arms"].items()} for g in result["groups"]}
    plots.bars(path, speed, "passages/s")
    return "\n".join([*parts, image])


def _encoders(group: Result, unit: str, share: str) -> str:
    rows = [
        [
            name,
            ranged(arm["documents_per_second"]),
            percent(arm["share"][share]),
            f"{arm['cosine']['min']:.5f}",
            f"{arm['cosine']['mean']:.6f}",
            megabytes(arm["peak_memory_bytes"]),
        ]
        for name, arm in group["arms"].items()
    ]
    return table(["", unit, "of the product rate", "least cosine to fp32", "mean", "peak memory"], rows)


def memory_growth(result: Result, figures: Figures) -> str:
    points = result["points"]
    base = {point["arm"]: point["peak_memory_bytes"] for point in points if point["documents"] == 1}
    rows, series = [], {}
    for point in points:
        above = point["peak_memory_bytes"] - base[point["arm"]]
        rows.append(
            [
                point["arm"],
                in_words(point["documents"]),
                megabytes(point["peak_memory_bytes"]),
                megabytes(max(above, 0)),
                seconds(point["seconds"]),
                megabytes(point["corpus_bytes"]),
            ]
        )
        if point["documents"] > 1:
            series.setdefault(point["arm"], []).append((point["documents"], point["peak_memory_bytes"] / 1e9))
    rows.sort(key=lambda row: row[0])
    path, image = figures.add("memory_growth", "peak memory by number of documents")
    plots.lines(path, [(series, "documents", "peak memory, GB")])
    text = (
        "Synthetic documents of 4 to 12 words, an encoder of one layer; what stands above the peak with one document "
        "is due to the number of documents.\n"
    )
    head = ["", "documents", "peak memory", "above one document", "time", "corpus"]
    return "\n".join([text, image, table(head, rows)])


def search(result: Result, figures: Figures) -> str:
    index, kernel = result["index"], result["kernel"]
    parts = [
        f"{result['queries']} queries, {result['hits']} hits each, {index['vectors']:,} vectors of "
        f"{index['dimension']} dimensions, flat. `process`: the whole command, from start-up to the run; `in-process`: "
        "encoding of the queries, search, hits; `vectors`: search and hits alone.\n"
    ]
    path, image = figures.add("search", "queries per second by depth")
    speed = {
        depth: {name: arm["queries_per_second"] for name, arm in found["arms"].items()}
        for depth, found in result["depths"].items()
    }
    plots.bars(path, {depth: {_short(n): v for n, v in arms.items()} for depth, arms in speed.items()}, "queries/s")
    names = list(next(iter(speed.values())))
    rows = [
        [f"`{name}`" if name != "ours" else name, *(ranged(arms[name]) for arms in speed.values())] for name in names
    ]
    parts += [image, table(["queries/s", *speed], rows)]
    memory = {name: arm["peak_memory_bytes"] for name, arm in result["depths"]["process"]["arms"].items()}
    parts.append(f"Peak memory of the commands: {', '.join(f'{n} {megabytes(b)}' for n, b in memory.items())}.\n")
    found = result["agreement"]
    parts.append(
        f"The two runs have {found['different']} documents that the other lacks over {found['topics']} topics, "
        f"{found['violations']} of them farther than {found['tolerance']:g} from the score of the last one; scores of "
        f"common documents differ by {found['largest_difference']:.1e} at most.\n"
    )
    parts.append(
        f"Exact search with {kernel['hits']} hits: all queries at once take "
        f"{seconds(kernel['seconds_of_all']['median'])}, {percent(kernel['share_of_all'])} of the "
        f"{kernel['limit_of_all']} limit (float32 products: {number(kernel['product_rate']['median'] / 1e9)} GFLOP/s); "
        f"one query takes {seconds(kernel['seconds_of_one']['median'])}, {percent(kernel['share_of_one'])} of the "
        f"bandwidth limit ({number(kernel['bandwidth']['median'] / 1e9)} GB/s). Above 100 %: the search reads or "
        "computes less than that.\n"
    )
    rows = [
        [f"{what}, {arm}", str(v["count"]), *(seconds(v[key]) for key in ("median", "min", "max", "p95"))]
        for what, arms in result["latency"].items()
        for arm, v in arms.items()
    ]
    text = (
        f"Latency of one query with {result['hits']} hits; cold: a process that answers one query; warm: loaded "
        "before.\n"
    )
    parts += [text, table(["", "queries", "median", "least", "greatest", "95 %"], rows)]
    return "\n".join(parts)


def _short(name: str) -> str:
    return name.replace(" --batch-size ", " ").replace(" --threads ", ":")


def index_types(result: Result, figures: Figures) -> str:
    rows = []
    for name, record in result["types"].items():
        rows.append(
            [
                name,
                seconds(record["build_seconds"]),
                megabytes(record["build_peak_memory_bytes"]),
                megabytes(record["bytes"]),
                *(f"{value:.3f}" for value in record["recall"].values()),
                ranged(record["queries_per_second"]),
                ranged(record["over_flat"]),
            ]
        )
    depths = [f"recall@{depth}" for depth in next(iter(result["types"].values()))["recall"]]
    path, image = figures.add("index_types", "recall and speed by type of index")
    points = {
        name: (record["recall"]["10"], record["queries_per_second"]["median"])
        for name, record in result["types"].items()
    }
    plots.scatter(path, points, "recall@10", "queries/s")
    text = (
        f"Built with default settings from one flat index, start-up included; {result['queries']} queries at once, "
        f"{result['hits']} hits; recall is against exact search.\n"
    )
    head = ["", "build", "build memory", "size", *depths, "queries/s", "× flat"]
    missing = "".join(f"\nNot built: {name}: {reason}\n" for name, reason in result["not_built"].items())
    return "\n".join([text, image, table(head, rows), missing])


def training_step(result: Result, figures: Figures) -> str:
    lengths, words = result["lengths"], result["text_words"]
    text = (
        f"{result['batch_size']} triples of {result['collection']} per step, loss `{result['loss']}`, AdamW. The "
        f"fixed-length loop pads queries to {lengths['query']} and documents to {lengths['document']} tokens; ours "
        f"truncates at the same lengths. Queries have {number(words['query'])} words on average, documents "
        f"{number(words['document'])}.\n"
    )
    path, image = figures.add("training_step", "triples per second")
    plots.bars(path, {"": {n: arm["triples_per_second"] for n, arm in result["arms"].items()}}, "triples/s")
    rows = [
        [n, ranged(arm["seconds"]), ranged(arm["triples_per_second"]), megabytes(arm["peak_memory_bytes"])]
        for n, arm in result["arms"].items()
    ]
    return "\n".join([text, image, table(["", "seconds per step", "triples/s", "peak memory"], rows)])


def growth(result: Result, figures: Figures) -> str:
    encoding, searching = result["encoding"], result["searching"]
    path, image = figures.add("growth", "seconds and memory by size")
    encode_seconds = [(p["documents"], p["seconds"]["median"]) for p in encoding]
    encode_memory = [(p["documents"], p["peak_memory_bytes"] / 1e9) for p in encoding]
    search_seconds = {
        name: [(p["vectors"], p[key]["median"]) for p in searching]
        for name, key in (("ours", "seconds"), ("FAISS", "faiss_seconds"))
    }
    panels = [
        ({"ours": encode_seconds}, "documents", "encoding, s"),
        ({"ours": encode_memory}, "documents", "encoding, peak GB"),
        (search_seconds, "vectors", f"{result['queries']} queries, s"),
    ]
    plots.lines(path, panels)
    encoded = [[in_words(p["documents"]), ranged(p["seconds"]), megabytes(p["peak_memory_bytes"])] for p in encoding]
    searched = [
        [
            in_words(p["vectors"]),
            ranged(p["seconds"]),
            ranged(p["faiss_seconds"]),
            seconds(p["loading_seconds"]),
            megabytes(p["peak_memory_bytes"]),
            megabytes(p["index_bytes"]),
        ]
        for p in searching
    ]
    head = ["vectors", "seconds", "FAISS, seconds", "loading", "peak memory", "index"]
    text = (
        "Encoding: whole processes, short synthetic documents, an encoder of one layer. Search: exact, "
        f"{result['queries']} queries at once, {result['hits']} hits, random unit vectors of {result['dimension']} "
        "dimensions, loaded before.\n"
    )
    return "\n".join([text, image, table(["documents", "seconds", "peak memory"], encoded), table(head, searched)])
