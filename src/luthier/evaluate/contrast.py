"""How a metric of base and tuned model compares on the same answers: intervals, exact tests, many metrics at once.

Shapes: R rows, K figures of an answer (see `metrics.metric`), S resamples.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number
from luthier.evaluate.bootstrap import CHUNK, reach, weights
from luthier.evaluate.metrics.metric import Floats, Metric
from luthier.evaluate.shares import change, detectable
from luthier.evaluate.stats import CONFIDENCE, FEWEST, Verdict, detectable_by, mcnemar, share, within

RESAMPLES = 2_000
LEVEL = 1 - CONFIDENCE

SAME = 0.01
"""Differences of a share up to this much, one point, count as none in practice."""

NOISE = 1e-9
"""Resamples that differ by no more are alike but for rounding."""

STEP = 1e-5
"""Of the sum of a figure over all rows: what it is moved by to see how the score follows."""


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

    Of answers that are right or wrong, shares have Wilson's interval, their difference Tango's, and the test is
    McNemar's exact one (`shares`). Of anything else, intervals are from the studentised bootstrap over rows, and the
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
    return _of_sums(metric, base_RK, tuned_RK, seed)


def _counted(base_RK: Floats, tuned_RK: Floats) -> NDArray[np.bool_]:
    """Return the rows that count for both: of a mean, those whose second figure isn't 0 in either; else any figure."""
    if base_RK.shape[1] != 2:
        some: NDArray[np.bool_] = (base_RK != 0).any(axis=1) | (tuned_RK != 0).any(axis=1)
        return some
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
    return Contrast(base, tuned, change(gained, lost, rows), mcnemar(gained, lost), detectable(gained + lost, rows))


def _of_sums(metric: Metric, base_RK: Floats, tuned_RK: Floats, seed: int) -> Contrast:
    score, rows = metric.score, len(base_RK)
    sums = np.stack([base_RK.sum(axis=0), tuned_RK.sum(axis=0)])
    before, after = score(sums)
    numbers = [Number(float(value), rows) for value in (before, after, after - before)]
    if rows < FEWEST:
        return Contrast(numbers[0], numbers[1], numbers[2], None, None)
    drawn = [_drawn(score, weight_SR, base_RK, tuned_RK) for weight_SR in weights(rows, RESAMPLES, seed)]
    score_S3, error_S3 = (np.concatenate(part) for part in zip(*drawn, strict=True))
    _, error_13 = _drawn(score, np.ones((1, rows)), base_RK, tuned_RK)
    base, tuned, apart = (
        _interval(number, score_S - number.value, error_S, float(error))
        for number, score_S, error_S, error in zip(numbers, score_S3.T, error_S3.T, error_13[0], strict=True)
    )
    if metric.percent:
        base, tuned, apart = within(base, 0, 1), within(tuned, 0, 1), within(apart, -1, 1)
    p = _exchanged(score, base_RK, tuned_RK, np.random.Generator(np.random.Philox(key=seed)))
    if np.ptp(score_S3[:, 2]) <= NOISE:  # every row changed alike: resampling can't show what others would do
        return Contrast(base, tuned, numbers[2], p, None)
    return Contrast(base, tuned, apart, p, detectable_by(float(error_13[0, 2]), rows))


def _drawn(
    score: Callable[[Floats], Floats], weight_SR: Floats, base_RK: Floats, tuned_RK: Floats
) -> tuple[Floats, Floats]:
    """Return scores of base, tuned and their difference in resamples, and the standard errors: shape (S, 3) each.

    The error is the infinitesimal jackknife's (Jaeckel 1972; Efron 1981): how far each row moves the score.
    """
    rows = len(base_RK)
    scores, moves_SR = [], []
    for figures_RK in (base_RK, tuned_RK):
        sums_SK = weight_SR @ figures_RK
        scores.append(score(sums_SK))
        moves_SR.append(_slopes(score, sums_SK, np.abs(figures_RK).sum(axis=0)) @ figures_RK.T)
    base_SR, tuned_SR = moves_SR
    squares = [(weight_SR * moved_SR**2).sum(axis=1) for moved_SR in (base_SR, tuned_SR, tuned_SR - base_SR)]
    errors_S3 = np.sqrt(np.stack(squares, axis=1) * rows / (rows - 1))
    return np.stack([*scores, scores[1] - scores[0]], axis=1), errors_S3


def _slopes(score: Callable[[Floats], Floats], sums_SK: Floats, scale_K: Floats) -> Floats:
    """Return how the score rises with each figure's sum; 0 for figures that no drawn row has. Shape (S, K)."""
    here_S, slopes_SK = score(sums_SK), np.zeros_like(sums_SK)
    for figure, scale in enumerate(scale_K.tolist()):
        step, moved_SK = STEP * scale, sums_SK.copy()
        moved_SK[:, figure] += step
        had_S = sums_SK[:, figure] != 0
        with np.errstate(all="ignore"):
            slopes_SK[had_S, figure] = (score(moved_SK)[had_S] - here_S[had_S]) / step
    return slopes_SK


def _interval(number: Number, away_S: Floats, error_S: Floats, error: float) -> Number:
    low, high = reach(away_S, error_S, error, CONFIDENCE)
    return Number(number.value, number.n, number.value - low, number.value + high)


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
