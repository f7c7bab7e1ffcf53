"""What becomes of rows that say nearly the same as an earlier one, and what is told of them.

Shapes: R rows.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.core import named
from luthier.core.example import Example
from luthier.core.progress import Progress
from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.kept import Kept
from luthier.data.near.compared import endings, everything, prompt
from luthier.data.near.settle import EXAMPLES, MANY, shares
from luthier.data.rows import Refusal
from luthier.data.semantic.embeddings import OPTION, Embed, Embeddings
from luthier.data.semantic.search import search
from luthier.recipe.data import Clean, SemanticDuplicates


@dataclass(frozen=True, slots=True)
class SameRows:
    """Rows that say nearly the same as an earlier one."""

    rows: NDArray[np.int64]
    """Their numbers, ascending."""
    clusters: NDArray[np.int64]
    """The cluster of each row, shape (R,)."""
    asked: SemanticDuplicates
    by_file: dict[str, float]
    """Share of each file's rows that they are."""
    examples: tuple[str, ...]

    def check(self) -> Check:
        """Return what is to be told."""
        count, by = len(self.rows), f"by `{self.asked.embed}` from {self.asked.threshold:g} on"
        if not count:
            return Check("semantic_duplicates", "ok", f"no row says nearly the same as an earlier one, {by}")
        action = "dropped" if self.asked.action == "drop" else "kept, and held back together"
        share = f"{count / len(self.clusters):.1%}"
        details = f"{plural(count, 'row')} nearly the same in meaning as an earlier one, {share}, {by}: {action}"
        file, most = max(self.by_file.items(), key=lambda each: each[1])
        if most <= MANY:
            return Check("semantic_duplicates", "ok", details)
        return Check(
            "semantic_duplicates",
            "warning",
            f"{details}; {most:.0%} of {file}, e.g. {'; '.join(self.examples)}",
            "look at these pairs; if such rows should stay, set a higher `data.clean.semantic_duplicates.threshold`",
        )


def embedder(asked: Clean) -> Embed | None:
    """Return the function that makes embeddings, or None where none is asked for.

    Raises:
        RecipeError: It isn't there.
    """
    return named.function(asked.semantic_duplicates.embed, OPTION) if asked.semantic_duplicates else None


def look(
    kept: Kept, examples: Iterable[Example], asked: SemanticDuplicates, embeddings: Embeddings, progress: Progress
) -> tuple[SameRows, Callable[[int], Refusal]]:
    """Find the rows that say nearly the same as an earlier one. Return also what says why one would be dropped.

    Args:
        kept: Their columns.
        examples: The R rows, in order.
        asked: The recipe's options.
        embeddings: Takes in theirs. It is closed in the end.
        progress: Hears how many rows are embedded, and how many decided.

    Raises:
        Failed: What should make embeddings doesn't.
    """
    try:
        progress.start("embed", len(kept), "row")
        embeddings.add((_text(example, asked.key) for example in examples), progress.update)
        progress.end()
        labels = kept["label"].astype(np.int64) if "label" in kept else np.zeros(len(kept), np.int64)
        progress.start("compare", len(kept), "row")
        same = search(embeddings, labels, asked.threshold, tell=progress.update)
        progress.end()
    finally:
        embeddings.close()

    def why(row: int) -> Refusal:
        matched = kept.source(int(same.matched[row]))
        return Refusal("semantic_duplicate", f"{same.alike[row]:.4f} similar to {matched}", matched)

    rows = np.flatnonzero(same.matched >= 0)
    told = tuple(f"{kept.source(row)} is {why(row).detail}" for row in rows[:EXAMPLES].tolist())
    return SameRows(rows, same.cluster, asked, shares(kept, rows), told), why


def _text(example: Example, key: str) -> str:
    if key == "text":
        return everything(example)
    answers = "\n".join(endings(example)) if key == "answer" else ""
    return answers or prompt(example)
