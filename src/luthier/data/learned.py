"""What the kept rows teach, counted: labels, and how often the same ending comes again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Example
from luthier.data.kept import Kept, Numbers
from luthier.data.keys import evened
from luthier.recipe.methods import Rows

GOOD, BAD = "good", "bad"

CANNED_ROWS = 8
"""Rows of a kind from which on its endings are looked at: a handful may well agree."""

FEW = 3
"""As many texts count as few."""


def label_of(example: Example) -> str | None:
    """Return the class of a text, or the verdict on an answer."""
    if isinstance(example.label, bool):
        return GOOD if example.label else BAD
    return example.label


def endings(examples: Sequence[Example], rows: Rows) -> dict[str, Numbers]:
    """Return what is remembered of judged answers and preferences: digests of endings, and doubtful margins."""
    columns: dict[str, Numbers] = {"ending": _digests([example.messages[-1].text for example in examples])}
    if rows == "pair":
        columns["worse_ending"] = _digests([example.rejected[-1].text for example in examples])
        columns["against"] = np.array([example.margin is not None and example.margin < 0 for example in examples])
    return columns


def _digests(texts: Sequence[str]) -> NDArray[np.uint64]:
    said = (blake2b(evened(text).encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(said), np.uint64)


class Learned:
    """Counts over the kept rows.

    Args:
        kept: Their columns.
        names: What the numbers in the column `label` stand for.
    """

    def __init__(self, kept: Kept, names: Sequence[str]) -> None:
        self.labels: Counter[str] = Counter()
        self.against = int(kept["against"].sum()) if "against" in kept else 0
        """Preferences whose scores say the contrary."""
        self._endings: dict[str, Numbers] = {}
        if "label" in kept:
            counts = np.bincount(kept["label"], minlength=len(names))
            self.labels.update({name: int(count) for name, count in zip(names, counts, strict=True) if count})
        if "worse_ending" in kept:
            self._endings = {"chosen": kept["ending"], "rejected": kept["worse_ending"]}
        elif "ending" in kept:
            self._endings = {name: kept["ending"][kept["label"] == place] for place, name in enumerate(names)}

    def canned(self) -> Mapping[str, tuple[int, float]]:
        """Return each kind of ending of which few texts cover most rows: how many texts, and the share they cover."""
        found = {}
        for name, digests in self._endings.items():
            counts = np.sort(np.unique(digests, return_counts=True)[1])[: -FEW - 1 : -1]
            covered = np.cumsum(counts)
            enough = np.flatnonzero(covered > len(digests) / 2)
            if len(digests) >= CANNED_ROWS and len(enough):
                found[name] = int(enough[0]) + 1, float(covered[enough[0]]) / len(digests)
        return found
