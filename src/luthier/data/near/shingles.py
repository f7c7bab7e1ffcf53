"""What two texts are compared by: the set of pairs of words that stand side by side.

A word is a run of letters and digits, in lower case where it is ASCII; every sign, and every character of a script that
is written without spaces (Chinese, Japanese, Thai, Khmer …), is a word of its own. So one rule holds for short texts
and long ones, prose, code and sums. Hashes have 64 bits: in texts of a million words, two meet by chance once in 10^7.

Shapes: R texts, N bytes, W words, S shingles.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 17
"""Characters that are looked at together: few enough to stay in a processor's cache."""

LONGEST = 64
"""Bytes of a word. Longer runs count as several."""

SPACE, LETTER, SIGN, INSIDE, FOLLOWS = range(5)
"""Class of a byte. `INSIDE` goes on with the sign that a `SIGN` began; `FOLLOWS` is as the byte before it."""


def _class_of(byte: int) -> int:
    """Return the class of a byte of UTF-8; of the first byte of a longer character, that of most such characters."""
    if byte < 0x80:
        if chr(byte).isalnum() or byte == ord("_"):
            return LETTER
        return SIGN if chr(byte).isprintable() and byte != ord(" ") else SPACE
    if byte < 0xC0:
        return FOLLOWS
    return LETTER if 0xC3 <= byte <= 0xE1 else SIGN


CLASSES = bytes(map(_class_of, range(256)))
LOWER = bytes(range(256)).lower()

UNSPACED = ((0xE0, 0xB8, 0xBB), (0xE1, 0x80, 0xB7))
"""First byte, and the range of the second, of Thai and Lao, and of Myanmar to Khmer: between scripts with spaces."""

FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)
"""Which bits of eight bytes hold the first 0 to 8 of them."""

A, B, C = (np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
HALF = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of some texts, one text after the other, repeated as often as they occur."""

    hashes: NDArray[np.uint64]
    """Shape (S,)."""
    bounds: NDArray[np.int64]
    """Shape (R + 1,): those of text r are `hashes[bounds[r]:bounds[r + 1]]`. A text without a word has none."""

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, texts: NDArray[np.int64]) -> "Shingles":
        """Return a copy of those of some texts, given by their numbers."""
        begins = self.bounds[texts]
        counts = self.bounds[texts + 1] - begins
        bounds = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(counts, out=bounds[1:])
        return Shingles(self.hashes[np.arange(bounds[-1]) + np.repeat(begins - bounds[:-1], counts)], bounds)


def shingles(texts: Sequence[str]) -> Shingles:
    """Return the shingles of the texts. A text's do not depend on the texts beside it."""
    parts = [_of_block(block) for block in _blocks(texts)]
    counts = [np.zeros(1, np.int64), *(np.diff(part.bounds) for part in parts)]
    hashes = [np.zeros(0, np.uint64), *(part.hashes for part in parts)]
    return Shingles(np.concatenate(hashes), np.cumsum(np.concatenate(counts)))


def _blocks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    begin = size = 0
    for end, text in enumerate(texts, start=1):
        size += len(text)
        if size >= BLOCK:
            yield texts[begin:end]
            begin, size = end, 0
    if begin < len(texts):
        yield texts[begin:]


def _of_block(texts: Sequence[str]) -> Shingles:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = b" ".join([*encoded, bytes(8)])
    begins, ends = _words(data)
    words = _hashes(data.translate(LOWER), begins, ends)
    after_text = np.cumsum(np.fromiter((len(text) + 1 for text in encoded), np.int64, len(encoded)))
    first = np.concatenate([np.zeros(1, np.int64), np.searchsorted(begins, after_text)])
    return _pairs(words, first)


def _words(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where the words begin and end in bytes (N,) that end with a space; both of shape (W,)."""
    classes = np.frombuffer(data.translate(CLASSES), np.uint8)
    if not data.isascii():
        classes = _resolved(classes.copy(), np.frombuffer(data, np.uint8))
    before = np.concatenate([np.full(1, SPACE, np.uint8), classes[:-1]])
    goes_on = (classes == INSIDE) | ((classes == LETTER) & (before == LETTER))
    begins = np.flatnonzero((classes != SPACE) & ~goes_on)
    ends = np.flatnonzero((before != SPACE) & ~goes_on)
    pieces = -(-(ends - begins) // LONGEST)
    if pieces.max(initial=1) == 1:
        return begins, ends
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    begins = np.repeat(begins, pieces) + number * LONGEST
    return begins, np.minimum(begins + LONGEST, np.repeat(ends, pieces))


def _resolved(classes: NDArray[np.uint8], data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the classes with those of characters of several bytes settled."""
    for lead, low, high in UNSPACED:
        found = np.flatnonzero(data == lead)
        second = data[found + 1]
        classes[found[(low <= second) & (second <= high)]] = SIGN
    follows = np.flatnonzero(classes == FOLLOWS)
    for _ in range(3):  # a character has at most three bytes after its first
        before = classes[follows - 1]
        classes[follows] = np.where(before == SIGN, np.uint8(INSIDE), before)
    return classes


def _hashes(data: bytes, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the hash of each word, shape (W,), eight bytes at a time. Words of up to eight bytes never meet."""
    eight = np.ndarray(shape=(len(data) - 7,), dtype="<u8", buffer=data, strides=(1,))
    lengths = ends - begins
    hashes: NDArray[np.uint64] = (eight[begins] & FIRST_BYTES[np.minimum(lengths, 8)]) * A
    hashes ^= hashes >> HALF
    done, left = 8, np.flatnonzero(lengths > 8)
    while len(left):
        more = eight[begins[left] + done] & FIRST_BYTES[np.minimum(lengths[left] - done, 8)]
        mixed = (hashes[left] + more) * B
        hashes[left] = mixed ^ (mixed >> HALF)
        done, left = done + 8, left[lengths[left] > done + 8]
    return hashes


def _pairs(words: NDArray[np.uint64], first: NDArray[np.int64]) -> Shingles:
    """Return the shingles, given the words and the number of each text's first one. A lone word is one itself."""
    mixed = words * B
    mixed ^= mixed >> HALF
    mixed[:-1] += words[1:]
    count = np.diff(first)
    last = first[1:] - 1
    alone = last[count == 1]
    mixed[alone] = words[alone]
    mixed *= C
    mixed ^= mixed >> HALF
    wanted = np.ones(len(words), np.bool_)
    wanted[last[count > 1]] = False
    return Shingles(mixed[wanted], np.concatenate([first[:1], np.cumsum(count - (count > 1))]))
