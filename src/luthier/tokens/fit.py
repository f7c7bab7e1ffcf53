"""Texts that are too long: left out, or cut where it does least harm. Never cut in silence."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from luthier.recipe.methods import Rows
from luthier.tokens.render import Encoded


def fit_all(
    texts: Sequence[Encoded], *, rows: Rows, max_length: int, too_long: str, start_id: int | None = None
) -> list[Encoded | str]:
    """Return the texts of one example as they fit, or why they don't: one for one, but that plain text is cut up.

    Args:
        texts: What the example became; not none.
        rows: What it is.
        max_length: Tokens a text may have.
        too_long: As in `fit`. A preference or a judged answer is cut in its prompt only, both endings of a pair by the
            same; `right`, for texts with a class, cuts off the end. Plain text is always learned whole, in chunks.
        start_id: A start token, which `left` keeps.
    """
    if rows == "text":
        return [chunk for text in texts for chunk in chunks(text, max_length)]
    if rows == "class":
        return [_classified(text, max_length, too_long, start_id) for text in texts]
    if rows == "conversation":
        fitting = partial(fit, max_length=max_length, too_long=too_long, start_id=start_id)
        return [fitting(text) for text in texts]
    return [*_endings(texts, max_length, too_long, start_id)]


def chunks(encoded: Encoded, max_length: int) -> list[Encoded | str]:
    """Return a text in chunks of at most `max_length` tokens.

    Each but the first begins with the last token of the one before, not to be learned again but to predict the next
    from: so every token is learned once.
    """
    if encoded.length <= max_length:
        return [encoded]
    if max_length < 2:
        return [f"longer than {max_length} tokens"]
    starts = range(0, encoded.length - 1, max_length - 1)
    parts = [(encoded.input_ids[at : at + max_length], encoded.learned[at : at + max_length].copy()) for at in starts]
    for _, learned in parts[1:]:
        learned[0] = False
    return [replace(encoded, input_ids=ids, learned=learned) for ids, learned in parts]


def _classified(encoded: Encoded, max_length: int, too_long: str, start_id: int | None) -> Encoded | str:
    """Return a text that fits. Its last token stands for the class and stays, whichever end is cut."""
    beyond = encoded.length - max_length
    if beyond <= 0:
        return encoded
    if too_long == "drop":
        return f"longer than {max_length} tokens"
    if too_long == "left":
        return _from_left(encoded, beyond, start_id)
    closing = encoded.length - encoded.ends[0]
    kept = np.r_[: max_length - closing, encoded.length - closing : encoded.length]
    return replace(
        encoded, input_ids=encoded.input_ids[kept], learned=np.arange(max_length) == max_length - 1, cut=beyond
    )


def _endings(texts: Sequence[Encoded], max_length: int, too_long: str, start_id: int | None) -> Sequence[Encoded | str]:
    """Return the text of a judged answer or both of a pair, whole from the beginning of their endings; or why not."""
    if len(texts) == 2 and np.array_equal(texts[0].input_ids, texts[1].input_ids):
        return ["both endings are the same tokens"] * 2
    beyond = max(text.length for text in texts) - max_length
    if beyond > 0:
        prompts = [int(np.argmax(text.learned)) for text in texts]
        starts = any(_starts(text, start_id) for text in texts)
        if too_long == "drop":
            return [f"longer than {max_length} tokens"] * len(texts)
        if beyond + max(1, starts) > min(prompts):
            return [f"longer than {max_length} tokens without its prompt"] * len(texts)
        texts = [_from_left(text, beyond, start_id) for text in texts]
    if not all(text.learned[1:].any() for text in texts):
        return ["no token is learned"] * len(texts)
    return texts


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
        beyond = encoded.length - max_length
        encoded = _to_turn(encoded, max_length) if too_long == "turn" else _from_left(encoded, beyond, start_id)
        if not encoded.length:
            return f"longer than {max_length} tokens up to the end of its first answer"
    if not encoded.learned[1:].any():
        return "no token is learned" + (" of what was left after cutting" if encoded.cut else "")
    return encoded


def _to_turn(encoded: Encoded, max_length: int) -> Encoded:
    ends = tuple(end for end in encoded.ends if end <= max_length)
    return _kept(encoded, slice(0, max(ends, default=0)), ends)


def _from_left(encoded: Encoded, count: int, start_id: int | None) -> Encoded:
    """Return a text without so many tokens of its beginning, its start token kept."""
    starts = _starts(encoded, start_id)
    first = count + starts
    kept = _kept(encoded, slice(first, None), tuple(end - first + starts for end in encoded.ends if end > first))
    if not starts:
        return kept
    return replace(
        kept,
        input_ids=np.concatenate([encoded.input_ids[:1], kept.input_ids]),
        learned=np.concatenate([encoded.learned[:1], kept.learned]),
        cut=kept.cut - 1,
    )


def _starts(encoded: Encoded, start_id: int | None) -> bool:
    return start_id is not None and int(encoded.input_ids[0]) == start_id


def _kept(encoded: Encoded, part: slice, ends: tuple[int, ...]) -> Encoded:
    ids = encoded.input_ids[part]
    return replace(
        encoded, input_ids=ids, learned=encoded.learned[part], ends=ends, cut=encoded.cut + encoded.length - len(ids)
    )
