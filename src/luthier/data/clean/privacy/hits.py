"""What is found in a text, and how finders of all kinds look."""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple


class Hit(NamedTuple):
    """A piece of a text that is private."""

    start: int
    end: int
    kind: str
    """One of `luthier.recipe.privacy.Kind`, or what a plug-in calls it."""


Finder = Callable[[str], Iterator[tuple[int, int]]]
"""Yields start and end of what it finds, in order, none over another."""

TAKEN = "\uffff"
"""Stands where an earlier finder found something. No finder matches it, and no text may contain it."""


def in_sum(text: str, start: int, end: int) -> bool:
    """Say whether what stands there is a term of a calculation: `2000-1360=640`, `$212 664 7665`, `5 * 040-123456`."""
    before = text[max(0, start - 3) : start].rstrip(" ")
    if before and (before[-1] in "*/+^×÷$€£¥" or (before[-1] == "=" and _ends_a_term(before[:-1]))):
        return True
    after = text[end : end + 3]
    if after[:1] in ("+", "/") and after[1:2].isdigit():
        return True
    return after.lstrip(" ")[:1] in ("=", "*", "^", "×", "÷", "%") if after else False


def _ends_a_term(before: str) -> bool:
    last = before.rstrip(" ")[-1:]
    return not last or last.isdigit() or last in ")]>"


LABELLED = re.compile(
    r"(?:\b(?:isbn(?:-1[03])?|issn|ean|upc|orders?|invoice|ticket|tracking|serial|sku|parts?|case|ref(?:erence)?|model|"
    r"version|release|build|zip|pages?|pp|years?|sum|total|result|equals|chapter|section|patent|doi|arxiv|item|"
    r"product|transaction|confirmation|booking|case|rfc|iso|id)\b|[#§№])"
    r"\W{0,3}(?:\b(?:number|numbers|num|no|nr|id|code|is|of|was)\b\W{0,3}){0,2}$",
    re.IGNORECASE,
)
"""What stands before numbers that are nobody's: orders, books, versions, results."""


def labelled(text: str, start: int) -> bool:
    """Say whether the words before the place say that the number is one of an order, a book, a version."""
    return LABELLED.search(text[max(0, start - 32) : start]) is not None


DATE = re.compile(
    r"(?<!\d)(?:(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])[-./ ](?:0?[1-9]|[12]\d|3[01])[-./ ](?:19|20)\d\d"
    r"|(?:19|20)\d\d ?[-–/] ?(?:19|20)\d\d)(?!\d)"
)
"""Dates and ranges of years."""


def digits_of(text: str) -> str:
    """Return the ASCII digits of a text."""
    return "".join(char for char in text if "0" <= char <= "9")


def counts_up(number: str) -> bool:
    """Say whether groups or digits are a sequence: `05 10 15`, `5430 5431 5432 5433`, `0123456789`."""
    terms = [int(term) for term in re.findall(r"\d+", number)]
    in_steps = len(terms) > 2 and len({after - before for before, after in pairwise(terms)}) == 1
    return in_steps or number in "01234567890"
