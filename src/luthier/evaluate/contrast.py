"""How a metric of base and tuned model compares on the same answers: intervals, exact tests, many metrics at once.

Shapes: R rows, K figures of an answer (see `metrics.metric`), S resamples.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number
from luthier.evaluate.metrics.metric import Floats, Metric
from luthier.evaluate.stats import CONFIDENCE, FEWEST, NORMAL, POWER, Verdict, mcnemar, outside, share, student

RESAMPLES = 2_000
LEVEL = 1 - CONFIDENCE

SAME = 0.01
"""Differences of a share up to this much, one point, count as none in practice."""

NOISE = 1e-9
"""Resamples that differ by no more are alike but for rounding."""

CHUNK = 2**21
"""Numbers drawn at a time."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One metric of both models on the same rows."""

    base: Number
    tuned: Number
    change: Number
    """Tuned less base."""
    p: float | None
    """Of a change at least as large by chance, two-sided; None with fewer than `FEWEST` rows."""
    detectable: float | None
    """Smallest true change that shows in four of five such comparisons."""


def contrast(metric: Metric, base_RK: Floats, tuned_RK: Floats, *, seed: int = 0) -> Contrast | None:
    """Return how a metric compares; None where it says nothing of these rows.

    Of answers that are right or wrong, shares have Wilson's interval, their difference Newcombe's, and the test is
    McNemar's exact one. Of anything else, intervals are the expanded percentile bootstrap (`stats`) over rows, and the
    test exchanges the answers of both models at random (Fisher 1935; Riezler & Maxwell 2005, W05-0908).

    Args:
        metric: How figures become a score.
        base_RK: Figures of the base's answers.
        tuned_RK: Of the tuned model's answers to the same rows.
        seed: Of the resampling.
    """
    counted = _counted(base_RK, tuned_RK)
    base_RK, tuned_RK = base_RK[counted], tuned_RK[counted]
    if not len(base_RK):
        return None
    if _right_or_wrong(base_RK) and _right_or_wrong(tuned_RK):
        return _of_shares(base_RK[:, 0] > 0, tuned_RK[:, 0] > 0)
    return _of_sums(metric.score, base_RK, tuned_RK, seed)


def _counted(base_RK: Floats, tuned_RK: Floats) -> NDArray[np.bool_]:
    """Return the rows that count for both: of a mean, those whose second figure isn't 0 in either."""
    if base_RK.shape[1] != 2:
        return np.ones(len(base_RK), dtype=bool)
    found: NDArray[np.bool_] = (base_RK[:, 1] > 0) & (tuned_RK[:, 1] > 0)
    return found


def _right_or_wrong(figures_RK: Floats) -> bool:
    return bool(figures_RK.shape[1] == 2 and (figures_RK[:, 1] == 1).all() and np.isin(figures_RK[:, 0], (0, 1)).all())


def _of_shares(base_R: NDArray[np.bool_], tuned_R: NDArray[np.bool_]) -> Contrast:
    rows = len(base_R)
    gained, lost = int((tuned_R & ~base_R).sum()), int((base_R & ~tuned_R).sum())
    base, tuned = share(int(base_R.sum()), rows), share(int(tuned_R.sum()), rows)
    if rows < FEWEST:
        return Contrast(base, tuned, Number(tuned.value - base.value, rows), None, None)
    moved = max(gained + lost, 3) / rows  # of none, up to three may hide (rule of three)
    reach = (NORMAL.inv_cdf(0.5 + CONFIDENCE / 2) + NORMAL.inv_cdf(POWER)) * math.sqrt(moved / rows)
    return Contrast(base, tuned, newcombe(base_R, tuned_R), mcnemar(gained, lost), reach)


def newcombe(base_R: NDArray[np.bool_], tuned_R: NDArray[np.bool_]) -> Number:
    """Return the difference of two shares of the same rows, tuned less base, with its 95 % interval.

    Source: Newcombe 1998, Statistics in Medicine 17, pages 2635-2650, method 10: Wilson's intervals of both shares,
    joined by how far the rows agree.
    """
    rows = len(base_R)
    both, neither = int((base_R & tuned_R).sum()), int((~base_R & ~tuned_R).sum())
    gained, lost = int((tuned_R & ~base_R).sum()), int((base_R & ~tuned_R).sum())
    first, second = share(both + gained, rows), share(both + lost, rows)
    margins = math.prod((both + gained, lost + neither, both + lost, gained + neither))
    agree = both * neither - gained * lost
    # Corrected for continuity, as the source has it.
    corrected = max(agree - rows / 2, 0.0) if agree > 0 else agree
    phi = corrected / math.sqrt(margins) if margins else 0.0
    change = first.value - second.value
    below = (first.value - _low(first), _high(second) - second.value)
    above = (_high(first) - first.value, second.value - _low(second))
    low, high = (math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b)) for a, b in (below, above))
    return Number(change, rows, change - low, change + high)


