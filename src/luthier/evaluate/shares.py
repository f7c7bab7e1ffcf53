"""Two shares of the same rows: the interval of their difference, and the smallest one that shows.

Shapes: N rows that changed, L of them lost.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number
from luthier.evaluate.stats import CONFIDENCE, FEWEST, NORMAL, POWER, mcnemar

Z = NORMAL.inv_cdf(0.5 + CONFIDENCE / 2)

HALVINGS = 30

MANY = 100
"""Rows that changed, from which on the normal distribution, corrected for continuity, does for the binomial one."""


def change(gained: int, lost: int, rows: int) -> Number:
    """Return the difference of two shares of the same rows, tuned less base, with its 95 % interval.

    It holds the differences that the score test does not refuse. With 30 rows and few changes it covers the truth more
    often than it says, as any interval of so few counts must somewhere.

    Source: Tango 1998, Statistics in Medicine 17, pages 891-908, section 3.
    """

    def refused(difference: float) -> float:
        """Return by how many standard errors the score test refuses a difference."""
        a, c = 2 * rows, -lost * difference * (1 - difference)
        b = -gained - lost + (2 * rows - gained + lost) * difference
        share_lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
        spread = rows * (2 * share_lost + difference * (1 - difference))
        return abs(gained - lost - rows * difference) / math.sqrt(max(spread, 1e-300))

    value = (gained - lost) / rows
    low = _turn(lambda part: refused(value - part * (1 + value)) >= Z) * (1 + value)
    high = _turn(lambda part: refused(value + part * (1 - value)) >= Z) * (1 - value)
    return Number(value, rows, value - low, value + high)


def _turn(reached: Callable[[float], bool]) -> float:
    """Return the least part of 1 at which something rising is reached, 1 where it isn't."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


@cache
def detectable(moved: int, rows: int) -> float | None:
    """Return the smallest true difference that McNemar's exact test shows with 80 % power; None below `FEWEST` rows.

    Args:
        moved: Rows right by one model only: of a small difference nearly as many change, of a larger one at least those
            that make it up.
        rows: All rows.
    """
    if rows < FEWEST:
        return None
    return _turn(lambda difference: power(max(moved / rows, difference), difference, rows) >= POWER)


def power(moved: float, difference: float, rows: int) -> float:
    """Return how often McNemar's exact test at 5 % shows a difference.

    Args:
        moved: Share of rows right by one model only.
        difference: Of the two shares, up to `moved`.
        rows: How many are looked at.

    Source: Connor 1987, Biometrics 43, pages 207-211: conditional power, summed over how many rows change.
    """
    if moved * rows > MANY:
        error = math.sqrt((moved - difference**2) / rows)
        return NORMAL.cdf((difference - 1 / rows - Z * math.sqrt(moved / rows)) / error) if error else 1.0
    changes_N = np.arange(rows + 1)
    chance_N = _binomial(changes_N, rows, moved)
    likely_N = np.flatnonzero(chance_N > 1e-9)
    lost = (1 - difference / moved) / 2
    shown = [_below(most_lost(int(count)), int(count), lost) for count in likely_N]
    return float(chance_N[likely_N] @ np.array(shown))


@cache
def most_lost(moved: int) -> int:
    """Return the most rows that may be lost among those that changed for a gain to show; −1: none are few enough."""
    lost = -1
    while mcnemar(moved - lost - 1, lost + 1) < 1 - CONFIDENCE and 2 * (lost + 1) <= moved:
        lost += 1
    return lost


def _below(most: int, count: int, share: float) -> float:
    return float(_binomial(np.arange(most + 1), count, share).sum())


def _binomial(hits_L: NDArray[np.int64], count: int, share: float) -> NDArray[np.float64]:
    if share <= 0 or share >= 1:
        return np.asarray(hits_L == round(share * count), dtype=np.float64)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    ways_L = logs[count] - logs[hits_L] - logs[count - hits_L]
    found: NDArray[np.float64] = np.exp(ways_L + hits_L * math.log(share) + (count - hits_L) * math.log1p(-share))
    return found
