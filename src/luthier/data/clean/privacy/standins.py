"""Made-up values that stand for private ones: the same for the same person, of the same kind, and nobody's.

A stand-in is a function of the value and a key, so that rows, files and processes agree without talking. How the value
is written does not count where people write it in several ways: `Jane@Mail.org` and `jane@mail.org` get one address,
`+1 (212) 555-0123` and `212-555-0123` one number; only letter case or gaps of the stand-in differ then.

Two values can meet in one stand-in. There are 4 * 10^15 addresses, 10^12 phone numbers, 2.5 * 10^8 of IPv4, 10^9 of
nine digits: among n values, about n^2 / 2 / (that many) pairs meet. The vault notices.
"""

import ipaddress
import re
from collections.abc import Callable
from hashlib import blake2b, sha256
from pathlib import Path

from luthier.core.errors import DataError
from luthier.data.clean.privacy.find import find
from luthier.data.clean.privacy.hits import digits_of

SYLLABLES = tuple(consonant + vowel for consonant in "bdfghjklmnprstvwyz" for vowel in "aeiou")
GROUPINGS = ((4, 4, 4), (3, 3, 3, 3), (2, 3, 3, 4), (3, 4, 5), (5, 3, 4), (2, 5, 5), (2, 4, 6), (3, 3, 6), (2, 2, 4, 4))
GAPS = " -."


class StandIns:
    """Makes stand-ins.

    Args:
        salt: Another number gives others.
        key: File whose content is mixed in, so that nobody without it can test a guess.

    Raises:
        DataError: The key file is missing or empty.
    """

    def __init__(self, salt: int = 0, key: str | None = None) -> None:
        secret = _content(Path(key).expanduser()) if key else b""
        self._key = sha256(b"%d:%b" % (salt, secret)).digest()

    def of(self, kind: str, value: str) -> str:
        """Return what stands for a value."""
        same, spelled = self._numbers(kind, normal(kind, value)), self._numbers(f"{kind} spelled", value)
        make = MAKE.get(kind, _name)
        return make(value, same, spelled)

    def _numbers(self, *parts: str) -> "Drawn":
        digest = blake2b("\x1f".join(parts).encode("utf-8", "surrogatepass"), key=self._key, digest_size=32)
        return Drawn(int.from_bytes(digest.digest(), "big"))


class Drawn:
    """Numbers taken one after the other from one that was drawn."""

    def __init__(self, number: int) -> None:
        self._rest = number

    def below(self, end: int) -> int:
        """Return the next one, from 0 to below `end`. After some fifty digits, they begin anew from a hash."""
        if self._rest < end:
            self._rest = int.from_bytes(sha256(b"%d" % self._rest).digest(), "big")
        self._rest, number = divmod(self._rest, end)
        return number

    def word(self, syllables: int) -> str:
        """Return a word that no language has, and every tongue can say."""
        return "".join(SYLLABLES[self.below(len(SYLLABLES))] for _ in range(syllables))


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes().strip()
    except OSError as error:
        raise DataError(
            f"the key for stand-ins can't be read: {error.strerror}",
            hint="make one: `openssl rand -hex 32 > FILE`, and name it as `data.clean.privacy.key`",
            place=str(path),
        ) from error
    if not content:
        raise DataError(
            "the key for stand-ins is empty", hint="`openssl rand -hex 32 > FILE` makes one", place=str(path)
        )
    return content


def normal(kind: str, value: str) -> str:
    """Return what two ways to write the same have in common."""
    if kind == "email":
        plain = re.sub(r"\s?[\[({]\s?(?:at|@)\s?[\])}]\s?", "@", value, flags=re.IGNORECASE)
        return re.sub(r"\s?[\[({]\s?(?:dot|\.)\s?[\])}]\s?", ".", plain, flags=re.IGNORECASE).casefold()
    if kind == "phone":
        digits = digits_of(value.replace("(0)", ""))
        digits = digits[2:] if digits.startswith("00") else digits
        return digits[1:] if len(digits) == 11 and digits[0] == "1" and value.strip()[0] in "+1" else digits
    if kind in ("card", "iban", "identity"):
        return "".join(char for char in value if char.isalnum())
    if kind == "ip" and ":" in value:
        return ipaddress.IPv6Address(value).exploded
    return value


def _email(value: str, same: Drawn, spelled: Drawn) -> str:
    local = f"{same.word(4)}.{same.word(4)}"
    if value != normal("email", value):
        local = "".join(char.upper() if spelled.below(2) else char for char in local).swapcase()
    return f"{local}@mail.example"


def _phone(value: str, same: Drawn, spelled: Drawn) -> str:
    del value
    digits = f"{same.below(10**12):012d}"
    gap = GAPS[spelled.below(len(GAPS))]
    pieces, place = ["+999"], 0
    for size in GROUPINGS[spelled.below(len(GROUPINGS))]:
        pieces.append(digits[place : place + size])
        place += size
    return gap.join(pieces)


def _ip(value: str, same: Drawn, spelled: Drawn) -> str:
    """From 240.0.0.0/4, reserved and never given out (RFC 1112), or fd00::/8, local by definition (RFC 4193)."""
    del spelled
    if ":" not in value:
        return ".".join(map(str, (240 + same.below(15), *(same.below(256) for _ in range(3)))))
    return f"fd{same.below(256):02x}:" + ":".join(f"{same.below(65536):04x}" for _ in range(7))


def _same_layout(value: str, same: Drawn, spelled: Drawn) -> str:
    """Return other digits and letters in the same places, such that the check digits are wrong."""
    del spelled
    while True:
        made = "".join(_like(char, same) for char in value)
        if made != value and not find(made):
            return made


def _like(char: str, drawn: Drawn) -> str:
    if char.isdigit():
        return str(drawn.below(10))
    return chr(ord("A") + drawn.below(26)) if char.isalpha() else char


def _secret(value: str, same: Drawn, spelled: Drawn) -> str:
    del value, spelled
    return f"not-a-secret-{same.word(4)}-{same.word(4)}"


def _credentials(value: str, same: Drawn, spelled: Drawn) -> str:
    user = same.word(3)
    return f"{user}:{_secret(value, same, spelled)}"


def _name(value: str, same: Drawn, spelled: Drawn) -> str:
    del value, spelled
    return f"{same.word(3).capitalize()} {same.word(4).capitalize()}"


MAKE: dict[str, Callable[[str, Drawn, Drawn], str]] = {
    "email": _email,
    "phone": _phone,
    "card": _same_layout,
    "iban": _same_layout,
    "identity": _same_layout,
    "ip": _ip,
    "credentials": _credentials,
    "secret": _secret,
}
"""How stand-ins of a kind are made: of the value, what is drawn of its normal form, and of how it is written."""
