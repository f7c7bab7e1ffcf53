"""Paired comparison of two models on the same rows, and intervals for shares and means.

Shapes: R rows, K quantities measured on each row, S resamples.

Intervals are from the studentised bootstrap over rows (`bootstrap`): rows are drawn with replacement, and the ratio of
sums is taken with its linearised standard error. On skewed lengths and heavy-tailed losses it covered the truth more
often than the percentile interval, the expanded one (Hesterberg 2015, arXiv:1411.5279) and Student's t, which fall
short with few rows. On very skewed rows no interval helps when they are few: the rare bad row is not among them.

Rows are taken as independent. Rows that repeat one another make every interval here too narrow.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number
from luthier.evaluate.bootstrap import FLOOR, reach, shown_by, weights

Verdict = Literal["better", "worse", "same", "undecided"]

FEWEST = 10
"""With fewer rows no interval and no verdict is given: nine rows can't show what the tenth would do."""

MARGIN = 0.01
"""Differences up to this many nats per token, 1 % of perplexity, count as the same in practice."""

CONFIDENCE = 0.95
POWER = 0.80

RESAMPLES = 10_000
FEWEST_RESAMPLES = 2_000
DRAWS = 50_000_000
"""Rows drawn over all resamples, about a second's work: with over 5,000 rows fewer resamples are taken."""

