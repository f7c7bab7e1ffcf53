"""Rows that equal an earlier one. The first stays; memory is a key and a place in a table a row, never the texts."""

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Source
from luthier.data.rows import Refusal

FREE = -1

Keys = NDArray[np.uint64]
"""Of shape (rows, 2): the 16 bytes of `keys.Parted.key`."""


class Duplicates:
    """Numbers different keys in the order in which they come.

    A hash table with open addressing, at most half full, in arrays: 24 to 32 bytes a key, and twice that for a moment
    whenever it grows.
    """

    def __init__(self) -> None:
        self._keys: Keys = np.empty((1 << 10, 2), np.uint64)
        self._table = np.full(1 << 11, FREE, np.int32)
        """Numbers of keys; where one begins to look is said by the key."""
        self._count = 0

    def match(self, keys: Keys) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the number of each key, and whether it comes for the first time. New ones are numbered on."""
        _, first, same = np.unique(keys.view("S16").ravel(), return_index=True, return_inverse=True)
        numbers = self._find(keys[first])
        new = np.flatnonzero(numbers == FREE)
        new = new[np.argsort(first[new])]
        numbers[new] = self._add(keys[first[new]])
        is_new = np.zeros(len(keys), np.bool_)
        is_new[first[new]] = True
        return numbers[same], is_new

    def _find(self, keys: Keys) -> NDArray[np.int64]:
        """Return the numbers of different keys, `FREE` of those that were not there."""
        numbers = np.full(len(keys), FREE, np.int64)
        left = np.arange(len(keys))
        at = self._start(keys)
        while len(left):
            found = self._table[at]
            numbers[left] = found
            other = (found != FREE) & (self._keys[found] != keys[left]).any(axis=1)
            left, at = left[other], self._next(at[other])
        return numbers

    def _add(self, keys: Keys) -> NDArray[np.int64]:
        """Number keys that are not there yet."""
        numbers = np.arange(self._count, self._count + len(keys))
        self._count += len(keys)
        while self._count > len(self._keys):
            self._keys = np.concatenate([self._keys, np.empty_like(self._keys)])
        self._keys[numbers] = keys
        if 2 * self._count > len(self._table):
            self._table = np.full(2 * len(self._keys), FREE, np.int32)
            self._place(np.arange(self._count))
        else:
            self._place(numbers)
        return numbers

    def _place(self, numbers: NDArray[np.int64]) -> None:
        at = self._start(self._keys[numbers])
        while len(numbers):
            free = self._table[at] == FREE
            self._table[at[free]] = numbers[free]  # of several that want one place, one gets it
            without = self._table[at] != numbers
            numbers, at = numbers[without], self._next(at[without])

    def _start(self, keys: Keys) -> NDArray[np.int64]:
        return (keys[:, 0] & np.uint64(len(self._table) - 1)).astype(np.int64)

    def _next(self, at: NDArray[np.int64]) -> NDArray[np.int64]:
        return (at + 1) & (len(self._table) - 1)


def refusal(matched: Source) -> Refusal:
    """Return the reason for dropping a row that equals `matched`."""
    return Refusal("duplicate", f"equal to {matched}", matched)
