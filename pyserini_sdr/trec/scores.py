"""Scores as text, many at a time: what `columns.format_score` gives for each, at a fraction of the time."""

from __future__ import annotations

import numpy as np

from .columns import format_score

_DIGITS = 9
_LEAST, _MOST = -4, 8
"""Powers of ten of the numbers that nine significant digits are written for without an exponent."""
_POWERS = 10.0 ** np.arange(_LEAST, _MOST + 2)


def score_texts(scores: np.ndarray) -> list[str]:
    """Texts of finite float32 scores (n,), nine significant digits each, without zeros at their ends.

    The digits are those of the integer score · 10^(8 − e), e the power of ten of the score, rounded half to even as C
    does. That product is exact: 24 bits of a float32 and at most 28 of 5^12 fit into a float64. Zeros and what has an
    exponent in its text are left to C.
    """
    values = np.abs(scores.astype(np.float64))
    powers = np.searchsorted(_POWERS, values, side="right") + (_LEAST - 1)
    digits = np.rint(values * 10.0 ** (_DIGITS - 1 - np.clip(powers, _LEAST, _MOST)))
    known = (powers >= _LEAST) & (powers <= _MOST) & (digits < 10.0**_DIGITS)  # not rounded up to the next power
    texts = list(map(str, np.where(known, digits, 0).astype(np.int64).tolist()))
    for i in np.flatnonzero(known & (digits % 10 == 0)).tolist():
        texts[i] = texts[i].rstrip("0")
    first = int(powers[0]) if len(powers) else 0
    if (powers == first).all() and first < 0:  # cosines of one query are mostly alike
        start = _start(first)
        texts = [start + text for text in texts]
    else:
        texts = [_with_point(text, power) for text, power in zip(texts, powers.tolist(), strict=True)]
    for i in np.flatnonzero(np.signbit(scores)).tolist():
        texts[i] = "-" + texts[i]
    for i in np.flatnonzero(~known).tolist():
        texts[i] = format_score(scores[i])
    return texts


def _start(power: int) -> str:
    return "0." + "0" * (-power - 1)


def _with_point(digits: str, power: int) -> str:
    """The number whose first digits, without zeros at the end, are `digits`, the first of them that of 10^power."""
    if power < 0:
        return _start(power) + digits
    whole = digits[: power + 1].ljust(power + 1, "0")
    return f"{whole}.{digits[power + 1 :]}" if len(digits) > power + 1 else whole