def _low(number: Number) -> float:
    return number.value if number.low is None else number.low


def _high(number: Number) -> float:
    return number.value if number.high is None else number.high


def _of_sums(score: Callable[[Floats], Floats], base_RK: Floats, tuned_RK: Floats, seed: int) -> Contrast:
    rows = len(base_RK)
    sums = np.stack([base_RK.sum(axis=0), tuned_RK.sum(axis=0)])
    before, after = score(sums)
    numbers = [Number(float(value), rows) for value in (before, after, after - before)]
    if rows < FEWEST:
        return Contrast(numbers[0], numbers[1], numbers[2], None, None)
    generator = np.random.Generator(np.random.Philox(key=seed))
    drawn = [(score(w @ base_RK), score(w @ tuned_RK)) for w in _weights(generator, rows)]
    base_S, tuned_S = (np.concatenate(part) for part in zip(*drawn, strict=True))
    columns = (base_S, tuned_S, tuned_S - base_S)
    base, tuned, change = (_interval(number, column, rows) for number, column in zip(numbers, columns, strict=True))
    p = _exchanged(score, base_RK, tuned_RK, generator)
    if np.ptp(columns[2]) <= NOISE:  # every row changed alike: resampling can't show what others would do
        return Contrast(base, tuned, numbers[2], p, None)
    error = float(np.std(columns[2])) * math.sqrt(rows / (rows - 1))
    reach = (student(0.5 + CONFIDENCE / 2, rows - 1) + student(POWER, rows - 1)) * error
    return Contrast(base, tuned, change, p, reach)


def _weights(generator: np.random.Generator, rows: int) -> Iterator[Floats]:
    """Yield how often each row is drawn in each of some resamples: (S, R), until there are enough."""
    left = RESAMPLES
    while left:
        size = min(left, max(1, CHUNK // rows))
        yield generator.multinomial(rows, np.full(rows, 1 / rows), size=size).astype(np.float64)
        left -= size


def _interval(number: Number, drawn_S: Floats, rows: int) -> Number:
    low, high = np.quantile(drawn_S, [outside(rows), 1 - outside(rows)])
    return Number(number.value, rows, float(min(low, number.value)), float(max(high, number.value)))


def _exchanged(
    score: Callable[[Floats], Floats], base_RK: Floats, tuned_RK: Floats, generator: np.random.Generator
) -> float:
    """Return how often answers that change places at random make as large a difference."""
    base_K, tuned_K, more_RK = base_RK.sum(axis=0), tuned_RK.sum(axis=0), tuned_RK - base_RK
    before, after = score(np.stack([base_K, tuned_K]))
    reached = done = 0
    while done < RESAMPLES:
        size = min(RESAMPLES - done, max(1, CHUNK // len(base_RK)))
        moved_SK = generator.integers(2, size=(size, len(base_RK))).astype(np.float64) @ more_RK
        apart_S = np.abs(score(tuned_K - moved_SK) - score(base_K + moved_SK))
        reached += int((apart_S >= abs(after - before) - 1e-12).sum())
        done += size
    return (1 + reached) / (1 + RESAMPLES)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Return each p as it counts among all of them, so that one false alarm in 20 is all there is (Holm 1979)."""
    known = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    found: list[float | None] = [None] * len(ps)
    largest = 0.0
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * p))
        found[place] = largest
    return found


def judged(found: Contrast, p: float | None, *, better: int, percent: bool) -> Verdict:
    """Return what a change says, by its p among all metrics and its interval.

    Args:
        found: The comparison.
        p: From `holm`.
        better: 1 where more is better, −1 where less is.
        percent: Whether it is a share; only of those it is known how much is no change in practice.
    """
    if p is not None and p < LEVEL and found.change.value:
        return "better" if found.change.value * better > 0 else "worse"
    low, high = found.change.low, found.change.high
    if percent and low is not None and high is not None and max(-low, high) <= SAME:
        return "same"
    return "undecided"


def rows_for(found: Contrast, change: float) -> int | None:
    """Return how many rows would show a change: the detectable one falls with their square root."""
    if not found.detectable or change <= 0:
        return None
    return math.ceil(found.change.n * (found.detectable / change) ** 2)
