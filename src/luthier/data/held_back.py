"""From what is remembered of kept rows to the part of each."""

from collections.abc import Mapping

import numpy as np

from luthier.core.errors import DataError
from luthier.data.kept import Kept, Numbers
from luthier.data.keys import value_key
from luthier.data.split import Parts, assign, units
from luthier.recipe.data import Split
from luthier.recipe.methods import Rows


def stratum_column(split: Split) -> str | None:
    """Return the column that `split.stratify` names."""
    return split.stratify if split.stratify and split.stratify != "auto" else None


def held_back(
    kept: Kept, labels: Mapping[str, int], split: Split, rows: Rows, *, clusters: Numbers | None = None
) -> Parts:
    """Return the part of every kept row.

    Args:
        kept: The columns of the rows.
        labels: Number of each class or verdict, as in the column `label`.
        split: The recipe's options.
        rows: What the objective learns from.
        clusters: Near duplicates have the same number. (N,)

    Raises:
        DataError: No row has a column that the options name.
    """
    keys = prompts = kept["prompt_key"]
    together = [prompts]
    if split.group_by is not None:
        groups = _named(kept, "group_key", split.group_by, "group_by")
        keys = np.where(groups == 0, prompts, groups)  # who has no value is a group of its own
        together.append(keys)
    if clusters is not None:
        together.append(clusters)
    strata = None
    if (column := stratum_column(split)) is not None:
        strata = _named(kept, "stratum_key", column, "stratify")
    elif split.stratify and rows in ("class", "judged"):
        strata = np.array([value_key(name, seed=split.seed) for name in labels], np.uint64)[kept["label"]]
    classes = kept["label"] if rows == "class" else None
    return assign(keys, split, units(together), strata=strata, classes=classes)


def _named(kept: Kept, name: str, column: str, option: str) -> Numbers:
    numbers = kept[name]
    if not numbers.any():
        raise DataError(
            f"no row has the column `{column}`, or holds anything in it",
            hint=f"correct `data.split.{option}`",
            place=f"data.split.{option}",
        )
    return numbers
