"""Reading ahead while the encoder computes: it does not wait for the corpus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

Source = TypeVar("Source")
Read = TypeVar("Read")
Made = TypeVar("Made")


class DocumentEncoder(Protocol):
    """What encoding a corpus needs of an encoder; `BiEncoder` is one.

    An encoder may have the work of `encode_documents` in two parts as well, of which the first, tokenising, is then
    done for the next chunk while the second computes this one:

        prepare_documents(documents, *, titles=None) -> Prepared       # anything with `tokens`, their number
        encode_prepared(prepared, *, on_batch=None) -> np.ndarray
    """

    def encode_documents(
        self,
        documents: Sequence[str],
        *,
        titles: Sequence[str] | None = None,
        on_batch: Callable[[int], None] | None = None,
    ) -> np.ndarray: ...

    def identity(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Texts:
    """Documents for an encoder that does all at once."""

    documents: Sequence[str]
    titles: Sequence[str] | None
    tokens: int | None = None


def prepare(encoder: DocumentEncoder, documents: Sequence[str], titles: Sequence[str] | None) -> Any:
    """What can be done before the encoder is free."""
    if hasattr(encoder, "prepare_documents"):
        return encoder.prepare_documents(documents, titles=titles)
    return Texts(documents, titles)


def compute(encoder: DocumentEncoder, prepared: Any, on_batch: Callable[[int], None]) -> np.ndarray:
    """Vectors (n, dim) float32 of what `prepare` gave."""
    if isinstance(prepared, Texts):
        return encoder.encode_documents(prepared.documents, titles=prepared.titles, on_batch=on_batch)
    return encoder.encode_prepared(prepared, on_batch=on_batch)


def run_stages(
    items: Iterable[Source],
    read: Callable[[Source], Read],
    compute: Callable[[Read], Made],
    write: Callable[[Source, Read, Made], None],
) -> None:
    """`write(item, r, compute(r))` with `r = read(item)` for every item, in order.

    One item ahead is read while this thread computes. What is computed is written before anything else is: a process
    that is killed loses one item, and writing takes less than a hundredth of the time. An error of any stage is raised
    here, and nothing of it runs any more when this returns.

    Args:
        items: drawn in this thread, one ahead of what is computed.
        read: called in a thread of its own.
        compute, write: called in this thread.
    """
    todo = iter(items)
    reader = ThreadPoolExecutor(1, "read")

    def read_next() -> tuple[Source, Future[Read]] | None:
        for item in todo:
            return item, reader.submit(read, item)
        return None

    try:
        ahead = read_next()
        while ahead is not None:
            (item, waiting), got = ahead, ahead[1].result()
            ahead = read_next()
            write(item, got, compute(got))
            del waiting, got
    finally:
        reader.shutdown(cancel_futures=True)
