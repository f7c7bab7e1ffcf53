"""All finders in their order. What an earlier one found, no later one sees."""

import re
from collections.abc import Iterable

from luthier.data.clean.privacy.contact import AT, emails, phones
from luthier.data.clean.privacy.hits import TAKEN, Finder, Hit
from luthier.data.clean.privacy.identity import identities
from luthier.data.clean.privacy.money import cards, ibans
from luthier.data.clean.privacy.network import addresses, credentials
from luthier.data.clean.privacy.secret import secrets
from luthier.recipe.privacy import Kind

FINDERS: dict[Kind, Finder] = {
    "secret": secrets,
    "credentials": credentials,
    "email": emails,
    "iban": ibans,
    "identity": identities,
    "card": cards,
    "ip": addresses,
    "phone": phones,
}
"""The order matters: a password may hold an `@`, and four groups of a card could be a phone number."""

DIGITS = re.compile(
    "[0-9](?:[0-9 ()./:\u00a0\u2010-\u2013-]{5}"  # close together
    r"|[^\s0-9.,;:)\]]|(?<=[^\s0-9.,;:(\[$€£#+-]\d))"  # in one word with a letter or a sign
)
"""Digits of which more may come, or that are part of a word. All that is looked for has them, addresses aside."""


SIGNS = (*AT, "://", "-----BEGIN")
"""What else there is in a text with something private and no digits."""


def find(text: str) -> list[Hit]:
    """Return what is private in a text, in order, nothing over another.

    Every kind is looked for, whatever is done about it: a card is no phone number, also where cards may stay.
    """
    hits: list[Hit] = []
    if not _worth_a_look(text):
        return hits
    left = text
    for kind, finder in FINDERS.items():
        spans = [*finder(left)]
        if spans:
            hits += (Hit(start, end, kind) for start, end in spans)
            left = without(left, spans)
    return sorted(hits)


def _worth_a_look(text: str) -> bool:
    """Say whether the finders should see a text; most texts need no more than this."""
    return DIGITS.search(text) is not None or any(sign in text for sign in SIGNS)


def without(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text of the same length in which nothing stands at the spans."""
    pieces: list[str] = []
    last = 0
    for start, end in spans:
        pieces += (text[last:start], TAKEN * (end - start))
        last = end
    return "".join([*pieces, text[last:]])
