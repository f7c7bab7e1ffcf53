"""Rows that share a hash.

Shapes: R rows, E entries: rows that share their hash with another one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.pairs import Ints


class Buckets(NamedTuple):
    """The rows that share their hash with another one, bucket after bucket, in each in the order of the rows."""

    rows: Ints
    """Shape (E,)."""
    start: Ints
    """Shape (E,): where in `rows` the bucket begins."""


def buckets(hashes: NDArray[np.uint64]) -> Buckets:
    """Return the buckets of rows with these hashes, shape (R,).

    The row stands in the lowest bits of what is sorted, which takes a third of the time of sorting places. What is left
    of the hashes is enough: rows that meet by chance are rows more to compare.
    """
    bits = np.uint64(max(1, len(hashes) - 1).bit_length())
    ordered = hashes >> bits << bits
    ordered |= np.arange(len(hashes), dtype=np.uint64)
    ordered.sort()
    order = (ordered & np.uint64((1 << int(bits)) - 1)).astype(np.int64)
    ordered >>= bits
    new = np.ones(len(order) + 1, np.bool_)
    new[1:-1] = ordered[1:] != ordered[:-1]
    shared = ~(new[1:] & new[:-1])
    begins = np.flatnonzero(new[:-1][shared])
    return Buckets(order[shared], np.repeat(begins, np.diff(np.append(begins, shared.sum()))))
