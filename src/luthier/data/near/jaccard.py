"""How alike two texts are: the share of their shingles that both have, counted, not estimated.

Shapes: R texts, P pairs.
"""

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.shingles import Shingles

BLOCK = 1 << 13
"""Shingles that are sorted together: few enough to stay in a processor's cache."""

MOST_PAIRS = 1 << 12

PAIR = np.uint64(13)
"""Bits of the number of a pair in a block, and of which side a shingle is on. The others hold what is left of its hash:
in two texts of a thousand words, two shingles meet by chance once in 10^9."""

Ints = NDArray[np.int64]


def jaccard(texts: Shingles, left: Ints, right: Ints) -> NDArray[np.float64]:
    """Return the Jaccard similarity of each pair, shape (P,): 1 where both sets are equal, two empty ones included.

    Args:
        texts: The shingles of R texts.
        left: Numbers of texts, shape (P,).
        right: Numbers of the texts they are compared with, shape (P,).
    """
    counts = np.diff(texts.bounds)
    ends = np.cumsum(counts[left] + counts[right])
    result = np.empty(len(left))
    end = 0
    while (begin := end) < len(left):
        before = ends[begin - 1] if begin else 0
        end = min(begin + MOST_PAIRS, max(begin + 1, int(np.searchsorted(ends, before + BLOCK))))
        result[begin:end] = _of_block(texts, left[begin:end], right[begin:end])
    return result


def _of_block(texts: Shingles, left: Ints, right: Ints) -> NDArray[np.float64]:
    pairs = len(left)
    sides = np.concatenate([left, right])
    begins = texts.bounds[sides]
    counts = texts.bounds[sides + 1] - begins
    number = np.arange(pairs, dtype=np.uint64) << np.uint64(64) - PAIR + np.uint64(1)
    keys = texts.hashes[_ranges(begins, counts)] >> PAIR << np.uint64(1)
    keys |= np.repeat(np.concatenate([number, number | np.uint64(1)]), counts)
    keys.sort()
    keys = keys[_changes(keys)]
    twice = np.flatnonzero(~_changes(keys >> np.uint64(1)))
    where = np.searchsorted(keys, np.append(number, np.uint64(0xFFFFFFFFFFFFFFFF)))
    both = np.diff(np.searchsorted(twice, where))
    either = np.diff(where) - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _ranges(begins: Ints, counts: Ints) -> Ints:
    """Return the numbers from each beginning on, as many as it counts, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(begins + counts - ends, counts)


def _changes(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which values differ from the one before."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]
