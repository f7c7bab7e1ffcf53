"""One way of writing what Unicode lets be written in several (UAX #15)."""

from collections.abc import Callable
from typing import Literal

from luthier.data.normal_form import normal_form

FORMS: dict[Literal["nfc", "nfkc"], Literal["NFC", "NFKC"]] = {"nfc": "NFC", "nfkc": "NFKC"}


def apply(form: Literal["nfc", "nfkc"]) -> Callable[[list[str]], list[str]]:
    """Return what brings texts into a form."""
    name = FORMS[form]

    def normalised(texts: list[str]) -> list[str]:
        return [normal_form(name, text) for text in texts]

    return normalised
