"""Addresses of machines, and addresses with a password in them."""

import ipaddress
import re
from collections.abc import Iterator

V4 = re.compile(r"([0-9](?<![\w.,-].)\d{0,2})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?![\w-]|\.\d)", re.ASCII)
V6 = re.compile(r"[0-9A-Fa-f](?<![\w:.].)[0-9A-Fa-f]{0,3}:[0-9A-Fa-f:]{2,35}(?![\w:])", re.ASCII)

VERSION = re.compile(
    r"\b(?:v|ver|version|release|build|update|firmware|chrome|firefox|python|section|chapter)\W{0,3}$|/$", re.I
)
"""What stands before four numbers that are a version: `Chrome/92.0.4515.107`, `version 10.2.11.3`."""


LOW = 64
"""Versions and sections have small numbers: `3.9.24.7`. Of public addresses, one in 250 has no larger one."""

CALLED = re.compile(
    r"\b(?:ip|address|addr|host|server|client|peer|cidr)(?:v4)?\b\W{0,4}(?:(?:is|was|address)\b\W{0,3})?$", re.I
)


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """Find public IP addresses. Private, local and reserved ones are nobody's; stand-ins are among those."""
    found = [*_version_4(text), *_version_6(text)] if "." in text or ":" in text else []
    yield from sorted(found)


def _version_4(text: str) -> Iterator[tuple[int, int]]:
    for match in V4.finditer(text):
        parts = match.groups()
        numbers = [int(part) for part in parts]
        written_well = all(str(number) == part for number, part in zip(numbers, parts, strict=True))
        if not written_well or not 10 <= max(numbers) <= 255 or not _may_be_public(numbers):
            continue
        before = text[max(0, match.start() - 24) : match.start()]
        if max(numbers) < LOW and not CALLED.search(before):
            continue
        if VERSION.search(before) and not before.endswith("//"):
            continue
        yield match.span()


def _may_be_public(numbers: list[int]) -> bool:
    """Say whether an address can be somebody's. Those kept for documentation count: they stand in for real ones."""
    first, second = numbers[:2]
    private = first in (0, 10, 127) or numbers[:2] == [192, 168] or (first == 172 and 16 <= second < 32)
    return not private and numbers[:2] != [169, 254] and first < 224  # from 224: multicast, reserved


def _version_6(text: str) -> Iterator[tuple[int, int]]:
    for match in V6.finditer(text):
        written = match.group()
        if written.endswith(":") and not written.endswith("::"):  # the colon of the sentence
            written = written[:-1]
        if _is_public_6(written):
            yield match.start(), match.start() + len(written)


def _is_public_6(written: str) -> bool:
    """Say whether it is an address in 2000::/3, where public ones lie (RFC 4291), or any other written out in full."""
    groups = written.split(":")
    in_full = len(groups) == 8 and max(map(len, groups)) > 2  # else pairs of digits: keys, hardware
    try:
        first = ipaddress.IPv6Address(written).packed[0]
    except ValueError:
        return False
    return 0x20 <= first < 0x40 or (in_full and first < 0xFC)


CREDENTIALS = re.compile(
    r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@'\"<>]{0,100}:[^\s/@'\"<>]{4,200})@[\w\[]", re.ASCII
)
"""User and password in an address (RFC 3986, 3.2.1)."""

PLACEHOLDER = re.compile(
    r"[<{$\[*%]|^(?:x{3,}|\.{3,}|pass(?:word|wd)?|pwd|secret|changeme|your.*|my.*|user|username|token|not-a-secret-.*)$",
    re.I,
)
"""What stands for a password in instructions: `$PASSWORD`, `<password>`, `password`."""


def credentials(text: str) -> Iterator[tuple[int, int]]:
    """Find `user:password` in addresses."""
    if "://" not in text:
        return
    for match in CREDENTIALS.finditer(text):
        if not PLACEHOLDER.search(match.group(1).partition(":")[2]):
            yield match.span(1)
