"""Plain punctuation: what a keyboard writes instead of what a typesetter does."""

import re

from luthier.data.clean import prose

PLAIN = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛", "'"),
        **dict.fromkeys("“”„‟", '"'),
        **dict.fromkeys("‐‑‒–−", "-"),
        **dict.fromkeys("\u00a0\u2007\u202f\u2009\u200a", " "),
        "…": "...",
    }
)
LONG_DASH = re.compile(r"(?<=\S) ?[—―] ?(?=\S)")
WIDE_WORD = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
"""Full-width letters and digits."""
WIDE_SIGN = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F) if code not in WIDE_WORD} | {0x3000: 0x20}
"""Full-width signs: the usual ones in Chinese and Japanese, where they stay."""
CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def apply(texts: list[str]) -> list[str]:
    """Return the texts with plain quotes, dashes, ellipses and letters."""
    return [text if text.isascii() else prose.rewritten(text, _plain) for text in texts]


def _plain(text: str) -> str:
    text = LONG_DASH.sub(" - ", text).translate({**PLAIN, 0x2014: "-", 0x2015: "-", **WIDE_WORD})
    return text if CJK.search(text) else text.translate(WIDE_SIGN)
