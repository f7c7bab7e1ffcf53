"""Texts that are too long: left out, or cut where it does least harm. Never cut in silence."""

from dataclasses import replace

import numpy as np

from luthier.tokens.render import Encoded


def fit(encoded: Encoded, *, max_length: int, too_long: str, start_id: int | None = None) -> Encoded | str:
    """Return a text that fits and teaches something, or the reason why there is none.

    Args:
        encoded: The text.
        max_length: Tokens it may have.
        too_long: `drop`; `turn`: turns are left off at the end, so every answer that stays keeps all that stood
            before it; or `left`: the beginning is cut off, wherever that falls.
        start_id: A start token, which `left` keeps.
    """
    if encoded.length > max_length:
        if too_long == "drop":
            return f"longer than {max_length} tokens"
        encoded = _to_turn(encoded, max_length) if too_long == "turn" else _from_left(encoded, max_length, start_id)
        if not encoded.length:
            return f"longer than {max_length} tokens up to the end of its first answer"
    if not encoded.learned[1:].any():
        return "no token is learned" + (" of what was left after cutting" if encoded.cut else "")
    return encoded


def _to_turn(encoded: Encoded, max_length: int) -> Encoded:
    ends = tuple(end for end in encoded.ends if end <= max_length)
    return _kept(encoded, slice(0, max(ends, default=0)), ends)


def _from_left(encoded: Encoded, max_length: int, start_id: int | None) -> Encoded:
    starts = start_id is not None and int(encoded.input_ids[0]) == start_id
    first = encoded.length - max_length + starts
    kept = _kept(encoded, slice(first, None), tuple(end - first + starts for end in encoded.ends if end > first))
    if not starts:
        return kept
    return replace(
        kept,
        input_ids=np.concatenate([encoded.input_ids[:1], kept.input_ids]),
        learned=np.concatenate([encoded.learned[:1], kept.learned]),
        cut=kept.cut - 1,
    )


def _kept(encoded: Encoded, part: slice, ends: tuple[int, ...]) -> Encoded:
    ids = encoded.input_ids[part]
    return replace(
        encoded, input_ids=ids, learned=encoded.learned[part], ends=ends, cut=encoded.cut + encoded.length - len(ids)
    )
