"""Studentised bootstrap over rows: intervals for statistics of weighted rows.

A resample's distance from the whole is taken in its own standard errors (Efron & Tibshirani 1993, "An Introduction to
the Bootstrap", section 12.5), so that few rows, which know their own spread badly, and skewed ones get the reach they
need. Each side reaches at least as far as the symmetric interval (Hall 1988, JRSS B 50, pages 35-45), whose coverage
errs by 1/n² only; alone it falls short on the long side of skewed rows, and the equal-tailed one on both.
`benchmarks/statistics.py` shows how often the truth is covered.

Shapes: R rows, S resamples.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CHUNK = 2**21
"""Rows drawn at a time, so that memory stays near 40 MB."""

FLOOR = 0.25
"""Least standard error of a resample, in those of all rows: one that holds none of the few rows that differ has
none of its own. A row in n that differs then reaches to 5/n, where Poisson's law has 5.6/n."""


def weights(rows: int, count: int, seed: int) -> Iterator[Floats]:
    """Yield how often each row is drawn in each of `count` resamples: parts of shape (S, R)."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    while count:
        size = min(count, max(1, CHUNK // rows))
        places_SR = generator.integers(rows, size=(size, rows)) + np.arange(size)[:, None] * rows
        yield np.bincount(places_SR.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
        count -= size


def reach(away_S: Floats, error_S: Floats, error: float, confidence: float) -> tuple[float, float]:
    """Return how far an interval reaches below and above its value.

    Args:
        away_S: What each resample gives less what all rows give. Shape (S,).
        error_S: Standard error of each, by its own rows. Shape (S,).
        error: Standard error by all rows; 0 reaches nowhere.
        confidence: Such as 0.95.
    """
    if not error:
        return 0.0, 0.0
    scaled_S = away_S / np.maximum(error_S, FLOOR * error)
    beyond = (1 - confidence) / 2
    low, high = np.quantile(scaled_S, [beyond, 1 - beyond])
    both = np.quantile(np.abs(scaled_S), confidence)
    return float(max(both, high) * error), float(max(both, -low) * error)


def shown_by(away_S: Floats, error_S: Floats, error: float, confidence: float, power: float) -> float:
    """Return the smallest difference whose interval leaves out 0 in `power` of the resamples, moved by it."""
    if not error:
        return 0.0
    errors = sum(reach(away_S, error_S, error, confidence)) / 2 / error
    return float(np.quantile(errors * error_S - away_S, power))
