"""Which rows must be held back together: those whose prompts are near, directly or over others.

Shapes: R rows, E entries of buckets, P pairs.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.buckets import Buckets
from luthier.data.near.pairs import Ints, Pairs

MOST_MATES = 16
"""Rows of one bucket, on either side, that a row is compared with as long as they are not together."""

MOST_COUNTED = 32
"""Rows that a row is counted against in vain, then no further. Only rows cut to one pattern have as many that may be
near and are not."""


class Together:
    """Joins rows into clusters.

    Args:
        joined: Shape (R,): rows with the same value are together from the start.
    """

    def __init__(self, joined: NDArray[np.uint64]) -> None:
        _, first, group = np.unique(joined, return_index=True, return_inverse=True)
        self.cluster = first[group.reshape(-1)]
        """The first row of each row's cluster. Shape (R,)."""
        self.unsure = np.zeros(len(joined), np.bool_)
        """Rows that may be near some that they weren't compared with. Shape (R,)."""
        self._counted = np.zeros(len(joined), np.uint8)

    def join(self, left: Ints, right: Ints) -> None:
        """Put the clusters of the rows of each pair together."""
        for one, other in zip(self.cluster[left].tolist(), self.cluster[right].tolist(), strict=True):
            low, high = sorted((self._root(one), self._root(other)))
            self.cluster[high] = low
        while not np.array_equal(higher := self.cluster[self.cluster], self.cluster):
            self.cluster = higher

    def _root(self, row: int) -> int:
        while (higher := int(self.cluster[row])) != row:
            row = higher
        return row

    def join_near(self, bands: Iterable[Buckets], pairs: Pairs) -> None:
        """Put rows together that are near, among those that share a bucket.

        In each bucket all are compared with the first, then with the next, the one after it, and so on, as far as they
        aren't together yet: a bucket of rows that are all alike costs one comparison a row.
        """
        for rows, start in bands:
            self._join_if_near(rows[start], rows, pairs)
            for distance in range(1, MOST_MATES + 1):
                same = np.flatnonzero(start[distance:] == start[:-distance])
                if not len(same):
                    break
                left, right = rows[same], rows[same + distance]
                tired = self._counted[right] >= MOST_COUNTED
                self._doubt(left[tired], right[tired])
                self._join_if_near(left[~tired], right[~tired], pairs)
            else:
                same = np.flatnonzero(start[distance + 1 :] == start[: -distance - 1])
                self._doubt(rows[same], rows[same + distance + 1])

    def _doubt(self, left: Ints, right: Ints) -> None:
        self.unsure[right[self.cluster[left] != self.cluster[right]]] = True

    def _join_if_near(self, left: Ints, right: Ints, pairs: Pairs) -> None:
        apart = self.cluster[left] != self.cluster[right]
        left, right = left[apart], right[apart]
        possible = pairs.equal(left, right) > 0
        left, right = left[possible], right[possible]
        near = pairs.alike(left, right) >= pairs.threshold
        if near.any():
            self.join(left[near], right[near])
        self._counted[right[~near]] += 1
