"""Which rows are near an earlier one that is kept.

Shapes: R rows, C contested rows (in a bucket with others), E entries of buckets, P pairs.
"""

from collections.abc import Iterable

import numpy as np

from luthier.data.near.buckets import Buckets
from luthier.data.near.pairs import Ints, Pairs

CHUNK = 2048
"""Contested rows that are settled together."""

MOST_MATES = 32
"""Rows of one bucket that a row is compared with, the latest ones. Only rows cut to one pattern have more."""

AT_ONCE = (1, 4, 27)
"""How many rows a row is counted against before it is looked whether one of them was near; the likeliest come first,
and where 32 weren't, no further is tried. Only rows cut to one pattern have more that may be."""

ROUNDS = 8
"""How often the first undecided row of each bucket is kept, and the others are compared with it. Then, again only among
rows cut to one pattern, some are left, and each is compared with the ones before it."""


class Keep:
    """Goes through the rows in order and keeps each that is not near one that was kept.

    So no row leaves for one that leaves too, and in a chain of rows, each near the next, the ends both stay.

    Args:
        rows: R.
        bands: The buckets of each band; two rows that are near are in one bucket, almost surely.
        pairs: Tells how alike two rows are.
    """

    def __init__(self, rows: int, bands: Iterable[Buckets], pairs: Pairs) -> None:
        self.matched = np.full(rows, -1, np.int64)
        """The kept row each row is near to, -1 of a row that is kept. Shape (R,)."""
        self.alike = np.zeros(rows)
        """How alike both are. Shape (R,)."""
        self.unsure = np.zeros(rows, np.bool_)
        """Rows that may be near some that they weren't compared with. Shape (R,)."""
        self._pairs = pairs
        bands = [*bands]
        contested = np.zeros(rows, np.bool_)
        for band in bands:
            contested[band.rows] = True
        self._rows = np.flatnonzero(contested)
        place = np.cumsum(contested) - 1
        self._start = np.full((len(self._rows), len(bands)), -1, np.int64)
        """Where the bucket of a contested row begins in `_held`, for each band; -1 of a row alone. Shape (C, bands)."""
        size = 0
        for number, band in enumerate(bands):
            self._start[place[band.rows], number] = band.start + size
            size += len(band.rows)
        self._held = np.empty(size, np.int64)
        """The contested rows of each bucket that were kept, from where it begins. Shape (E,)."""
        self._count = np.zeros(size, np.int64)
        """How many they are, at the place where the bucket begins. Shape (E,)."""
        for begin in range(0, len(self._rows), CHUNK):
            self._settle(np.arange(begin, min(begin + CHUNK, len(self._rows))))

    def _settle(self, at: Ints) -> None:
        """Decide on contested rows that follow each other; on all earlier ones it is decided."""
        self._match(*self._with_kept(at))
        at = at[self.matched[self._rows[at]] < 0]
        for _ in range(ROUNDS):
            if not len(at):
                return
            row, start = self._entries(at)
            _, first, bucket = np.unique(start, return_index=True, return_inverse=True)
            leader = row[first][bucket]
            behind = leader != row
            follow = np.unique(row[behind])
            lead = np.setdiff1d(at, follow, assume_unique=True)  # nothing undecided stands before them
            self._keep(lead)
            behind &= np.isin(leader, lead)
            self._match(row[behind], leader[behind])
            at = follow[self.matched[self._rows[follow]] < 0]
        self._settle_one_by_one(at)

    def _settle_one_by_one(self, at: Ints) -> None:
        """Decide on contested rows, none of which is near a row kept so far."""
        row, start = self._entries(at)
        order = np.argsort(start, kind="stable")
        row, start = row[order], start[order]
        pairs = [np.empty((2, 0), np.int64)]
        for distance in range(1, min(MOST_MATES, len(row) - 1) + 1):
            same = np.flatnonzero(start[distance:] == start[:-distance])
            pairs.append(np.stack([row[same + distance], row[same]]))
        left, right, _ = self._likeliest(*np.concatenate(pairs, axis=1))
        alike = self._pairs.alike(left, right)
        near = np.flatnonzero(alike >= self._pairs.threshold)
        for one, other, share in zip(left[near].tolist(), right[near].tolist(), alike[near].tolist(), strict=True):
            if self.matched[other] < 0 and share > self.alike[one]:
                self.matched[one], self.alike[one] = other, share
        self._keep(at[self.matched[self._rows[at]] < 0])

    def _entries(self, at: Ints) -> tuple[Ints, Ints]:
        """Return contested row and beginning of the bucket for each bucket of each row, the rows in order."""
        row, band = np.nonzero(self._start[at] >= 0)
        return at[row], self._start[at[row], band]

    def _with_kept(self, at: Ints) -> tuple[Ints, Ints]:
        """Return each contested row beside the kept rows of its buckets."""
        row, start = self._entries(at)
        many = np.minimum(self._count[start], MOST_MATES)
        self.unsure[self._rows[row[self._count[start] > MOST_MATES]]] = True
        last = start + self._count[start]
        return np.repeat(row, many), self._held[np.arange(many.sum()) + np.repeat(last - np.cumsum(many), many)]

    def _keep(self, at: Ints) -> None:
        row, start = self._entries(at)
        self._held[start + self._count[start]] = row
        self._count[start] += 1

    def _match(self, left: Ints, right: Ints) -> None:
        """Record, for each contested row on the left that is near one on the right, which one."""
        left, right, rank = self._likeliest(left, right)
        begin = 0
        for most in AT_ONCE:
            now = (rank >= begin) & (rank < begin + most) & (self.matched[left] < 0)
            self._record(left[now], right[now])
            begin += most

    def _likeliest(self, left: Ints, right: Ints) -> tuple[Ints, Ints, Ints]:
        """Return the pairs of rows that may be near, the likeliest of each left one first, and which one each is."""
        left, right = self._once(left, right)
        equal = self._pairs.equal(left, right)
        order = np.lexsort([right, -equal, left])
        order = order[equal[order] > 0]
        left, right = left[order], right[order]
        begins = np.flatnonzero(np.append(True, left[1:] != left[:-1])[: len(left)])
        rank = np.arange(len(left)) - np.repeat(begins, np.diff(np.append(begins, len(left))))
        self.unsure[left[rank >= sum(AT_ONCE)]] = True
        few = rank < sum(AT_ONCE)
        return left[few], right[few], rank[few]

    def _once(self, left: Ints, right: Ints) -> tuple[Ints, Ints]:
        """Return each pair of contested rows once, as numbers of rows."""
        keys = np.sort(left * len(self._rows) + right)  # np.unique makes a hash table, which takes five times as long
        keys = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]]
        return self._rows[keys // len(self._rows)], self._rows[keys % len(self._rows)]

    def _record(self, left: Ints, right: Ints) -> None:
        alike = self._pairs.alike(left, right)
        near = alike >= self._pairs.threshold
        left, right, alike = left[near], right[near], alike[near]
        order = np.lexsort([right, -alike, left])
        rows, best = np.unique(left[order], return_index=True)
        self.matched[rows] = right[order][best]
        self.alike[rows] = alike[order][best]
