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
    """Return the buckets of rows with these hashes, shape (R,)."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    new = np.ones(len(order) + 1, np.bool_)
    new[1:-1] = ordered[1:] != ordered[:-1]
    shared = ~(new[1:] & new[:-1])
    begins = np.flatnonzero(new[:-1][shared])
    return Buckets(order[shared], np.repeat(begins, np.diff(np.append(begins, shared.sum()))))
