"""How often each size occurs, in bars of round width, so that few numbers tell the shape of many."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.core.charts import ticks

BARS = 40

TAIL = 0.995
"""Share of the values that is drawn one by one; the last bar holds the rest too, or one giant row would hide all."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts between edges, for several kinds of sizes."""

    edges: tuple[int, ...]
    counts: Mapping[str, tuple[int, ...]]
    beyond: bool
    """Whether the last bar also counts what is larger."""

    def as_dict(self) -> dict[str, Any]:
        """Return `{edges, beyond, counts{kind: []}}`."""
        counts = {name: [*values] for name, values in self.counts.items()}
        return {"edges": [*self.edges], "beyond": self.beyond, "counts": counts}


def counted(sizes: Mapping[str, NDArray[np.uint32]], *, limit: int = 0) -> Counted:
    """Return the histogram of sizes, all kinds over the same edges.

    Args:
        sizes: By name, at least one of each.
        limit: A size that is worth seeing, if the sizes come near it.
    """
    usual = max(float(np.quantile(values, TAIL)) for values in sizes.values())
    largest = max(int(values.max()) for values in sizes.values())
    reach = limit if usual < limit <= 2 * usual else usual
    edges = np.array(ticks(0, max(reach, 1.0) + 1, BARS, whole=True), np.int64)
    last = int(edges[-1])
    counts = {
        name: tuple(map(int, np.histogram(np.minimum(values.astype(np.int64), last - 1), edges)[0]))
        for name, values in sizes.items()
    }
    return Counted(tuple(map(int, edges)), counts, largest >= last)
