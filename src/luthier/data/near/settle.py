"""What becomes of rows that are near an earlier one, and what is told of them.

Shapes: R rows.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.kept import Kept
from luthier.data.near.compared import Compared
from luthier.data.near.find import find
from luthier.data.rows import Refusal

MANY = 0.2
"""Share of a source, or of all rows near to a single one, above which it is asked whether that is meant."""

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class NearRows:
    """Rows that are near an earlier one, and which rows are held back together."""

    rows: NDArray[np.int64]
    """Their numbers, ascending."""
    clusters: NDArray[np.int64]
    """The cluster of each row, shape (R,)."""
    dropped: bool
    other_keys: Sequence[str]
    by_file: dict[str, float]
    """Share of each file's rows that they are."""
    most: float
    """Share of all rows that is near to a single one."""
    examples: tuple[str, ...]
    unsure: int
    """How many rows may be near some that they were not compared with."""

    def check(self) -> Check:
        """Return what is to be told."""
        found = self._found()
        if not self.unsure:
            return found
        many = f"{plural(self.unsure, 'row')} may be near more rows than they were compared with"
        details = f"{found.details}; {many}: so many are cut to one pattern"
        hint = "a few near ones may be left, also in different splits: look at some rows of the pattern"
        return Check(found.name, "warning" if found.status == "warning" else "note", details, found.hint or hint)

    def _found(self) -> Check:
        if not len(self.rows):
            return Check("near_duplicates", "ok", "no row is nearly the same as an earlier one")
        count = len(self.rows)
        action = "dropped" if self.dropped else "kept, and held back together"
        share = count / len(self.clusters)
        details = f"{plural(count, 'row')} nearly the same as an earlier one, {share:.1%}: {action}"
        file, of_file = max(self.by_file.items(), key=lambda each: each[1])
        if max(of_file, self.most) <= MANY:
            return Check("near_duplicates", "ok", details)
        many = f"{of_file:.0%} of {file}" if of_file > MANY else f"{self.most:.0%} are near a single row"
        keys = ", ".join(f"`{key}`" for key in self.other_keys)
        another = f"`data.clean.near_duplicates.key` to another one of {keys}, " if keys else ""
        return Check(
            "near_duplicates",
            "warning",
            f"{details}; {many}, e.g. {'; '.join(self.examples)}",
            f"look at these pairs; if such rows should stay, set {another}a higher "
            "`data.clean.near_duplicates.threshold`, or `data.clean.near_duplicates` to false",
        )


def look(kept: Kept, compared: Compared) -> tuple[NearRows, Callable[[int], Refusal]]:
    """Find the rows that are near an earlier one. Return also what says why one of them would be dropped.

    Args:
        kept: Their columns.
        compared: What made the signatures.
    """
    near = find(compared, kept.__getitem__, kept.shingles, kept["prompt_key"])

    def why(row: int) -> Refusal:
        matched = kept.source(int(near.matched[row]))
        return Refusal("near_duplicate", f"{near.alike[row]:.0%} the same as {matched}", matched)

    rows = np.flatnonzero(near.matched >= 0)
    found = NearRows(
        rows,
        near.cluster,
        compared.drop,
        compared.other_keys,
        shares(kept, rows),
        int(np.bincount(near.matched[rows], minlength=1).max()) / len(near.matched),
        tuple(f"{kept.source(row)} is {why(row).detail}" for row in rows[:EXAMPLES].tolist()),
        int(near.unsure.sum()),
    )
    return found, why


def shares(kept: Kept, rows: NDArray[np.int64]) -> dict[str, float]:
    """Return which share of each file the rows are."""
    files = kept["file"]
    total, found = np.bincount(files), np.bincount(files[rows], minlength=int(files.max()) + 1)
    of_all: Counter[str] = Counter()
    of_found: Counter[str] = Counter()
    for number in np.flatnonzero(total).tolist():
        of_all[kept.file(number)] += int(total[number])
        of_found[kept.file(number)] += int(found[number])
    return {name: of_found[name] / of_all[name] for name in of_all}
