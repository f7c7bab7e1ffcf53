"""How alike two texts are: the share of their shingles that both have, counted, not estimated.

Shapes: R texts, P pairs, S shingles of a block, D different ones, N texts of a block.
"""

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.shingles import Shingles

BLOCK = 1 << 14
"""Shingles that are sorted together: few enough to stay in a processor's cache."""

MOST_PAIRS = 1 << 11

OWNER = np.uint64(12)
"""Bits of the number of a text in a block. The others hold what is left of a shingle's hash: in two texts of a thousand
words, two shingles meet by chance once in 10^9."""

Ints = NDArray[np.int64]


def jaccard(texts: Shingles, left: Ints, right: Ints) -> NDArray[np.float64]:
    """Return the Jaccard similarity of each pair, shape (P,): 1 where both sets are equal, two empty ones included.

    Args:
        texts: The shingles of R texts, which all are in some pair.
        left: Numbers of texts, shape (P,).
        right: Numbers of the texts they are compared with, shape (P,).
    """
    blocks = max(1, len(texts.hashes) // BLOCK, -(-len(left) // MOST_PAIRS))
    result = np.empty(len(left))
    for part in np.array_split(np.arange(len(left)), blocks):
        result[part] = _of_block(texts, left[part], right[part])
    return result


def _of_block(texts: Shingles, left: Ints, right: Ints) -> NDArray[np.float64]:
    numbers, at = np.unique(np.concatenate([left, right]), return_inverse=True)
    first, second = at.reshape(2, -1)
    counts = texts.bounds[numbers + 1] - texts.bounds[numbers]
    hashes = texts.hashes[_ranges(texts.bounds[numbers], counts)]
    keys = hashes >> OWNER << OWNER | np.repeat(np.arange(len(numbers), dtype=np.uint64), counts)
    keys.sort()
    keys = keys[_changes(keys)]
    ids = np.cumsum(_changes(keys >> OWNER)) - 1
    owners = (keys & np.uint64((1 << int(OWNER)) - 1)).astype(np.uint16)
    order = np.argsort(owners, kind="stable")
    ids, owners = ids[order], owners[order]
    sizes = np.bincount(owners, minlength=len(numbers))
    begins = np.cumsum(sizes) - sizes
    tables, table = np.unique(first, return_inverse=True)
    has = np.zeros((len(tables), ids.max(initial=0) + 1), np.bool_)
    has[np.repeat(np.arange(len(tables)), sizes[tables]), ids[_ranges(begins[tables], sizes[tables])]] = True
    many = sizes[second]
    hits = np.concatenate([[0], np.cumsum(has[np.repeat(table, many), ids[_ranges(begins[second], many)]])])
    ends = np.cumsum(many)
    both = hits[ends] - hits[ends - many]
    either = sizes[first] + many - both
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _ranges(begins: Ints, counts: Ints) -> Ints:
    """Return the numbers from each beginning on, as many as it counts, one after the other."""
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(begins + counts - ends, counts)


def _changes(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return which values differ from the one before."""
    return np.append(True, values[1:] != values[:-1])[: len(values)]
