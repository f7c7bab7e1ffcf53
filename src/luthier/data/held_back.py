"""From what is remembered of kept rows to the part of each."""

import json
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from luthier.core.errors import DataError
from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data.kept import Kept, Numbers
from luthier.data.keys import value_key
from luthier.data.readers.nested import part_named
from luthier.data.rows import Refusal
from luthier.data.split import PARTS, TEST, VALID, Parts, Units, assign, torn, units
from luthier.recipe.data import Data, Part, Split
from luthier.recipe.methods import Rows

NAMED_HELD_OUT = re.compile(
    r"(?:^|[._-])(?:valid|validation|val|dev|test|eval|heldout|holdout)(?:[._-]|$)", re.IGNORECASE
)
"""Names of files whose rows are usually not trained on."""


UNTOLD = 255


class HeldBack(NamedTuple):
    """Which rows are held out."""

    parts: Parts
    """The part of every kept row. (N,)"""
    alike: bool
    """Whether near duplicates were torn apart: kept together, they would leave too little to hold out."""


def own_part(split: str | None) -> int:
    """Return the part that a row says it is of, by what its column `split` holds; `UNTOLD` where it says none."""
    part = part_named(split) if split else None
    return UNTOLD if part is None else part


def say_their_parts(kept: Kept) -> bool:
    """Say whether all rows tell what they are for, some to train on and others not."""
    return "own_part" in kept and {*np.unique(kept["own_part"]).tolist()} in ({0, 1}, {0, 2}, {0, 1, 2})


def parts_of_files(files: Sequence[tuple[Part, int]]) -> Parts:
    """Return the part that the files decide of each row, (N,), given the part and the number of kept rows of each."""
    return np.repeat(np.array([PARTS.index(part) for part, _ in files], np.uint8), [rows for _, rows in files])


def intruders(
    kept: Kept, split: Split, fixed: Parts, *, clusters: Numbers | None = None
) -> tuple[Numbers, Callable[[int], Refusal]]:
    """Return the rows that would be learned, or chosen by, though they belong to a row that is held out.

    Their numbers come ascending, with what says why of one of them.

    Args:
        kept: The columns of the rows.
        split: The recipe's options.
        fixed: What their files decide. (N,)
        clusters: Near duplicates have the same number. (N,)
    """
    rows, held = torn(_units(kept, split, clusters), fixed)

    def why(row: int) -> Refusal:
        matched = kept.source(int(held[np.searchsorted(rows, row)]))
        return Refusal("held_out", f"has the prompt of {matched}, which is held out, or belongs to it", matched)

    return rows, why


def held_back(
    kept: Kept,
    labels: Mapping[str, int],
    data: Data,
    rows: Rows,
    *,
    fixed: Parts,
    clusters: Numbers | None = None,
) -> HeldBack:
    """Return the part of every kept row.

    Args:
        kept: The columns of the rows.
        labels: Number of each class or verdict, as in the column `label`.
        data: The recipe's section.
        rows: What the objective learns from.
        fixed: What their files decide, or they themselves. (N,)
        clusters: Near duplicates have the same number. (N,)

    Raises:
        DataError: No row is left to train on.
    """
    if fixed.all():
        raise DataError(
            "no row is left to train on: all that were kept are held out",
            hint="look in `data.sources` for rows that are no copies of those held out",
            place="data.sources",
        )
    split = data.split
    taken = {"valid": 0.0} if data.valid_sources or (fixed == VALID).any() else {}
    taken |= {"test": 0.0} if data.test_sources or (fixed == TEST).any() else {}
    strata = None
    if split.stratum_column is not None:
        strata = kept["stratum_key"]
    elif split.stratify and rows in ("class", "judged"):
        strata = np.array([value_key(name, seed=split.seed) for name in labels], np.uint64)[kept["label"]]
    split = split.model_copy(update=taken)

    def parts(together: Numbers | None) -> Parts:
        return assign(
            _keys(kept, split),
            split,
            _units(kept, split, together),
            strata=strata,
            classes=kept["label"] if rows == "class" else None,
            fixed=fixed,
        )

    found = parts(clusters)
    if clusters is None or not _lacks(found, split):
        return HeldBack(found, False)
    apart = parts(None)
    return HeldBack(apart, not np.array_equal(found, apart))


def _lacks(found: Parts, split: Split) -> bool:
    """Return whether a part has less than a quarter of its share: by chance, hardly any has."""
    shares = {"valid": split.valid, "test": split.test}
    return any((found == PARTS.index(part)).mean() < share / 4 for part, share in shares.items())


def checks(files: Sequence[tuple[Part, str]], dropped: int, *, alike: bool, own: Parts | None) -> list[Check]:
    """Return what to know about files that are held out, or look as if they should be.

    Args:
        files: Part and name of every file.
        dropped: Rows that were dropped because they belong to one that is held out.
        alike: As in `HeldBack`.
        own: The part of every row, where the rows say so themselves. (N,)
    """
    found = []
    if own is not None:
        counts = {"validation": int((own == VALID).sum()), "tests": int((own == TEST).sum())}
        told = " and ".join(f"{count:,} for {what}" for what, count in counts.items() if count)
        details = f"the rows say what they are for: {told} are held out"
        found.append(Check("own_splits", "note", details, "`--set data.split.own=false` splits them anew"))
    named = [name for part, name in files if part == "train" and NAMED_HELD_OUT.search(Path(name).stem)]
    if named and len(files) > 1:
        option = "valid" if re.search("val|dev", Path(named[0]).stem, re.IGNORECASE) else "test"
        details = f"{plural(len(named), 'file')} by the name held out, and trained on, first `{named[0]}`"
        hint = f"`--set {shlex.quote(f'data.{option}_sources={json.dumps([named[0]])}')}` holds it out"
        found.append(Check("named_held_out", "warning", details, hint))
    if alike:
        details = "so many rows are nearly the same that those held out have near duplicates among those trained on"
        hint = "what is measured on them tells of rows like these; hold others out with `data.valid_sources`"
        found.append(Check("alike_held_out", "warning", details, hint))
    if own is not None or any(part != "train" for part, _ in files):
        details = "no row equals one that is held out, or has its prompt"
        if dropped:
            details = f"{plural(dropped, 'row')} equal to one that is held out, or with its prompt: dropped"
        found.append(Check("held_out_rows", "note" if dropped else "ok", details))
    return found


def _units(kept: Kept, split: Split, clusters: Numbers | None) -> Units:
    together = [kept["prompt_key"]]
    together += [_keys(kept, split)] if split.group_by is not None else []
    together += [clusters] if clusters is not None else []
    return units(together)


def _keys(kept: Kept, split: Split) -> Numbers:
    """Return what decides on each row: its prompt, or its group if groups are asked for and it is in one."""
    prompts = kept["prompt_key"]
    if split.group_by is None:
        return prompts
    groups = kept["group_key"]
    return np.where(groups == 0, prompts, groups)
