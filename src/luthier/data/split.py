"""Which rows are held back: in units that are never torn apart, by a key of their own, so that they stay put.

A unit is all rows that share a prompt, a value of `split.group_by` or a cluster of near duplicates, directly or over
others. Its key is that of its first row, a number in [0, 2^64). Below the share of `valid` the unit is valid, in the
stretch above that test, else train: rows that are added move none of the others, and order matters within a unit only.

Stratified, each class is ordered by key, and of each the first units are held back, as many as come nearest to its
share. Which side of a whole row the share falls on is decided by a number made of the class's name, so small classes
add up to the share too. That is exact where hashing is not (of 20 rows, it holds back none in one of eight classes),
and nearly as steady: another row of a class moves at most one other of that class (docs/decisions).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.recipe.data import Part, Split

PARTS: tuple[Part, ...] = ("train", "valid", "test")
"""A part is a number, its place here."""

TRAIN, VALID, TEST = range(3)

WHOLE = 1 << 64

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]
Parts = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Units:
    """Rows that stay together. U units of N rows."""

    of: Rows
    """The unit of each row. (N,)"""
    first: Rows
    """The first row of each unit. (U,)"""
    size: Rows
    """How many rows each has. (U,)"""


def units(together: Sequence[NDArray[Any]]) -> Units:
    """Return the units of rows that are equal in any of the columns, or connected over others that are.

    Args:
        together: One column or more, each (N,).

    Smallest labels spread over each column's groups, and labels that met are joined by shortening paths: a number of
    rounds that grows with the logarithm of the longest chain, not with its length.
    """
    groups = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in together]
    label = np.arange(len(groups[0]))
    while True:
        parent = np.arange(len(label))
        for group in groups:
            least = np.full(int(group.max(initial=-1)) + 1, len(label))
            np.minimum.at(least, group, label)
            np.minimum.at(parent, label, least[group])
        while not np.array_equal(higher := parent[parent], parent):
            parent = higher
        if np.array_equal(joined := parent[label], label):
            break
        label = joined
    first, of, size = np.unique(label, return_inverse=True, return_counts=True)
    return Units(of.reshape(-1), first, size)


def assign(
    keys: Keys,
    split: Split,
    made: Units,
    *,
    strata: Keys | None = None,
    classes: NDArray[Any] | None = None,
    fixed: Parts | None = None,
) -> Parts:
    """Return the part of each row, (N,).

    Args:
        keys: The key of each row, evenly spread over [0, 2^64). (N,)
        split: The shares.
        made: The units.
        strata: A number made of the name of each row's class, evenly spread over [0, 2^64), where every class shall
            have its share. A unit is of the class of its first row. (N,)
        classes: The class of each row: train gets every one. (N,)
        fixed: Parts that are decided already, of their files; `TRAIN` of all others. A unit goes where the highest of
            its rows is. (N,)

    A unit with more rows than the smallest part should have goes to train. With few rows chance may leave a part empty.
    Then one unit moves there: to `valid` and `test` the one with the smallest key, if the part it leaves keeps another
    one; to `train` the one with the largest, always.
    """
    part = np.zeros(len(made.first), np.uint8)
    if fixed is not None:
        np.maximum.at(part, made.of, fixed)
    free = np.flatnonzero(part == TRAIN)
    key, size = keys[made.first[free]], made.size[free]
    fits = size <= max(1, min(share for share in (split.valid, split.test, 1) if share) * size.sum())
    found = _by_key(key, split) if strata is None else _by_stratum(key, size, fits, strata[made.first[free]], split)
    found[~fits] = TRAIN
    for wanted, share in ((TRAIN, 1), (VALID, split.valid), (TEST, split.test)):
        if share and not (found == wanted).any() and (mover := _mover(found, key, fits, to=wanted)) is not None:
            found[mover] = wanted
    part[free] = found
    if classes is not None:
        part[_of_classes_held_back(part, keys, classes, made, fixed)] = TRAIN
    return part[made.of]


def _by_key(key: Keys, split: Split) -> Parts:
    """Return the part of each unit by its key alone."""
    bounds = np.array([int(split.valid * WHOLE), int((split.valid + split.test) * WHOLE)], np.uint64)
    return np.array([VALID, TEST, TRAIN], np.uint8)[np.searchsorted(bounds, key, side="right")]


def _by_stratum(key: Keys, size: Rows, fits: NDArray[np.bool_], stratum: Keys, split: Split) -> Parts:
    """Return the part of each unit: of each stratum, those with the smallest keys are held back.

    A unit is taken where that brings the rows taken nearer to the share: where half of it lies below.
    """
    order = np.lexsort((key, ~fits, stratum))
    size, name = size[order], stratum[order]
    begins = np.flatnonzero(np.append(True, name[1:] != name[:-1])[: len(name)])
    units_of = np.diff(np.append(begins, len(name)))
    rows_of = np.add.reduceat(size, begins) if len(begins) else size
    before = np.cumsum(size) - size
    middle = before - np.repeat(before[begins], units_of) + size / 2
    chance = name / WHOLE - 0.5
    valid, held = (share * np.repeat(rows_of, units_of) + chance for share in (split.valid, split.valid + split.test))
    part = np.where(middle < valid, VALID, np.where(middle < held, TEST, TRAIN)).astype(np.uint8)
    found = np.empty(len(part), np.uint8)
    found[order] = part
    return found


def _mover(part: Parts, key: Keys, fits: NDArray[np.bool_], *, to: int) -> int | None:
    """Return the unit to move, from the part with the most units, or None when none can be spared."""
    richest = np.flatnonzero(part == np.bincount(part, minlength=len(PARTS)).argmax())
    if not len(richest) or (to != TRAIN and len(richest) == 1):
        return None
    small = richest[fits[richest]] if to != TRAIN and fits[richest].any() else richest
    return int(small[key[small].argmax() if to == TRAIN else key[small].argmin()])


def _of_classes_held_back(
    part: Parts, keys: Keys, classes: NDArray[Any], made: Units, fixed: Parts | None
) -> list[int]:
    """Return, for every class of which train has no row, its unit with the largest key; none whose file decides."""
    learned = np.unique(classes[part[made.of] == TRAIN])
    held = np.flatnonzero(~np.isin(classes, learned))
    if fixed is not None:
        decided = np.zeros(len(part), np.bool_)
        decided[made.of[fixed != TRAIN]] = True
        held = held[~decided[made.of[held]]]
    order = held[np.lexsort((keys[made.first[made.of[held]]], classes[held]))]
    last = np.append(classes[order][1:] != classes[order][:-1], True)[: len(order)]
    return [*dict.fromkeys(made.of[order[last]].tolist())]


def torn(made: Units, fixed: Parts) -> tuple[Rows, Rows]:
    """Return the rows whose unit goes to a higher part than their file, ascending, and for each the first that is why.

    Such rows would be learned, or chosen by, and then be tested.
    """
    highest = np.zeros(len(made.first), np.uint8)
    np.maximum.at(highest, made.of, fixed)
    decides = np.flatnonzero((fixed == highest[made.of]) & (fixed != TRAIN))[::-1]
    why = np.full(len(made.first), -1)
    why[made.of[decides]] = decides
    rows = np.flatnonzero(fixed < highest[made.of])
    return rows, why[made.of[rows]]