NORMAL = NormalDist()

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same rows, in nats per learned token. `n` of each number counts rows, not tokens."""

    base: Number
    tuned: Number
    difference: Number
    """Tuned minus base: negative is better."""
    detectable: float | None
    """Smallest true difference these rows show with 80 % power; None when they are too few for a verdict."""
    verdict: Verdict


def paired(base_R: Floats, tuned_R: Floats, tokens_R: NDArray[np.int64], *, seed: int = 0) -> Paired:
    """Return how two models compare on the same rows.

    Args:
        base_R: Summed negative log-likelihood of each row's learned tokens under the base, in nats.
            Shape (R,).
        tuned_R: The same under the tuned model. Shape (R,).
        tokens_R: Learned tokens of each row. Shape (R,). Rows of 0 tokens are passed over.
        seed: Of the resampling: the same numbers in give the same numbers out, on every machine.

    Raises:
        ValueError: Shapes differ, a sum is not finite, or no row has a token.
    """
    if not base_R.shape == tuned_R.shape == tokens_R.shape or base_R.ndim != 1:
        message = f"shapes differ: {base_R.shape}, {tuned_R.shape}, {tokens_R.shape}"
        raise ValueError(message)
    used = tokens_R > 0
    if not used.any():
        message = "no row has a token"
        raise ValueError(message)
    counts_R = tokens_R[used].astype(np.float64)
    sums_KR = np.stack([base_R[used], tuned_R[used], tuned_R[used] - base_R[used]])
    base, tuned, difference = ratios(sums_KR, counts_R, seed=seed)
    return Paired(
        base=within(base, 0.0, math.inf),
        tuned=within(tuned, 0.0, math.inf),
        difference=difference,
        detectable=detectable(sums_KR[2], counts_R, seed=seed),
        verdict=verdict(difference),
    )


def verdict(difference: Number) -> Verdict:
    """Return what the interval of a difference (tuned minus base, nats per token) says.

    `same` needs the whole interval within ± `MARGIN` and so is as much a result as `better`; two one-sided
    tests at 5 % would do with a 90 % interval (Schuirmann 1987), so ours is the stricter one.
    """
    if difference.low is None or difference.high is None:
        return "undecided"
    if difference.high < 0:
        return "better"
    if difference.low > 0:
        return "worse"
    return "same" if max(-difference.low, difference.high) <= MARGIN else "undecided"


def ratios(sums_KR: Floats, counts_R: Floats, *, seed: int = 0) -> list[Number]:
    """Return sum over rows of each quantity by the sum of counts, with 95 % intervals over rows.

    Args:
        sums_KR: What is measured, summed within each row. Shape (K, R).
        counts_R: How much each row holds, all above 0. Shape (R,).
        seed: Of the resampling. All K quantities are taken on the same resamples.

    Raises:
        ValueError: A sum is not finite.
    """
    if not np.isfinite(sums_KR).all():
        message = "a sum is not finite"
        raise ValueError(message)
    if len(counts_R) < FEWEST:
        return [Number(float(value), len(counts_R)) for value in sums_KR.sum(axis=1) / counts_R.sum()]
    numbers = []
    for value, away_S, error_S, error in _resampled(sums_KR, counts_R, seed):
        low, high = reach(away_S, error_S, error, CONFIDENCE)
        numbers.append(Number(value, len(counts_R), value - low, value + high))
    return numbers


def _resampled(sums_KR: Floats, counts_R: Floats, seed: int) -> Iterator[tuple[float, Floats, Floats, float]]:
    """Yield of each quantity its ratio, how far resamples are away from it, their standard errors, and its own."""
    rows = len(counts_R)
    values_K = sums_KR.sum(axis=1) / counts_R.sum()
    # Away from the ratio of all rows, so that nothing cancels out where every row says nearly the same.
    rest_KR = sums_KR - values_K[:, None] * counts_R
    count = max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWS // rows))
    columns_RM = np.stack([counts_R, counts_R**2, *rest_KR, *rest_KR**2, *(rest_KR * counts_R)], axis=1)
    drawn_SM = np.concatenate([weight_SR @ columns_RM for weight_SR in weights(rows, count, seed)])
    (count_S, square_S), found_SM = drawn_SM[:, :2].T, drawn_SM[:, 2:]
    for value, rest_R, sums_S3 in zip(
        values_K, rest_KR, np.moveaxis(found_SM.reshape(count, 3, -1), 2, 0), strict=True
    ):
        away_S = sums_S3[:, 0] / count_S
        squares_S = sums_S3[:, 1] - 2 * away_S * sums_S3[:, 2] + away_S**2 * square_S
        error_S = np.sqrt(np.maximum(squares_S, 0.0) * rows / (rows - 1)) / count_S
        yield float(value), away_S, error_S, _error(rest_R, counts_R)


def _error(rest_R: Floats, counts_R: Floats) -> float:
    """Return the standard error of a ratio of sums, linearised (Cochran 1977, section 2.11), from what rows leave."""
    rows = len(counts_R)
    return math.sqrt(float((rest_R**2).sum()) * rows / (rows - 1)) / float(counts_R.sum())


def detectable(differences_R: Floats, counts_R: Floats, *, seed: int = 0) -> float | None:
    """Return the smallest true difference, per count, of which 80 % of such comparisons have an interval beyond 0.

    Four of five resamples, moved by it, show it; so it counts how badly rows like these know their own spread.
    Resamples spread a little less than rows do, which is made up for as in `outside`. None below `FEWEST` rows, as they
    get no verdict.
    """
    rows = len(counts_R)
    if rows < FEWEST:
        return None
    ((_, away_S, error_S, error),) = _resampled(differences_R[None], counts_R, seed)
    wider = math.sqrt(rows / (rows - 1)) * student(POWER, rows - 1) / NORMAL.inv_cdf(POWER)
    return wider * shown_by(away_S, error_S, error, CONFIDENCE, POWER)


def detectable_by(error: float, rows: int) -> float:
    """Return the smallest true difference that a test at 5 % two-sided shows with 80 % power, by its standard error."""
    return (student(0.5 + CONFIDENCE / 2, rows - 1) + student(POWER, rows - 1)) * error


def student(share: float, freedom: int) -> float:
    """Return the quantile of Student's t, by expansion around the normal one: within 0.002 from 9 on.

    Source: Abramowitz & Stegun 1964, 26.7.5.
    """
    z = NORMAL.inv_cdf(share)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    expanded: float = z + sum(term / freedom**power for power, term in enumerate(terms, start=1))
    return expanded


def chance(differences_R: Floats, counts_R: Floats, *, seed: int = 0) -> float | None:
    """Return how often resampled rows are as far from all rows, in standard errors, as these are from no difference.

    Two-sided; None below `FEWEST` rows.
    """
    if len(counts_R) < FEWEST:
        return None
    ((value, away_S, error_S, error),) = _resampled(differences_R[None], counts_R, seed)
    if not error:
        return None if value else 1.0
    scaled_S = np.abs(away_S) / np.maximum(error_S, FLOOR * error)
    return float((1 + (scaled_S >= abs(value) / error).sum()) / (1 + len(scaled_S)))


def perplexity(nll: Number) -> Number:
    """Return exp of a number in nats: a perplexity, or of a difference the ratio of two.

    The interval goes through exp as it is: quantiles keep their place under a rising function.
    """
    low = None if nll.low is None else _exp(nll.low)
    high = None if nll.high is None else _exp(nll.high)
    return Number(_exp(nll.value), nll.n, low, high)


def _exp(nats: float) -> float:
    """Return exp, held below where a float overflows; JSON has no infinity."""
    return math.exp(min(nats, 700.0))


def share(hits: int, count: int) -> Number:
    """Return hits / count with Wilson's 95 % interval, which holds from the first observation on.

    Raises:
        ValueError: Not 0 <= hits <= count, or nothing was counted.

    Source: Wilson 1927, JASA 22, pages 209-212.
    """
    if not 0 <= hits <= count or count == 0:
        message = f"{hits} of {count} is no share"
        raise ValueError(message)
    z = NORMAL.inv_cdf(0.5 + CONFIDENCE / 2)
    value = hits / count
    middle = (value + z**2 / (2 * count)) / (1 + z**2 / count)
    reach = z / (1 + z**2 / count) * math.sqrt(value * (1 - value) / count + z**2 / (4 * count**2))
    return Number(value, count, max(0.0, min(middle - reach, value)), min(1.0, max(middle + reach, value)))


def mean(values: Sequence[float], *, seed: int = 0) -> Number:
    """Return the mean of at least one value with its interval; none below `FEWEST` values."""
    return ratios(np.array([values], dtype=np.float64), np.ones(len(values)), seed=seed)[0]


def resampled(of: Callable[[NDArray[np.int64]], float], rows: int, *, seed: int = 0) -> Number:
    """Return any statistic of rows with its 95 % interval: expanded percentile bootstrap (Hesterberg 2015).

    For those of which no standard error is known.

    Args:
        of: Takes the numbers of rows, some of them several times, and returns the statistic.
        rows: How many there are; below `FEWEST` no interval is given.
        seed: Of the resampling.
    """
    value = of(np.arange(rows))
    if rows < FEWEST:
        return Number(value, rows)
    generator = np.random.Generator(np.random.Philox(key=seed))
    count = max(FEWEST_RESAMPLES // 2, min(FEWEST_RESAMPLES, DRAWS // rows))
    found = [of(generator.integers(rows, size=rows)) for _ in range(count)]
    low, high = np.quantile(found, [outside(rows), 1 - outside(rows)])
    return Number(value, rows, float(min(low, value)), float(max(high, value)))


def within(number: Number, least: float, most: float) -> Number:
    """Return a number whose interval says nothing that can't be."""
    if number.low is None or number.high is None:
        return number
    return Number(number.value, number.n, max(number.low, least), min(number.high, most))


def outside(rows: int) -> float:
    """Return the share of resamples beyond each end of the interval: fewer than 2.5 %, as Student's t needs."""
    return NORMAL.cdf(-math.sqrt(rows / (rows - 1)) * student(0.5 + CONFIDENCE / 2, rows - 1))


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test: of rows that changed, how likely such a split is by chance.

    Source: McNemar 1947, Psychometrika 12, pages 153-157; exact by the binomial distribution.
    """
    count = gained + lost
    logs = [
        math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1) for k in range(min(gained, lost) + 1)
    ]
    return min(1.0, 2 * sum(math.exp(log - count * math.log(2)) for log in logs))


def smallest_share(chance: float, count: int) -> float | None:
    """Return the smallest distance from a share of `chance` that shows at 5 % two-sided with 80 % power.

    By the normal distribution. None below `FEWEST` rows.
    """
    if count < FEWEST:
        return None
    reach = NORMAL.inv_cdf(0.5 + CONFIDENCE / 2) + NORMAL.inv_cdf(POWER)
    return reach * math.sqrt(chance * (1 - chance) / count)
