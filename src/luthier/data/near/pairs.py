"""Pairs of rows held against each other: first by their signatures, then by the shingles of their texts.

Shapes: R rows, T texts of a row, P pairs, V values of a text's signature.
"""

from collections.abc import Callable, Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.jaccard import jaccard
from luthier.data.near.shingles import Shingles

Ints = NDArray[np.int64]

AT_ONCE = 2048
"""Pairs whose signatures are looked at together."""

MOST_COUNTED = 1 << 20
"""Shingles of pairs that are counted while the file is mapped: 8 megabytes of it. Those of one pair may be more."""

OVERLOOKED = 0.002
"""Share of the pairs at the threshold that the look at their signatures may pass over."""


class Pairs:
    """Tells how alike two rows are: in the text, of those compared, in which they are least so.

    Args:
        checks: Eight bits of every value, shape (R, V x T).
        texts: For each text, what gives its shingles of all rows.
        compared: Which of the texts.
        threshold: How alike rows must be.
    """

    def __init__(
        self,
        checks: NDArray[np.uint8],
        texts: Sequence[Callable[[], Shingles]],
        compared: slice,
        threshold: float,
    ) -> None:
        self.threshold = threshold
        self._checks = checks
        values = checks.shape[1] // len(texts)
        self._fields = [slice(at, at + values) for at in range(0, checks.shape[1], values)][compared]
        self._least = fewest_equal(values, threshold)
        self._texts = texts[compared]
        self._sizes = np.sum([np.diff(text().bounds) for text in self._texts], axis=0)

    def equal(self, left: Ints, right: Ints) -> Ints:
        """Return how many values are equal, in the text with fewest; 0 where the rows can't be near. Shape (P,)."""
        result = np.empty(len(left), np.int64)
        for begin in range(0, len(left), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            same = [self._checks[left[part], field] == self._checks[right[part], field] for field in self._fields]
            result[part] = np.min([field.view(np.uint8).sum(axis=1, dtype=np.uint8) for field in same], axis=0)
        return np.where(result >= self._least, result, 0)

    def alike(self, left: Ints, right: Ints) -> NDArray[np.float64]:
        """Return the Jaccard similarities, counted. Shape (P,)."""
        result = np.empty(len(left))
        ends = np.cumsum(self._sizes[left] + self._sizes[right])
        end = 0
        while (begin := end) < len(left):
            before = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, before + MOST_COUNTED)))
            part = slice(begin, end)
            result[part] = np.min([jaccard(text(), left[part], right[part]) for text in self._texts], axis=0)
        return result


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
