"""The search over all rows: which are near an earlier one, and which belong together.

Shapes: R rows.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.data.near.buckets import buckets
from luthier.data.near.compared import CHECKS, Compared
from luthier.data.near.keep import Keep
from luthier.data.near.pairs import Ints, Pairs
from luthier.data.near.shingles import Shingles
from luthier.data.near.together import Together

Column = Callable[[str], NDArray[Any]]


class Near(NamedTuple):
    """What was found."""

    matched: Ints
    """Shape (R,): the earlier row, itself kept, that a row is near to; -1 where there is none."""
    alike: NDArray[np.float64]
    """Shape (R,): how alike both are, 0 where there is none."""
    cluster: Ints
    """Shape (R,): the first of the rows that must be held back together with this one."""
    unsure: NDArray[np.bool_]
    """Shape (R,): whether a row may be near some that it was not compared with, there being so many."""


def find(compared: Compared, column: Column, shingles: Callable[[str], Shingles], prompts: NDArray[np.uint64]) -> Near:
    """Compare all rows that may be near each other, at most a band of signatures in memory at a time.

    Args:
        compared: What made the signatures.
        column: Gives one column of the signatures, of R rows.
        shingles: Gives the shingles of one text of all rows, mapped from a file: not to be kept.
        prompts: Shape (R,), equal for rows that are together in any case: those with the same prompt.
    """
    texts = [partial(shingles, name) for name in compared.shingles()]
    near = Pairs(column(CHECKS), texts, slice(compared.first, None), compared.threshold)
    keep = Keep(len(prompts), (buckets(column(name)) for name in compared.bands()), near)
    leave = keep.matched >= 0
    together = Together(prompts)
    if not compared.drop:
        together.join(np.flatnonzero(leave), keep.matched[leave])
    if compared.drop and compared.only_prompts:
        return Near(keep.matched, keep.alike, together.cluster, keep.unsure & ~leave)
    stay = np.flatnonzero(~leave) if compared.drop else np.arange(len(prompts))
    asks = Pairs(column(CHECKS), texts, slice(1), compared.threshold)
    bands = (buckets(column(name)[stay]) for name in compared.prompt_bands())
    together.join_near((band._replace(rows=stay[band.rows]) for band in bands), asks)
    return Near(keep.matched, keep.alike, together.cluster, (keep.unsure & ~leave) | together.unsure)
