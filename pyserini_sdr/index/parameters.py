"""Parameters of an index: what the flags say, and the rest chosen from the number and size of the vectors."""

from __future__ import annotations

from math import ceil, sqrt

from ..core.errors import UsageError
from ..core.options import flag_of, option_fields
from ..core.progress import warn
from .options import BuildOptions
from .types import TYPES

POINTS_PER_LIST = 39
"""Training vectors below which FAISS warns that a centroid means little."""
_SAMPLE, _SAMPLE_PER_LIST = 100_000, 50
_ALL = ("M", "efC", "ef_search", "nlist", "nprobe", "pq_m", "pq_nbits", "train_size", "train_from")
_LEARNED = ("nlist", "pq_m", "pq_nbits", "train_size")


def check_flags(options: BuildOptions) -> None:
    """Refuses flags that the type does not take; needs no data.

    Raises:
        UsageError: names the flag, and those that the type takes.
    """
    takes = TYPES[options.type].parameters
    flags = {field.name: flag_of(field) for field, _ in option_fields(BuildOptions)}
    for name in _ALL:
        value = getattr(options, name)
        if value is None:
            continue
        if name not in takes:
            known = f"takes {', '.join(flags[other] for other in takes)}" if takes else "has no parameters"
            raise UsageError(f"{flags[name]} {value}: --type {options.type} {known}")
        if options.train_from is not None and name in _LEARNED:
            raise UsageError(f"{flags[name]} {value}: is learned, and comes from --train-from {options.train_from}")
    if options.queries is not None:
        if options.type == "flat":
            raise UsageError(f"--queries {options.queries}: --type flat is exact, there is nothing to measure")
        if not options.eval_queries:
            raise UsageError(f"--queries {options.queries}: --eval-queries 0 measures nothing; leave one of them out")


def resolve(options: BuildOptions, count: int, dimension: int) -> dict[str, int]:
    """All parameters of the type.

    Args:
        count, dimension: of the vectors.

    Raises:
        UsageError: a value that does not fit the vectors.
    """
    takes = TYPES[options.type].parameters
    found: dict[str, int] = {}
    if options.type == "binary" and dimension % 8:
        raise UsageError(f"--type binary: needs a dimension divisible by 8, not {dimension}")
    if "M" in takes:
        found |= {"M": options.M or 32, "efC": options.efC or 200, "ef_search": options.ef_search or 128}
    if options.train_from is not None:
        return found
    if "nlist" in takes:
        sample = min(count, options.train_size or count)
        nlist = options.nlist or max(1, min(round(4 * sqrt(count)), sample // POINTS_PER_LIST))
        if nlist > sample:
            raise UsageError(f"--nlist {nlist}: more lists than vectors to learn from ({sample:,})")
        if nlist * POINTS_PER_LIST > sample:
            warn(f"--nlist {nlist}: {sample:,} vectors to learn from are fewer than {POINTS_PER_LIST} per list")
        found["nlist"] = nlist
        found["nprobe"] = options.nprobe or min(ceil(4 * sqrt(nlist)), ceil(nlist / 2))
        if found["nprobe"] > nlist:
            raise UsageError(f"--nprobe {found['nprobe']}: there are only {nlist} lists")
    if TYPES[options.type].trained:
        wanted = max(_SAMPLE, _SAMPLE_PER_LIST * found.get("nlist", 0))
        found["train_size"] = min(count, options.train_size or wanted)
    if "pq_m" in takes:
        found |= _codes(options, dimension, found["train_size"])
    return found


def _codes(options: BuildOptions, dimension: int, sample: int) -> dict[str, int]:
    divisors = [m for m in range(1, dimension + 1) if dimension % m == 0]
    m = options.pq_m or min(divisors, key=lambda divisor: (abs(divisor - dimension / 8), divisor))
    if m not in divisors:
        near = sorted(divisors, key=lambda divisor: abs(divisor - m))[:3]
        raise UsageError(
            f"--pq-m {m}: does not divide the dimension {dimension}; {', '.join(map(str, sorted(near)))} do"
        )
    bits = options.pq_nbits or (8 if sample >= 256 else 4)
    if bits > 8 and options.type in ("ivf-pq", "opq"):
        raise UsageError(f"--pq-nbits {bits}: --type {options.type} has 8 at most")
    if options.type == "opq" and sample < 256:
        raise UsageError(f"--type opq: needs at least 256 vectors to learn from, there are {sample:,}")
    if 2**bits > sample:
        raise UsageError(
            f"--pq-nbits {bits}: needs at least {2**bits:,} vectors to learn from, there are {sample:,}; "
            f"give --pq-nbits {max(1, sample.bit_length() - 1)} or another --type"
        )
    return {"pq_m": m, "pq_nbits": bits}
