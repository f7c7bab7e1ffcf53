"""How far people agree: Cohen's and Fleiss' kappa, Krippendorff's alpha.

Shapes: U units (pairs that were looked at), R raters. A table has nan where a rater said nothing of a unit.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number
from luthier.evaluate.metrics.metric import Floats
from luthier.evaluate.stats import resampled


def alpha(values_UR: Floats, *, nominal: bool) -> float:
    """Return Krippendorff's alpha: 1 is full agreement, 0 what chance gives; nan where nothing can differ.

    Units that fewer than two rated tell nothing. Source: Krippendorff 2004, Content Analysis, chapter 11.

    Args:
        values_UR: Ratings, or numbers of categories.
        nominal: Values are names; else their differences count, squared (interval).
    """
    sizes_U = (~np.isnan(values_UR)).sum(axis=1)
    values_UR, sizes_U = values_UR[sizes_U > 1], sizes_U[sizes_U > 1]
    if not len(sizes_U):
        return math.nan
    if nominal:
        names = np.unique(values_UR[~np.isnan(values_UR)])
        counts_UV = np.stack([(values_UR == name).sum(axis=1) for name in names], axis=1)
        apart_U, apart = (sizes_U**2 - (counts_UV**2).sum(axis=1)), _beyond(counts_UV.sum(axis=0))
    else:
        sums_U, squares_U = np.nansum(values_UR, axis=1), np.nansum(values_UR**2, axis=1)
        apart_U = 2 * (sizes_U * squares_U - sums_U**2)
        apart = float(2 * (sizes_U.sum() * squares_U.sum() - sums_U.sum() ** 2))
    expected = apart / (sizes_U.sum() - 1)
    return float(1 - (apart_U / (sizes_U - 1)).sum() / expected) if expected else math.nan


def _beyond(counts_V: NDArray[np.int64]) -> float:
    """Return how many ordered pairs are of different names."""
    return float(counts_V.sum() ** 2 - (counts_V**2).sum())


def cohen(values_UR: Floats) -> float:
    """Return Cohen's kappa of two raters who rated every unit (Cohen 1960); nan where both always say one thing."""
    first_U, second_U = values_UR.T
    names = np.unique(values_UR)
    by_chance = float(sum((first_U == name).mean() * (second_U == name).mean() for name in names))
    agreed = float((first_U == second_U).mean())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan


def fleiss(values_UR: Floats) -> float:
    """Return Fleiss' kappa of raters who each rated every unit (Fleiss 1971); nan where all always say one thing."""
    units, raters = values_UR.shape
    counts = np.stack([(values_UR == name).sum(axis=1) for name in np.unique(values_UR)], axis=1)
    agreed = float(((counts**2).sum(axis=1) - raters).mean() / (raters * (raters - 1)))
    by_chance = float(((counts.sum(axis=0) / (units * raters)) ** 2).sum())
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan


def measured(of: Callable[[Floats], float], values_UR: Floats) -> Number | None:
    """Return a measure of agreement with its interval over units; None where there is nothing to agree about.

    A resample in which all say one thing counts as full agreement.
    """
    value = of(values_UR) if len(values_UR) else math.nan
    if math.isnan(value):
        return None

    def again(rows: NDArray[np.int64]) -> float:
        found = of(values_UR[rows])
        return 1.0 if math.isnan(found) else found

    return resampled(again, len(values_UR))
