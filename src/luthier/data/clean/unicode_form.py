"""One way of writing what Unicode lets be written in several (UAX #15)."""

import unicodedata
from collections.abc import Callable
from typing import Literal

FORMS: dict[Literal["nfc", "nfkc"], Literal["NFC", "NFKC"]] = {"nfc": "NFC", "nfkc": "NFKC"}


def apply(form: Literal["nfc", "nfkc"]) -> Callable[[list[str]], list[str]]:
    """Return what brings texts into a form."""
    name = FORMS[form]

    def normalised(texts: list[str]) -> list[str]:
        return [text if text.isascii() else unicodedata.normalize(name, text) for text in texts]

    return normalised
