"""`index verify`: whether an index is what it should be; every finding on a line, exit status 1 if there is one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..core.errors import DataError
from ..core.files import file_sha256
from ..core.progress import bar
from ..data.ids import IdHashes, hash_id
from ..encode.layout import MANIFEST
from ..encode.loading import load_any_encoder
from ..encode.texts import Reading, document_texts
from ..encode.watch import collapsed
from .options import VerifyOptions
from .sources import block_rows
from .store import Index, open_index

UNIT_TOLERANCE = 1e-2
_SAMPLE_COSINE = 0.999
_COMPRESSED_COSINE = {"sq8": 0.99, "opq": 0.6, "ivf-pq": 0.6, "pq": 0.6, "hnsw-pq": 0.6, "binary": 0.5}
"""What a compressed vector has to have of its document at least, if nobody has measured it at building."""
_SLACK = 0.05
"""Below the worst cosine measured on a sample at building: other documents fare somewhat worse."""


def verify(options: VerifyOptions) -> int:
    """Prints findings and a summary; returns the exit status."""
    index = open_index(options.index)
    problems = [*_check_files(index), *_check_ids(index)]
    try:
        problems += _check_vectors(index)
    except DataError as error:  # reported with what has been found before
        problems.append(error.problem)
    checks = "files, counts, ids, vectors"
    if options.corpus is not None:
        checks += ", corpus ids"
        order = list(_corpus_positions(index, options, problems))
        if options.sample and not problems:
            problems += _check_sample(index, options, order)
            checks += f", {min(options.sample, len(index))} documents encoded again"
    for problem in problems:
        print(f"{options.index}: {problem}")
    origin = (
        "no manifest: not made by pyserini_sdr"
        if index.manifest is None
        else f"encoder {index.manifest.get('encoder')}"
    )
    verdict = f"{len(problems)} problems" if problems else "ok"
    type = "" if index.type == "flat" else f" ({index.type})"
    size = f"{len(index):,} vectors of dimension {index.faiss_index.d}{type}"
    print(f"{options.index}: {size}, {origin}; checked {checks}: {verdict}")
    return 1 if problems else 0


def _check_files(index: Index) -> Iterator[str]:
    if not len(index):
        yield "holds no vectors"
    manifest = index.manifest or {}
    if manifest.get("type", index.type) != index.type:
        yield f"{MANIFEST} says type {manifest['type']!r}, the file is of type {index.type!r}"
    for name, facts in manifest.get("files", {}).items():
        if file_sha256(index.directory / name) != facts["sha256"]:
            yield f"{name} does not match its checksum: it was changed or damaged since it was written"


def _check_ids(index: Index) -> Iterator[str]:
    hashes = IdHashes()
    for id in index.docids:
        hashes.add(id)
    suspects = hashes.repeated()
    if not suspects:
        return
    counts = Counter(id for id in index.docids if hash_id(id) in suspects)
    id, times = counts.most_common(1)[0]
    if times > 1:
        yield f"duplicate document ids, {id!r} occurs {times} times"


def _check_vectors(index: Index) -> Iterator[str]:
    normalize = index.exact and index.spec is not None and index.spec.normalize
    bad = unnormalised = zero = 0
    first: dict[str, str] = {}
    rows = block_rows(index.faiss_index.d)
    for start in bar(range(0, len(index), rows), unit="block", desc="verify"):
        vectors = index.vectors(start, min(start + rows, len(index)))
        finite = np.isfinite(vectors).all(axis=1)
        norms = np.linalg.norm(vectors, axis=1)
        for name, wrong in (
            ("bad", ~finite),
            ("zero", finite & (norms == 0)),
            ("unit", finite & (norms > 0) & (abs(norms - 1) > UNIT_TOLERANCE)),
        ):
            if wrong.any():
                first.setdefault(name, index.docids[start + int(np.argmax(wrong))])
        bad += int((~finite).sum())
        zero += int((norms == 0).sum())
        unnormalised += int((abs(norms - 1) > UNIT_TOLERANCE).sum())
    if bad:
        yield f"{bad} vectors have NaN or infinite values (first: {first['bad']!r})"
    if zero:
        yield f"{zero} vectors are zero (first: {first['zero']!r})"
    if normalize and unnormalised and not bad and not zero:
        yield f"{unnormalised} vectors are not of length 1, though the similarity is cosine (first: {first['unit']!r})"
    if len(index) > 1 and not bad and collapsed(index.vectors(0, min(len(index), 1000))):
        yield "all vectors are nearly the same: the encoder has collapsed"


def _corpus_positions(index: Index, options: VerifyOptions, problems: list[str]) -> Iterator[int]:
    """Compares the ids with the corpus (order too) and yields positions worth sampling."""
    shard = (index.manifest or {}).get("shard") or {"start": 0, "num": 1}
    stop = shard["start"] + len(index) if shard["num"] > 1 else None
    count = 0
    documents = Reading.from_manifest(index.manifest).documents(options.corpus, shard["start"], stop)
    for count, document in enumerate(documents, start=1):
        if count > len(index) or index.docids[count - 1] != document.id:
            found = index.docids[count - 1] if count <= len(index) else "nothing"
            problems.append(f"document {count} of the corpus is {document.id!r}, of the index {found!r}")
            return
    if count < len(index):
        problems.append(f"the index holds {len(index)} documents, the corpus {count}")
        return
    rng = np.random.default_rng(0)
    yield from sorted(rng.choice(count, size=min(options.sample, count), replace=False).tolist())


def _check_sample(index: Index, options: VerifyOptions, positions: list[int]) -> list[str]:
    name = options.encoder or (index.manifest or {}).get("encoder")
    if name is None:
        problem = f"has no {MANIFEST} to tell its encoder" if index.manifest is None else "does not tell its encoder"
        raise DataError(index.directory, problem, remedy="give --encoder or --sample 0")
    encoder = load_any_encoder(name, side="document", device=options.device, **index.encoder_settings())
    index.check_encoder(encoder)
    reading, wanted = Reading.from_manifest(index.manifest), set(positions)
    start = ((index.manifest or {}).get("shard") or {"start": 0})["start"]
    documents = reading.documents(options.corpus, start, start + positions[-1] + 1)
    titles, texts = document_texts([d for position, d in enumerate(documents) if position in wanted], reading)
    fresh = encoder.encode_documents(texts, titles=titles)
    stored = index.take(np.array(positions))
    cosine = (fresh * stored).sum(1) / (np.linalg.norm(fresh, axis=1) * np.linalg.norm(stored, axis=1))
    worst = int(np.argmin(cosine))
    least = _least_cosine(index)
    if not cosine[worst] >= least:
        id = index.docids[positions[worst]]
        return [f"document {id!r} encoded again has cosine {cosine[worst]:.4f} with the stored vector, not {least:.4g}"]
    return []


def _least_cosine(index: Index) -> float:
    """What a stored vector has to have with its document's at least."""
    manifest = index.manifest or {}
    if index.exact:
        return _SAMPLE_COSINE
    if "likeness" in manifest:
        return manifest["likeness"]["min"] - _SLACK
    return _COMPRESSED_COSINE.get(index.type, 0.5)
