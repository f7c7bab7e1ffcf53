"""Characters nobody sees and the model would learn: controls, terminal escapes, zero-width and bidi marks."""

import re

ANSI = re.compile(r"\x1b\[[0-9;?]{0,32}[ -/]?[@-~]")
"""Colours and cursor moves of a terminal."""

INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f"  # tab, line ends and NEL are the next step's
    "\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)

RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
BIDI_MARKS = "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
"""Legitimate in right-to-left text. Overrides (U+202D, U+202E) are not in here: they disguise text."""

JOINERS = "\u200c\u200d"
"""They join emoji and letters of Arabic and Indic scripts; beside Latin letters they are dirt."""

FLAG = "\U0001f3f4"
"""Black flag: tag characters behind it spell a region's flag. Anywhere else they are hidden text."""


def apply(texts: list[str]) -> list[str]:
    """Return the texts without invisible characters; half a character (a lone surrogate) becomes U+FFFD."""
    return [_fix(text) if _may_hide_something(text) and INVISIBLE.search(text) else text for text in texts]


def _may_hide_something(text: str) -> bool:
    """Say whether a closer look is worth its time; ten times faster than it."""
    return not text.replace("\n", " ").isprintable()


def _fix(text: str) -> str:
    text = ANSI.sub("", text)
    keep = BIDI_MARKS if RIGHT_TO_LEFT.search(text) else ""

    def seen(match: re.Match[str]) -> str:
        char = match.group()
        if "\ud800" <= char <= "\udfff":
            return "\ufffd"
        if char in JOINERS:
            return char if _joins(text, match.start()) else ""
        if char >= "\U000e0000":
            return char if FLAG in text else ""
        return char if char in keep else ""

    return INVISIBLE.sub(seen, text)


def _joins(text: str, at: int) -> bool:
    """Say whether the characters on both sides are such that a joiner between them has a meaning."""
    before, after = text[at - 1 : at], text[at + 1 : at + 2]
    return before > "\u02ff" and (after > "\u02ff" or after == "" or not after.isalnum())
