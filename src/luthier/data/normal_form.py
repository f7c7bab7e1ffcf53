"""Unicode's normal forms (UAX #15), in time that grows with the text, whatever it holds."""

import re
import unicodedata
from typing import Literal

PIECE = re.compile(r"(?s).{256}[^\n -~\u0e01-\u0e2e\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3]{0,256}")
"""Sorting a run of combining marks takes the square of its length, so texts are cut, before a character that never
joins what stands before it. Only a run that no language writes has none."""


def normal_form(form: Literal["NFC", "NFKC"], text: str) -> str:
    """Return the text in a normal form."""
    if text.isascii():
        return text
    end, pieces = 0, []
    for piece in PIECE.finditer(text):
        pieces.append(unicodedata.normalize(form, piece.group()))
        end = piece.end()
    return "".join([*pieces, unicodedata.normalize(form, text[end:])])
