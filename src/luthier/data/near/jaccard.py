"""How alike two texts are: the share of their shingles that both have, counted, not estimated.

Shapes: R texts, P pairs, N shingles of the longest.
"""

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.shingles import Shingles

BLOCK = 1 << 14
"""Shingles that are counted together: few enough to stay in a processor's cache."""

NONE = np.uint64(0xFFFFFFFFFFFFFFFF)
ONE = np.uint64(1)

Ints = NDArray[np.int64]


def jaccard(texts: Shingles, left: Ints, right: Ints) -> NDArray[np.float64]:
    """Return the Jaccard similarity of each pair, shape (P,): 1 where both sets are equal, two empty ones included.

    63 bits of each hash are compared: in two texts of a thousand words, two shingles meet by chance once in 10^13.

    Args:
        texts: The shingles of R texts.
        left: Numbers of texts, shape (P,).
        right: Numbers of the texts they are compared with, shape (P,).
    """
    result = np.ones(len(left))
    if not len(texts.hashes):
        return result
    begins = [texts.bounds[side] for side in (left, right)]
    counts = [texts.bounds[side + 1] - begin for side, begin in zip((left, right), begins, strict=True)]
    sizes = np.maximum(*counts)
    order = np.argsort(-sizes)  # pairs of a block should be as long as each other
    end = 0
    while (begin := end) < len(order):
        end = begin + max(1, BLOCK // (2 * int(sizes[order[begin]]) + 1))
        block = order[begin:end]
        result[block] = _of_block(texts.hashes, [side[block] for side in begins], [side[block] for side in counts])
    return result


def _of_block(hashes: NDArray[np.uint64], begins: list[Ints], counts: list[Ints]) -> NDArray[np.float64]:
    """Return the similarity of pairs, given where the shingles of each side begin, and how many they are."""
    parts = [np.full((len(begins[0]), 1), NONE)]
    for side in range(2):
        place = np.arange(counts[side].max())
        keys = hashes.take(begins[side][:, None] + place, mode="clip")
        keys <<= ONE
        keys |= np.uint64(side)
        keys[place >= counts[side][:, None]] = NONE
        parts.append(keys)
    keys = np.concatenate(parts, axis=1)
    keys.sort(axis=1)
    steps = keys[:, 1:] ^ keys[:, :-1]
    both = np.count_nonzero(steps == ONE, axis=1)
    either = np.count_nonzero(steps > ONE, axis=1)  # the last step goes to NONE
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)
