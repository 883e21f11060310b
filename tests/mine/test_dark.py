"""Dark examples: texts between positives and negatives, made anew from seed and query alone, and scored by `teach`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from pyserini_sdr.collection.check import check_collection
from pyserini_sdr.core.errors import UsageError
from pyserini_sdr.data.groups import read_groups
from pyserini_sdr.mine.dark import mask, mix
from pyserini_sdr.teach.__main__ import COMMAND as TEACH

from ..teach.make import make_cross_encoder
from .conftest import manifest, mine

POSITIVE = "Alpha one two. Beta three four. Gamma five six. Delta seven eight."
NEGATIVE = "Kappa a b. Lambda c d. Mu e f. Nu g h."


@pytest.fixture
def material(tmp_path: Path) -> tuple[Path, Path]:
    """A collection and groups of it: one positive, three negatives, one of them a text."""
    folder = tmp_path / "c"
    folder.mkdir()
    texts = {"p": POSITIVE, "n": NEGATIVE, "m": NEGATIVE.lower() + " Xi i."}
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"id": i, "contents": t}) + "\n" for i, t in texts.items()))
    negatives = [{"id": "n"}, {"id": "m"}, {"text": "Omicron k l. Pi m n."}]
    records = [{"query_id": q, "query": q, "positives": [{"id": "p"}], "negatives": negatives} for q in "ab"]
    (tmp_path / "groups.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder, tmp_path / "groups.jsonl"


def darken(material: tuple[Path, Path], output: Path, *more: object) -> dict[str, list[str]]:
    """Texts after the given negatives, by query."""
    mine(material[0], output, "--groups", material[1], *more)
    return {g.query_id: [c.text or "" for c in g.negatives[3:]] for g in read_groups(output)}


def test_texts_after_the_negatives(material, tmp_path):
    found = darken(material, tmp_path / "out.jsonl", "--dark-negatives", 4, "--dark-positives", 2)
    for group in read_groups(tmp_path / "out.jsonl"):
        assert [c.id for c in group.negatives] == ["n", "m", *[None] * 7] and [c.id for c in group.positives] == ["p"]
    mixed, masked = found["a"][:4], found["a"][4:]
    for text, source in zip(mixed[:3], (NEGATIVE, NEGATIVE.lower() + " Xi i.", "Omicron k l. Pi m n."), strict=True):
        own = [s for s in re.findall(r"[^.]+\.", POSITIVE) if s.strip() in text]
        kept = [s for s in re.findall(r"[^.]+\.", source) if s.strip() in text]
        assert len(own) >= 1 and len(kept) >= 1 and len(own) + len(kept) == source.count(".")
    assert mixed[3] != mixed[0]  # of the first negative again, mixed in another way
    for text in masked:
        words = POSITIVE.replace(".", "").split()
        assert len(text.replace(".", "").split()) == len(words) - round(0.3 * len(words))
    facts = manifest(tmp_path / "out.jsonl")["dark"]
    assert (facts["negatives"], facts["positives"], facts["short_queries"]) == (8, 4, 0)


def test_the_same_seed_and_query_give_the_same_texts(material, tmp_path):
    flags = ("--dark-negatives", 3, "--dark-positives", 3)
    one = darken(material, tmp_path / "one.jsonl", *flags)
    assert darken(material, tmp_path / "two.jsonl", *flags) == one
    assert one["a"] != one["b"]
    assert darken(material, tmp_path / "few.jsonl", *flags, "--max-queries", 1).items() <= one.items()
    assert darken(material, tmp_path / "other.jsonl", *flags, "--seed", 1) != one


def test_a_mask_token_stands_for_words(material, tmp_path):
    found = darken(
        material, tmp_path / "out.jsonl", "--dark-positives", 1, "--mask-share", 0.5, "--mask-token", "[MASK]"
    )
    assert found["a"][0].count("[MASK]") == 6 and len(found["a"][0].split()) == 12


def test_a_cross_encoder_scores_them(material, tiny_encoder, tmp_path):
    """Their scores are filed by the key of the text, and `mine` finds them there."""
    darken(material, tmp_path / "dark.jsonl", "--dark-negatives", 2, "--dark-positives", 1)
    cross = make_cross_encoder(tmp_path / "cross", tiny_encoder)
    words = ["--collection", material[0], "--groups", tmp_path / "dark.jsonl", "--teacher", cross, "--name", "ce"]
    TEACH.execute("teach", [str(word) for word in [*words, "--output", tmp_path / "scored.jsonl"]])
    for group in read_groups(tmp_path / "scored.jsonl"):
        keys = {candidate.key for candidate in (*group.positives, *group.negatives)}
        assert len(keys) == 7 and set(group.scores["ce"]) == keys
    mine(material[0], tmp_path / "again.jsonl", "--groups", tmp_path / "scored.jsonl", "--teacher-rank", "ce=1-7")


def test_texts_too_short_are_counted(material, tmp_path):
    (material[0] / "corpus.jsonl").write_text(
        "".join(json.dumps({"id": i, "contents": i}) + "\n" for i in ("p", "n", "m"))
    )
    found = darken(material, tmp_path / "out.jsonl", "--dark-negatives", 1, "--dark-positives", 1)
    assert found == {"a": [], "b": []}  # a word mixed into a word is the positive, and nothing of it can be masked
    assert manifest(tmp_path / "out.jsonl")["dark"]["short_queries"] == 2


def test_mix_and_mask():
    rng = np.random.default_rng(0)
    for share, from_positive in ((0.01, 1), (0.5, 2), (0.75, 3), (0.99, 3)):
        mixed = mix(NEGATIVE, POSITIVE, share, rng)
        taken = [word for word in ("Alpha", "Beta", "Gamma", "Delta") if word in mixed]
        assert len(taken) == from_positive and mixed.count(".") == 4
        assert [mixed.index(word) for word in taken] == sorted(mixed.index(word) for word in taken)
    assert mix(NEGATIVE, "one", 0.75, rng).count("one") == 1  # it gives what it has
    assert mask("one", 0.5, "", rng) == "one" and mask("...", 0.5, "", rng) == "..."
    assert mask("a b", 0.9, "_", rng) in ("_ b", "a _")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--mix-share", 0.4], "--mix-share 0.4: needs --dark-negatives"),
        (["--dark-negatives", 1, "--mask-share", 0.4], "--mask-share 0.4: needs --dark-positives"),
        (["--mask-token", "x"], "--mask-token x: needs --dark-positives"),
        (["--dark-negatives", 1, "--mix-share", 1], "--mix-share 1.0: must be above 0 and below 1"),
        (["--dark-positives", -1], "--dark-positives -1: must be at least 0"),
    ],
)
def test_bad_options(collection, tmp_path, more, message):
    with pytest.raises(UsageError, match=message):
        mine(collection, tmp_path / "groups.jsonl", "--groups", "g", *more)


def test_a_check_knows_their_scores(material, tmp_path):
    """They are filed under `#` and a hash, which is no document that the corpus lacks."""
    darken(material, tmp_path / "dark.jsonl", "--dark-negatives", 1)
    records = [json.loads(line) for line in (tmp_path / "dark.jsonl").read_text().splitlines()]
    with (tmp_path / "scored.jsonl").open("w") as handle:
        for record, group in zip(records, read_groups(tmp_path / "dark.jsonl"), strict=True):
            handle.write(json.dumps(record | {"scores": {"ce": {c.key: 1.0 for c in group.negatives}}}) + "\n")
    (material[0] / "topics.train.tsv").write_text("a\ta\nb\tb\n")
    findings = check_collection(material[0], [tmp_path / "scored.jsonl"]).findings
    assert [finding.message for finding in findings if finding.level == "error"] == []
