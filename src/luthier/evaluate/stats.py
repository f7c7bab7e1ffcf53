"""Paired comparison of two models on the same rows, and intervals for shares and means.

Shapes: R rows, K quantities measured on each row, S resamples.

The interval is the expanded percentile bootstrap over rows (Hesterberg 2015, "What Teachers Should Know
About the Bootstrap", arXiv:1411.5279): rows are drawn with replacement, the ratio of sums is taken, and the
quantiles are moved outward to what Student's t needs, because a plain percentile interval is too narrow by
sqrt((n - 1)/n) and ignores that few rows know their own spread badly. On ratios of sums with skewed lengths
and heavy-tailed losses, with 10 to 300 rows, it covered the truth as often as or more often than the
percentile and the BCa interval (Efron 1987); BCa estimates its acceleration from the very tail that few rows
don't show. On very skewed rows no interval helps when they are few: the rare bad row is not among them.

Rows are taken as independent. Rows that repeat one another make every interval here too narrow.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number

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

CHUNK = 2**21
"""Rows drawn at a time, so that memory stays near 40 MB."""

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
        base=base,
        tuned=tuned,
        difference=difference,
        detectable=detectable(sums_KR[2], counts_R),
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
    rows = len(counts_R)
    values = sums_KR.sum(axis=1) / counts_R.sum()
    if rows < FEWEST:
        return [Number(float(value), rows) for value in values]
    beyond = outside(rows)
    lows, highs = np.quantile(_resampled(sums_KR, counts_R, seed), [beyond, 1 - beyond], axis=1)
    return [
        Number(float(value), rows, float(min(low, value)), float(max(high, value)))
        for value, low, high in zip(values, lows, highs, strict=True)
    ]


def outside(rows: int) -> float:
    """Return the share of resamples beyond each end of the interval: fewer than 2.5 %, as Student's t needs."""
    return NORMAL.cdf(-math.sqrt(rows / (rows - 1)) * student(0.5 + CONFIDENCE / 2, rows - 1))


def _resampled(sums_KR: Floats, counts_R: Floats, seed: int) -> Floats:
    """Return the ratios of resampled rows: shape (K, S)."""
    rows = len(counts_R)
    generator = np.random.Generator(np.random.Philox(key=seed))
    left = max(FEWEST_RESAMPLES, min(RESAMPLES, DRAWS // rows))
    parts = []
    while left:
        size = min(left, max(1, CHUNK // rows))
        drawn_SR = generator.integers(rows, size=(size, rows))
        weight_S = counts_R[drawn_SR].sum(axis=1)
        parts.append(np.stack([sums_R[drawn_SR].sum(axis=1) / weight_S for sums_R in sums_KR]))
        left -= size
    return np.concatenate(parts, axis=1)


def detectable(differences_R: Floats, counts_R: Floats) -> float | None:
    """Return the smallest true difference, per count, that shows at 5 % two-sided with 80 % power.

    It is (t(0.975) + t(0.8)) standard errors of the ratio of sums, the error linearised (Cochran 1977,
    section 2.11) and its spread taken from these rows. None below `FEWEST` rows, as they get no verdict.
    """
    rows = len(counts_R)
    if rows < FEWEST:
        return None
    residual_R = differences_R - differences_R.sum() / counts_R.sum() * counts_R
    error = math.sqrt(float((residual_R**2).sum()) * rows / (rows - 1)) / float(counts_R.sum())
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
    """Return any statistic of rows with its 95 % interval: expanded percentile bootstrap, as `ratios` for ratios.

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
