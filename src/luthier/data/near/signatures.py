"""MinHash signatures in bands: rows whose texts are nearly the same agree in at least one band, almost surely.

Sources: Broder 1997, "On the resemblance and containment of documents" (min-wise hashing); Leskovec, Rajaraman, Ullman,
"Mining of Massive Datasets", section 3.4 (bands); Dietzfelbinger et al. 1997 (multiply-shift hashing).

Shapes: R rows, F fields, V values of a field, S shingles.
"""

from collections.abc import Sequence
from math import ceil, log
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.shingles import Shingles

MISSED = 0.002
"""Share of the pairs exactly at the threshold that may agree in no band."""

MOST_VALUES = 64
"""Values of a signature, over all fields: what a band can be made of is bounded by what they cost."""

NOTHING = np.uint32(0xFFFFFFFF)
"""The value of a text without a word."""

BLOCK = 1 << 16
"""Shingles that are permuted together: few enough to stay in a processor's cache."""

A = np.uint64(0x9E3779B97F4A7C15)


class Shape(NamedTuple):
    """How many bands a signature has, and how many values of each field a band is made of."""

    bands: int
    rows: int

    @property
    def values(self) -> int:
        """Values of each field's signature."""
        return self.bands * self.rows


def shape(threshold: float, fields: int) -> Shape:
    """Return the bands of most values that miss at most `MISSED` of the rows whose fields are all at the threshold.

    A band of r values agrees with probability t^(F r), so b bands all differ with probability (1 - t^(F r))^b.
    """

    def bands(rows: int) -> int:
        agree = threshold ** (fields * rows)
        return max(1, ceil(log(MISSED) / log(1 - agree))) if agree < 1 else 1

    rows = 1
    while rows < 8 and bands(rows + 1) * (rows + 1) * fields <= MOST_VALUES:
        rows += 1
    return Shape(bands(rows), rows)


def multipliers(count: int) -> NDArray[np.uint32]:
    """Return odd numbers, the same ones always: h -> h * a mod 2^32 permutes the hashes."""
    draw = Random(0)
    return np.array([draw.getrandbits(31) * 2 + 1 for _ in range(count)], dtype=np.uint32)


def minima(texts: Shingles, count: int) -> NDArray[np.uint32]:
    """Return the smallest hash of each text under `count` permutations, shape (R, count).

    Two texts agree in one with the probability of their Jaccard similarity.
    """
    hashes = (texts.hashes >> np.uint64(32)).astype(np.uint32)
    filled = np.flatnonzero(np.diff(texts.bounds))
    bounds = np.append(texts.bounds[filled], len(hashes))
    smallest = np.empty((count, len(filled)), np.uint32)
    factors = multipliers(count)
    begin = 0
    while begin < len(filled):
        end = max(begin + 1, int(np.searchsorted(bounds, bounds[begin] + BLOCK)) - 1)
        block = hashes[bounds[begin] : bounds[end]]
        permuted = np.empty_like(block)
        for number, factor in enumerate(factors):
            np.multiply(block, factor, out=permuted)
            np.minimum.reduceat(permuted, bounds[begin:end] - bounds[begin], out=smallest[number, begin:end])
        begin = end
    result = np.full((len(texts.bounds) - 1, count), NOTHING)
    result[filled] = smallest.T
    return result


def banded(values: Sequence[NDArray[np.uint32]], made: Shape, salt: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return one hash for each band, shape (R, bands).

    Args:
        values: Of each field, shape (R, V) with V at least `made.values`.
        made: The bands.
        salt: Shape (R,): rows with another one agree in no band.
    """
    result = np.repeat(salt[:, None], made.bands, axis=1)
    for field in values:
        rows = field[:, : made.values].reshape(len(field), made.bands, made.rows)
        for number in range(made.rows):
            result += rows[:, :, number]
            result *= A
            result ^= result >> np.uint64(32)
    return result
