"""Texts to words and runs of words, as numbers: a batch at a time, in numpy.

A word is a run of letters, digits, marks and `_`, whatever its case and width. Where a script sets no spaces between
words (Chinese, Japanese, Thai, Lao, Burmese, Khmer), each character counts as one. Equal words have equal numbers in
every process; different ones may have too, by a chance of 2^-64, so who acts on a match compares the words.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from luthier.data.normal_form import normal_form

Numbers = NDArray[np.uint64]
Places = NDArray[np.int64]

CHUNK = 1 << 18
"""Characters hashed in one go: their arrays stay in the processor's cache. Longer texts are cut in pieces."""

OVERLAP = 1 << 13
"""Characters that neighbouring pieces of a text share: a run that is shorter stands whole in one of them."""

BASE = 0x9E3779B97F4A7C15
"""An odd number, so that it has an inverse modulo 2^64."""

UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # Han, and below
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)

BETWEEN, INSIDE, ALONE = 0, 1, 2
"""What a character is: no part of a word, part of one, or a word of its own."""


@dataclass(frozen=True, slots=True)
class Words:
    """The words of several texts, one after the other. W words."""

    text: str
    """The texts, evened out."""
    start: Places
    """Where in `text` each word begins. (W,)"""
    end: Places
    """Where it ends. (W,)"""
    row: Places
    """Which of the texts it stands in. (W,)"""
    number: Numbers
    """The words themselves. (W,)"""
    rows: int
    """How many texts there are."""
    alone: NDArray[np.bool_]
    """Which are a character each, of a script without spaces. (W,)"""

    def spelled(self, first: int, last: int) -> list[str]:
        """Return the words from `first` to before `last` as strings."""
        bounds = zip(self.start[first:last].tolist(), self.end[first:last].tolist(), strict=True)
        return [self.text[start:end] for start, end in bounds]


def chunks(texts: Sequence[str]) -> Iterator[tuple[list[int], Words]]:
    """Yield the words of the texts in portions, each with the index in `texts` of its rows.

    A text longer than `CHUNK` comes in several rows.
    """
    indices: list[int] = []
    pieces: list[str] = []
    size = 0
    for index, text in enumerate(texts):
        for start in range(0, max(1, len(text) - OVERLAP), CHUNK - OVERLAP):
            piece = text[start : start + CHUNK]
            if pieces and size + len(piece) > CHUNK:
                yield indices, words(pieces)
                indices, pieces, size = [], [], 0
            indices.append(index)
            pieces.append(piece)
            size += len(piece)
    if pieces:
        yield indices, words(pieces)


def words(texts: Sequence[str]) -> Words:
    """Return the words of the texts."""
    evened = [text.lower() if text.isascii() else _evened(text) for text in texts]
    text = "\n".join(evened)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    kind = np.zeros(len(codes) + 2, np.uint8)
    np.take(_kinds(), codes, out=kind[1:-1])
    edge = (kind[1:] != kind[:-1]) | (kind[1:] == ALONE)
    start = np.flatnonzero(edge[:-1] & (kind[1:-1] != BETWEEN))
    end = np.flatnonzero(edge[1:] & (kind[1:-1] != BETWEEN)) + 1
    lengths = np.fromiter(map(len, evened), np.int64, len(evened))
    row = np.searchsorted(np.cumsum(lengths + 1), start, side="right")
    prefix = _prefix(codes.astype(np.uint64) + np.uint64(1))
    number = mixed((prefix[end] - prefix[start]) * _powers(len(prefix))[1][start])
    return Words(text, start, end, row, number, len(texts), kind[start + 1] == ALONE)


def mixed(numbers: Numbers) -> Numbers:
    """Return the numbers with every bit depending on all (the finaliser of MurmurHash3, fmix64)."""
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        numbers = (numbers ^ (numbers >> np.uint64(33))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(33))


def _evened(text: str) -> str:
    """Return the text without differences of case and width. Folded once more, it stays as it is."""
    return normal_form("NFKC", normal_form("NFKC", text).casefold())


def runs(numbers: Numbers, length: int) -> Numbers:
    """Return a number for the run of `length` words at each place of W: (W - length + 1,), or none."""
    count = max(0, len(numbers) - length + 1)
    prefix = _prefix(numbers)
    return mixed((prefix[length : length + count] - prefix[:count]) * _powers(count)[1])


def within(row: Places, length: int) -> NDArray[np.bool_]:
    """Say of the run of `length` words at each place whether it lies in one text. As many as `runs`."""
    count = max(0, len(row) - length + 1)
    same: NDArray[np.bool_] = row[:count] == row[len(row) - count :]
    return same


def run_number(numbers: Numbers, start: Places, length: Places) -> Numbers:
    """Return the numbers that `runs` gives the runs of `length` words which begin at `start`."""
    prefix = _prefix(numbers)
    return mixed((prefix[start + length] - prefix[start]) * _powers(len(prefix))[1][start])


def _prefix(values: Numbers) -> Numbers:
    """Return p[i] = sum of values[j] * BASE^j over j < i, modulo 2^64."""
    prefix = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values * _powers(len(values))[0], out=prefix[1:])
    return prefix


def _powers(count: int) -> tuple[Numbers, Numbers]:
    """Return BASE^i and BASE^-i modulo 2^64 for i < count."""
    forward, back = _power_tables(max(20, (count - 1).bit_length()))
    return forward[:count], back[:count]


@cache
def _power_tables(bits: int) -> tuple[Numbers, Numbers]:
    bases = (BASE, pow(BASE, -1, 1 << 64))
    forward, back = (np.ones(1 << bits, np.uint64) for _ in bases)
    for table, base in zip((forward, back), bases, strict=True):
        for bit in range(bits):
            table[1 << bit : 2 << bit] = table[: 1 << bit] * np.uint64(pow(base, 1 << bit, 1 << 64))
    return forward, back


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return what each character of Unicode is. (0x110000,)."""
    characters = map(chr, range(0x110000))
    inside = [INSIDE if c.isalnum() or c == "_" or unicodedata.category(c)[0] == "M" else BETWEEN for c in characters]
    kinds = np.array(inside, np.uint8)
    for first, last in UNSPACED:
        kinds[first : last + 1] *= np.uint8(ALONE)
    return kinds
