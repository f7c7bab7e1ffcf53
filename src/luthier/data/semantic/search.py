"""Every row against all that are kept, by cosine similarity. Nothing is estimated: blocks are multiplied with blocks.

Shapes: R rows, B rows of a block, E rows of an earlier block, D numbers of an embedding.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.together import Together
from luthier.data.semantic.embeddings import Embeddings

BLOCK = 1024
"""Rows that are decided together, and rows that they are multiplied with: 4 megabytes of similarities."""

ROUNDING = 1e-5
"""What similarities computed with 32 bits are off at most: rows with equal embeddings must be found at 1."""

Ints = NDArray[np.int64]


class Same(NamedTuple):
    """What was found."""

    matched: Ints
    """Shape (R,): the earlier row, itself kept, that a row is nearest to; -1 of a row that is kept."""
    alike: NDArray[np.float32]
    """Shape (R,): their cosine similarity, 0 of a row that is kept."""
    cluster: Ints
    """Shape (R,): the first of the rows that are the same as this one, directly or over others."""


def search(embeddings: Embeddings, labels: Ints, threshold: float, *, tell: Callable[[int], None]) -> Same:
    """Go through the rows in order, and keep each that isn't the same as one that was kept.

    Args:
        embeddings: Of R rows.
        labels: Shape (R,): rows with other ones are never the same.
        threshold: Cosine similarity from which on rows are the same.
        tell: Hears how many rows are decided.
    """
    rows = len(embeddings)
    matched, alike = np.full(rows, -1), np.zeros(rows, np.float32)
    together = Together(np.arange(rows, dtype=np.uint64))
    for begin in range(0, rows, BLOCK):
        block = embeddings[begin : begin + BLOCK]
        at = np.arange(begin, begin + len(block))
        for first in range(0, begin + 1, BLOCK):
            other = np.arange(first, min(first + BLOCK, rows))
            similar = block @ (block if first == begin else embeddings[first : first + BLOCK]).T
            if similar.max() < threshold - ROUNDING:
                continue
            similar[labels[at][:, None] != labels[other]] = 0
            similar[other >= at[:, None]] = 0
            similar[similar < threshold - ROUNDING] = 0
            _join(together, similar, at, other)
            # In a block, a row's match must be decided on before the row is.
            for some in at[:, None] if first == begin else [at]:
                of_kept = similar[some - begin] * (matched[other] < 0)
                best = of_kept.argmax(axis=1)
                share = np.minimum(of_kept[np.arange(len(some)), best], 1)
                better = share > alike[some]
                matched[some[better]], alike[some[better]] = other[best[better]], share[better]
        tell(begin + len(block))
    return Same(matched, alike, together.cluster)


def _join(together: Together, similar: NDArray[np.float32], at: Ints, other: Ints) -> None:
    """Put rows together that are the same: each with its nearest first, after which few others are apart."""
    found = np.flatnonzero(similar.any(axis=1))
    together.join(at[found], other[similar[found].argmax(axis=1)])
    left, right = np.nonzero(similar)
    apart = together.cluster[at[left]] != together.cluster[other[right]]
    together.join(at[left[apart]], other[right[apart]])
