"""Records that hold more than one row: each becomes the rows a converter knows, and what has no place is told.

To add a shape: a function in a module here, a line in the table, and the words by which it is recognised.
"""

from collections.abc import Callable
from typing import Any

from luthier.data.nested import duels, ranked, records, trees
from luthier.data.nested.unfolded import Unfolded
from luthier.recipe.methods import Rows

SHAPES: dict[str, Callable[[dict[str, Any], Rows], Unfolded | None]] = {
    "message trees": trees.unfold,
    "paragraphs with questions": records.paragraphs,
    "tasks with instances": records.instances,
    "ranked answers": ranked.unfold,
    "judged pairs": duels.unfold,
}
"""What people call such records, and what makes rows of one, or says that it is something else."""

WORDS = ("replies", "paragraphs", "qas", "instances", *ranked.LISTS, *ranked.SCORES, *ranked.RANKS, *duels.WORDS)
"""Keys of which each such record has at least one."""


def unfold(record: dict[str, Any], rows: Rows) -> tuple[str, Unfolded] | None:
    """Return the shape of a record and the rows it holds; None where it is a row itself.

    Args:
        record: As the file has it.
        rows: What the objective learns from: of a message tree, a conversation or pairs.
    """
    if record.keys().isdisjoint(WORDS) and not isinstance(record.get("prompt"), dict):
        return None
    for shape, apart in SHAPES.items():
        if (unfolded := apart(record, rows)) is not None:
            return shape, unfolded
    return None
