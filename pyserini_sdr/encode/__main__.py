"""`python -m pyserini_sdr.encode input ... output ... encoder ...`: drop-in for `python -m pyserini.encode`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import options as opt
from ..core.command import load, main
from ..core.errors import DataError, UsageError, unknown
from .options import GROUPS, EncodeOptions, split_groups

EXAMPLES = """
  python -m pyserini_sdr.encode \\
    input   --corpus collection/corpus \\
    output  --embeddings index --to-faiss \\
    encoder --encoder checkpoint
  # a shard of four, with a raw backbone that does not tell its pooling
  python -m pyserini_sdr.encode input --corpus corpus.jsonl --shard-id 0 --shard-num 4 \\
    output --embeddings shard0 --to-faiss encoder --encoder bert-base-uncased --pooling cls --no-l2-norm
  # a published encoder of another class, through stock Pyserini's (needs Java)
  python -m pyserini_sdr.encode input --corpus collection/corpus output --embeddings tct --to-faiss \\
    encoder --encoder castorini/tct_colbert-v2-hnp-msmarco --encoder-class tct_colbert
  # without torch at query time: export the encoder once, encode by onnxruntime
  python -m pyserini_sdr.encode input --corpus collection/corpus output --embeddings index --to-faiss \\
    encoder --encoder checkpoint --backend onnx
  # two processes; the same files as one process writes
  torchrun --nproc-per-node 2 -m pyserini_sdr.encode input ... output ... encoder ...
"""
DETAILS = """
Takes stock's groups, flags and files: --embeddings DIR holds `index` and `docid` (with --to-faiss) or
`embeddings.jsonl`. Pooling, normalisation, prefix and length come from the checkpoint unless a flag overrides them.
The corpus is checked, then streamed; an interrupted run goes on where it stopped when the same command is given again,
with the chunk size and token budget that it began with. DIR/sdr_index.json is written last: an index that has it is
complete. With --overwrite the old index stays until the new one is complete.
"""


@dataclass(frozen=True)
class EncodeCommand:
    """A command whose flags come in three groups."""

    summary: str
    run: str

    def execute(self, prog: str, argv: Sequence[str]) -> int:
        parsers = {}
        for name, cls in GROUPS.items():
            parsers[name] = opt.Parser(prog=f"{prog} ... {name}", add_help=False, formatter_class=opt.HelpFormatter)
            opt.add_options(parsers[name], cls)
        head = opt.Parser(prog=prog, add_help=False, allow_abbrev=False)  # `--co` is --corpus, not --config
        head.add_argument("-h", "--help", action="store_true")
        head.add_argument("--config", type=Path)
        head.add_argument("--print-config", action="store_true")
        given, rest = head.parse_known_args(argv)
        if given.help or not argv:
            print(self._help(prog, parsers))
            return 0 if given.help else 2
        words = split_groups(rest, parsers)
        from_file = _read_config(given.config) if given.config else {}
        groups = {}
        for name, cls in GROUPS.items():
            flags = vars(parsers[name].parse_args(words.get(name, [])))
            try:
                groups[name] = opt.build(cls, {**from_file.get(name, {}), **flags})
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from error
        if given.print_config:
            import yaml

            print(yaml.safe_dump({name: opt.as_dict(group) for name, group in groups.items()}, sort_keys=False), end="")
            return 0
        return load(self.run)(EncodeOptions(**groups)) or 0

    def _help(self, prog: str, parsers: Mapping[str, opt.Parser]) -> str:
        lines = [
            f"usage: {prog} [--config FILE] [--print-config] input ... output ... encoder ...",
            "",
            self.summary,
            DETAILS,
            "  --config FILE    YAML or JSON file with the mappings input, output and encoder; flags win",
            "  --print-config   print the resolved options as YAML and stop",
        ]
        for name, parser in parsers.items():
            body = parser.format_help().split("options:\n", 1)[1]
            lines += ["", f"{name}:", body.rstrip()]
        return "\n".join([*lines, "", "examples:", EXAMPLES.strip("\n")])


def _read_config(path: Path) -> dict[str, dict[str, Any]]:
    groups = opt.read_config(path)
    for name, values in groups.items():
        if name not in GROUPS:
            raise DataError(path, unknown("group", name, GROUPS))
        if not isinstance(values, dict):
            raise DataError(path, f"{name}: expected a mapping of option names to values")
    groups = {name: {str(key).replace("-", "_"): v for key, v in values.items()} for name, values in groups.items()}
    for name, values in groups.items():
        known = [field.name for field, _ in opt.option_fields(GROUPS[name])]
        for key in values:
            if key not in known:
                raise DataError(path, f"{name}: {unknown('option', key, known)}")
    return groups


COMMAND = EncodeCommand("Encode a corpus into vectors for Pyserini.", "pyserini_sdr.encode.engine:encode")

if __name__ == "__main__":
    main(COMMAND, "pyserini_sdr.encode")
