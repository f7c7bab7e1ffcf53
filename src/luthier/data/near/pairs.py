"""Pairs of rows held against each other: first by their signatures, then by their texts, which are read back.

Shapes: R rows, P pairs, V values of a text's signature.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import comb

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Example
from luthier.data.near.jaccard import jaccard
from luthier.data.near.shingles import Shingles, shingles

Ints = NDArray[np.int64]
Read = Callable[[Sequence[int]], Sequence[Example]]

AT_ONCE = 2048
"""Pairs that are looked at together."""

MOST_HELD = 1 << 20
"""Shingles in memory of rows read back, those of pairs that are looked at together aside: 8 megabytes."""

MOST_READ = 1 << 18
"""Shingles of pairs that are looked at together. Those of one pair may be more."""

OVERLOOKED = 0.002
"""Share of the pairs at the threshold that the look at their signatures may pass over."""


class Pairs:
    """Tells how alike two rows are: in the text, of those compared, in which they are least so.

    Args:
        checks: Eight bits of every value, shape (R, V x all texts).
        sizes: Shingles of all texts of each row, shape (R,).
        values: V.
        threshold: How alike rows must be.
        compared: Which of the texts.
        texts: Reads the texts back.
    """

    def __init__(
        self, checks: NDArray[np.uint8], sizes: Ints, values: int, threshold: float, compared: slice, texts: "Texts"
    ) -> None:
        self.threshold = threshold
        self._sizes = sizes
        self._checks = checks
        self._fields = [slice(at, at + values) for at in range(0, checks.shape[1], values)][compared]
        self._least = fewest_equal(values, threshold)
        self._compared = compared
        self._texts = texts

    def equal(self, left: Ints, right: Ints) -> Ints:
        """Return how many values are equal, in the text with fewest; 0 where the rows can't be near. Shape (P,)."""
        result = np.empty(len(left), np.int64)
        for begin in range(0, len(left), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            same = [self._checks[left[part], field] == self._checks[right[part], field] for field in self._fields]
            result[part] = np.min([field.view(np.uint8).sum(axis=1, dtype=np.uint8) for field in same], axis=0)
        return np.where(result >= self._least, result, 0)

    def alike(self, left: Ints, right: Ints) -> NDArray[np.float64]:
        """Return the Jaccard similarities, counted on the texts. Shape (P,)."""
        result = np.empty(len(left))
        ends = np.cumsum(self._sizes[left] + self._sizes[right])
        end = 0
        while (begin := end) < len(left):
            before = ends[begin - 1] if begin else 0
            end = min(begin + AT_ONCE, max(begin + 1, int(np.searchsorted(ends, before + MOST_READ))))
            part = slice(begin, end)
            rows, at = np.unique(np.concatenate([left[part], right[part]]), return_inverse=True)
            first, second = at.reshape(2, -1)
            fields = self._texts.shingles(rows.tolist())[self._compared]
            result[part] = np.min([jaccard(field, first, second) for field in fields], axis=0)
        return result


class Texts:
    """Reads rows back, and remembers the shingles of some: a row that is compared is mostly compared again.

    Args:
        read: Gives back the examples of some rows, whose numbers ascend.
        texts: Gives the texts of an example.
    """

    def __init__(self, read: Read, texts: Callable[[Example], tuple[str, ...]]) -> None:
        self._read = read
        self._texts = texts
        self._held: dict[int, tuple[NDArray[np.uint64], ...]] = {}
        self._size = 0

    def shingles(self, rows: Sequence[int]) -> list[Shingles]:
        """Return the shingles of rows, one of each text."""
        if self._size > MOST_HELD:
            self._held.clear()
            self._size = 0
        missing = [row for row in rows if row not in self._held]
        if missing:
            self._hold(missing)
        fields = zip(*(self._held[row] for row in rows), strict=True)
        return [Shingles(np.concatenate(field), np.cumsum([0, *map(len, field)], dtype=np.int64)) for field in fields]

    def _hold(self, rows: Sequence[int]) -> None:
        fields = [shingles(field) for field in zip(*map(self._texts, self._read(rows)), strict=True)]
        parts = [[hashes[begin:end] for begin, end in pairwise(bounds.tolist())] for hashes, bounds in fields]
        self._held.update(zip(rows, zip(*parts, strict=True), strict=True))
        self._size += sum(len(field.hashes) for field in fields)


def fewest_equal(values: int, threshold: float) -> int:
    """Return the number of equal values that pairs at the threshold fall short of in `OVERLOOKED` of all cases.

    Equal values are binomially distributed, with the similarity as probability.
    """
    below = 0.0
    for equal in range(values + 1):
        below += comb(values, equal) * threshold**equal * (1 - threshold) ** (values - equal)
        if below > OVERLOOKED:
            return max(1, equal)
    return values
