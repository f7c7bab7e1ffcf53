"""Cards and bank accounts. Both carry check digits."""

import re
from collections.abc import Iterator

from luthier.data.clean.privacy.checksums import luhn, mod97
from luthier.data.clean.privacy.hits import counts_up, digits_of, in_sum

CARD = re.compile(
    r"[1-8](?<![\w.,+].)(?<!\d[-/ ].)\d{3}(?:([ -])\d{4}\1\d{4}\1\d{1,7}|([ -])\d{6}\2\d{4,5}|\d{9,15})"
    r"(?![\w*]|[ -]\d|[.,]\d)",
    re.ASCII,
)

ISSUERS = (
    ("4", (13, 16, 19)),  # Visa
    *((str(prefix), (16,)) for prefix in range(51, 56)),  # Mastercard
    *((str(prefix), (16,)) for prefix in range(2221, 2721)),
    *((prefix, (15,)) for prefix in ("34", "37")),  # American Express
    *((prefix, (16, 17, 18, 19)) for prefix in ("6011", "644", "645", "646", "647", "648", "649", "65")),  # Discover
    *((prefix, (14, 16)) for prefix in ("300", "301", "302", "303", "304", "305", "36", "38", "39")),  # Diners Club
    *((str(prefix), (16, 17, 18, 19)) for prefix in range(3528, 3590)),  # JCB
    *((prefix, (15,)) for prefix in ("1800", "2131")),
    ("62", (16, 17, 18, 19)),  # UnionPay
    *(
        (prefix, (13, 15, 16, 18, 19))
        for prefix in ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")
    ),
    *((str(prefix), (16,)) for prefix in range(2200, 2205)),  # Mir
    *((prefix, (16,)) for prefix in ("60", "81", "82", "508")),  # RuPay
)
"""First digits of cards and how many digits these have. Without them one figure of ten passes Luhn's check."""

LENGTHS = dict(ISSUERS)


def is_card(number: str) -> bool:
    """Say whether digits are a card's: an issuer's beginning and length, and the right last digit."""
    fits = any(len(number) in LENGTHS.get(number[:size], ()) for size in (1, 2, 3, 4))
    return fits and len(set(number)) > 1 and luhn(number)


def cards(text: str) -> Iterator[tuple[int, int]]:
    """Find card numbers, in groups or in one piece."""
    for match in CARD.finditer(text):
        start, end = match.span()
        if is_card(digits_of(match.group())) and not counts_up(match.group()) and not in_sum(text, start, end):
            yield start, end


IBAN_START = re.compile(r"[A-Z](?<![A-Za-z0-9].)[A-Z][0-9]{2}(?=[ -]?[A-Z0-9]{4})")

IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
    for country in countries.split()
}
"""Characters of an IBAN by country: SWIFT's IBAN registry."""


def ibans(text: str) -> Iterator[tuple[int, int]]:
    """Find IBANs, in groups or in one piece."""
    for match in IBAN_START.finditer(text):
        length = IBAN_LENGTHS.get(match.group()[:2], 0)
        end = _end_of(text, match.start(), length) if length else 0
        if end and mod97("".join(char for char in text[match.start() : end] if char not in " -")):
            yield match.start(), end


def _end_of(text: str, start: int, length: int) -> int:
    """Return where an IBAN of so many characters ends, single spaces and hyphens aside; 0 where it doesn't."""
    place, left = start, length
    while left and place < len(text):
        char = text[place]
        if "0" <= char <= "9" or "A" <= char <= "Z":
            left -= 1
        elif char not in " -" or text[place - 1] in " -":
            return 0
        place += 1
    whole = left == 0 and not text[place : place + 1].isalnum()
    return place if whole else 0
