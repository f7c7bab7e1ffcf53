"""Numbers by which states know people: those with check digits, or of a form that nothing else has."""

import re
from collections.abc import Callable, Iterator
from datetime import date

from luthier.data.clean.privacy.checksums import VALUES, verhoeff, weighted
from luthier.data.clean.privacy.hits import counts_up, in_sum, labelled


def _ssn(number: str) -> bool:
    """Social Security Administration: no area 000, 666 or 900 to 999, no group 00, no serial 0000."""
    area, group, serial = number[:3], number[3:5], number[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _cpf(number: str) -> bool:
    """Receita Federal: two check digits, each by 11 over all digits before it."""
    checks = (weighted(number[:length], range(length + 1, 1, -1)) * 10 % 11 % 10 for length in (9, 10))
    return len(set(number)) > 1 and [*map(int, number[9:])] == [*checks]


def _dni(number: str) -> bool:
    """Ministerio del Interior: the letter is the number's rest by 23; of a foreigner, X, Y, Z count as 0, 1, 2."""
    first = {"X": "0", "Y": "1", "Z": "2"}.get(number[0], number[0])
    return number[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(first + number[1:-1]) % 23]


def _aadhaar(number: str) -> bool:
    """UIDAI: Verhoeff's check digit. Three numbers in a row are a table."""
    return verhoeff(number) and not counts_up(f"{number[:4]} {number[4:8]} {number[8:]}")


def _chinese(number: str) -> bool:
    """GB 11643-1999: a birthday in the middle, check digit by ISO 7064 mod 11-2."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return _is_day(number[6:14]) and number[-1] == "10X98765432"[weighted(number[:17], weights) % 11]


def _is_day(digits: str) -> bool:
    try:
        return 1900 <= date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).year <= 2030
    except ValueError:
        return False


def _nir(number: str) -> bool:
    """INSEE: the key is 97 less the rest by 97; the departments of Corsica, 2A and 2B, count as 19 and 18."""
    plain = number.replace("2A", "19").replace("2B", "18")
    return int(plain[:13]) % 97 + int(plain[13:]) == 97


ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
"""Value of the letters A to Z, and of the digits 0 to 9 as A to J, in odd places of an Italian code."""


def _italian(code: str) -> bool:
    """Decreto ministeriale 23 dicembre 1976: the last letter is the sum of all others' values, by 26."""
    places = [VALUES[char] if char.isdigit() else VALUES[char] - 10 for char in code[:15]]
    total = sum(place if index % 2 else ODD[place] for index, place in enumerate(places))
    return VALUES[code[15]] - 10 == total % 26


def _nino(number: str) -> bool:
    """HMRC: prefixes that are never allocated."""
    return number[:2] not in ("BG", "GB", "NK", "KN", "TN", "NT", "ZZ")


IN_DIGITS = re.compile(
    r"[0-9](?<![\w.,+/-].)(?<!\d .)(?:"
    r"(?P<ssn>\d\d-\d\d-\d{4})"
    r"|(?P<cpf>\d\d\.\d{3}\.\d{3}-\d\d)"
    r"|(?P<aadhaar>(?<=[2-9])\d{3}([ -])\d{4}\4\d{4})"
    r"|(?P<chinese>(?<=[1-8])\d{5}(?:19|20)\d{9}[\dX])"
    r"|(?P<nir>(?<=[12])( ?)\d\d\7(?:0[1-9]|[1-9]\d)\7(?:\d\d|2[AB])\7\d{3}\7\d{3} ?\d\d)"
    r"|(?P<dni>\d{7}-?[A-HJ-NP-TV-Z])"
    r"|(?P<plain>(?:\d\d \d\d \d{4}|\d{8}|\d{10}|\d{11}))"
    r")(?![\w*=/+-]|[ .,]\d)",
    re.ASCII,
)
IN_CAPITALS = re.compile(
    r"[A-Z](?<![\w.,+/-].)(?:"
    r"(?P<nino>(?<=[A-CEGHJ-PR-TW-Z])[A-CEGHJ-NPR-TW-Z]( ?)\d\d\2\d\d\2\d\d\2[A-D])"
    r"|(?P<pan>[A-Z]{2}[PCHFABTLJG][A-Z]\d{4}[A-Z])"
    r"|(?P<italian>[A-Z]{5}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z])"
    r"|(?P<nie>(?<=[XYZ])-?\d{7}-?[A-HJ-NP-TV-Z])"
    r")(?![\w-])",
    re.ASCII,
)

HOLDS: dict[str, Callable[[str], bool]] = {
    "ssn": _ssn,  # United States
    "cpf": _cpf,  # Brazil
    "aadhaar": _aadhaar,  # India
    "chinese": _chinese,
    "nir": _nir,  # France
    "dni": _dni,  # Spain
    "nie": _dni,
    "nino": _nino,  # United Kingdom
    "pan": lambda _: True,  # India; ten signs of a form that nothing else has
    "italian": _italian,
}
"""Whether such a number can have been issued: of its digits and letters without separators."""

NAMED = (
    (re.compile(r"\b(?:ssn|social security)\b[^\d\n]{0,24}$", re.IGNORECASE), 9, _ssn),
    (re.compile(r"\bcpf\b[^\d\n]{0,16}$", re.IGNORECASE), 11, _cpf),
    (re.compile(r"\baadhaa?r\b[^\d\n]{0,24}$", re.IGNORECASE), 12, _aadhaar),
)
"""Plain digits, where the words before say what they are: the words, how many digits, whether they can be."""


def identities(text: str) -> Iterator[tuple[int, int]]:
    """Find numbers by which states know people."""
    found = []
    for form in (IN_DIGITS, IN_CAPITALS):
        for match in form.finditer(text):
            start, end = match.span()
            number = "".join(char for char in match.group() if char.isalnum())
            name = match.lastgroup or ""
            holds = _holds_as_named(text, start, number) if name == "plain" else HOLDS[name](number)
            if holds and not in_sum(text, start, end) and not labelled(text, start):
                found.append((start, end))
    yield from sorted(found)


def _holds_as_named(text: str, start: int, number: str) -> bool:
    before = text[max(0, start - 48) : start]
    return any(len(number) == size and holds(number) and word.search(before) for word, size, holds in NAMED)
