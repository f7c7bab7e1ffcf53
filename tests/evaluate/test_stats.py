"""Paired comparison: known values by hand, properties, and coverage and power in simulation."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.core.report import Number
from luthier.evaluate import bootstrap, stats
from luthier.evaluate.stats import FEWEST, MARGIN, detectable, mean, paired, perplexity, ratios, share, student, verdict

ROW = st.tuples(st.floats(0, 500), st.floats(0, 500), st.integers(0, 400))
ROWS = st.lists(ROW, min_size=1, max_size=40).filter(lambda rows: any(tokens for *_, tokens in rows))


def arrays(rows):
    base, tuned, tokens = zip(*rows, strict=True)
    return np.array(base, dtype=float), np.array(tuned, dtype=float), np.array(tokens, dtype=np.int64)


# Known values ----------------------------------------------------------------------------------------------


def test_the_mean_weighs_tokens_not_rows() -> None:
    # 10 tokens at 1 nat and 2 tokens at 4 nats: 18 nats over 12 tokens, not the 2.5 of a mean over rows.
    result = paired(np.array([10.0, 8.0]), np.array([5.0, 1.0]), np.array([10, 2]))
    assert result.base == Number(1.5, 2)
    assert result.tuned == Number(0.5, 2)
    assert result.difference == Number(-1.0, 2)
    assert (result.verdict, result.detectable) == ("undecided", None)


def test_perplexity_is_exp_of_the_nats_and_keeps_the_interval() -> None:
    result = perplexity(Number(math.log(8), 5, math.log(4), math.log(16)))
    assert (result.value, result.low, result.high) == pytest.approx((8, 4, 16))
    assert result.n == 5
    assert perplexity(Number(0.0, 1)) == Number(1.0, 1)
    assert math.isfinite(perplexity(Number(1e6, 1)).value)


def test_student_is_the_table() -> None:
    # Two-sided 5 % and one-sided 20 %, from the usual tables.
    for share_below, freedom, value in (
        (0.975, 9, 2.2622),
        (0.975, 30, 2.0423),
        (0.975, 100, 1.9840),
        (0.8, 9, 0.8834),
        (0.8, 30, 0.8538),
        (0.975, 10**9, 1.9600),
    ):
        assert student(share_below, freedom) == pytest.approx(value, abs=2e-3)


def test_wilson_is_the_textbook() -> None:
    # 5 of 10: 0.2366 to 0.7634. None of n: 0 to z²/(n + z²).
    half = share(5, 10)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.2366, 0.7634), abs=1e-4)
    none, every = share(0, 8), share(8, 8)
    assert (none.low, none.high) == pytest.approx((0.0, 3.8415 / 11.8415), abs=1e-4)
    assert (every.low, every.high) == pytest.approx((1 - 3.8415 / 11.8415, 1.0), abs=1e-4)


@pytest.mark.parametrize(("hits", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_no_share_of_nothing(hits: int, count: int) -> None:
    with pytest.raises(ValueError, match="is no share"):
        share(hits, count)


def test_detectable_of_normal_rows_is_student_s() -> None:
    # Sixteen rows of one token at the quantiles of a normal law: t(0.975, 15) = 2.1314 and t(0.8, 15) = 0.8662.
    rows = np.array([NormalDist().inv_cdf((place + 0.5) / 16) for place in range(16)])
    error = rows.std(ddof=1) / 4
    assert detectable(rows, np.ones(16)) == pytest.approx((2.1314 + 0.8662) * error, rel=0.1)
    assert detectable(rows[:9], np.ones(9)) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.5, -0.1, "better"),
        (0.1, 0.5, "worse"),
        (-0.5, 0.1, "undecided"),
        (-MARGIN, MARGIN, "same"),
        (0.0, 0.0, "same"),
        (-0.002, -0.001, "better"),
        (-2 * MARGIN, 0.0, "undecided"),
        (None, None, "undecided"),
    ],
)
def test_the_verdict_is_the_intervals(low: float | None, high: float | None, expected: str) -> None:
    assert verdict(Number(0.0, 50, low, high)) == expected


def test_the_mean_of_a_few_values_has_no_interval() -> None:
    assert mean([1, 2, 6]) == Number(3.0, 3)
    assert mean(range(20)).low < 9.5 < mean(range(20)).high


# Properties ------------------------------------------------------------------------------------------------


@given(ROWS)
@settings(max_examples=40, deadline=None)
def test_an_interval_holds_its_value_and_stands_on_rows_with_tokens(rows) -> None:
    base, tuned, tokens = arrays(rows)
    result = paired(base, tuned, tokens)
    for number in (result.base, result.tuned, result.difference):
        assert number.n == np.count_nonzero(tokens)
        assert (number.low is None) == (number.high is None) == (number.n < FEWEST)
        if number.low is not None and number.high is not None:
            assert number.low <= number.value <= number.high
    assert result.difference.value == pytest.approx(result.tuned.value - result.base.value, abs=1e-6)


@given(ROWS)
@settings(max_examples=20, deadline=None)
def test_rows_without_tokens_change_nothing(rows) -> None:
    assert paired(*arrays([*rows, (7.0, 3.0, 0)])) == paired(*arrays(rows))


@given(ROWS)
@settings(max_examples=20, deadline=None)
def test_exchanging_the_models_turns_the_verdict_round(rows) -> None:
    base, tuned, tokens = arrays(rows)
    there, back = paired(base, tuned, tokens), paired(tuned, base, tokens)
    turned = {"better": "worse", "worse": "better"}
    if there.difference.low is None or min(map(abs, (there.difference.low, there.difference.high))) > 1e-9:
        assert back.verdict == turned.get(there.verdict, there.verdict)
    assert back.difference.value == -there.difference.value
    if there.difference.low is not None:
        assert back.difference.high == pytest.approx(-there.difference.low, abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 400)), min_size=FEWEST, max_size=40))
@settings(max_examples=20, deadline=None)
def test_a_model_is_the_same_as_itself(rows) -> None:
    nll, tokens = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    result = paired(nll, nll.copy(), tokens)
    assert result.difference == Number(0.0, len(rows), 0.0, 0.0)
    assert (result.verdict, result.detectable) == ("same", 0.0)


@pytest.mark.parametrize(("shift", "expected"), [(-0.5, "better"), (0.5, "worse"), (0.005, "worse")])
def test_a_constant_shift_is_seen_exactly(shift: float, expected: str) -> None:
    tokens = np.arange(1, 31)
    base = np.linspace(3, 90, 30)
    result = paired(base, base + shift * tokens, tokens)
    assert (result.difference.low, result.difference.high) == pytest.approx((shift, shift))
    assert result.verdict == expected


def test_the_same_rows_give_the_same_interval_and_another_seed_nearly() -> None:
    random = np.random.default_rng(0)
    base, tuned, tokens = random.random(50) * 90, random.random(50) * 90, random.integers(1, 50, 50)
    first = paired(base, tuned, tokens, seed=1)
    assert paired(base, tuned, tokens, seed=1) == first
    other = paired(base, tuned, tokens, seed=2)
    assert other != first
    assert other.difference.low == pytest.approx(first.difference.low, rel=0.1)


def test_many_rows_are_resampled_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    sums, counts = random.random((1, 200)), np.ones(200)
    whole = ratios(sums, counts)
    monkeypatch.setattr(bootstrap, "CHUNK", 1000)
    assert ratios(sums, counts) == whole


def test_what_can_t_be_compared_is_refused() -> None:
    ones = np.ones(3)
    with pytest.raises(ValueError, match="shapes differ"):
        paired(ones, ones[:2], np.array([1, 1, 1]))
    with pytest.raises(ValueError, match="no row has a token"):
        paired(ones, ones, np.array([0, 0, 0]))
    with pytest.raises(ValueError, match="not finite"):
        paired(ones, np.array([1.0, np.nan, 1.0]), np.array([1, 1, 1]))


# Simulation ------------------------------------------------------------------------------------------------


def drawn(random: np.random.Generator, rows: int, effect: float) -> tuple[np.ndarray, np.ndarray]:
    """Return per-row differences and token counts: skewed lengths, heavy-tailed differences of mean `effect`."""
    tokens = np.maximum(1, np.round(np.exp(random.normal(3, 0.9, rows))))
    return tokens * (effect + 0.3 * random.standard_t(4, rows) / np.sqrt(1 + tokens / 20)), tokens


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "least"), [(10, 0.92), (100, 0.93)])
def test_the_interval_covers_the_truth(rows: int, least: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "RESAMPLES", 2_000)
    random = np.random.default_rng(7)
    trials = 800
    hits = 0
    for trial in range(trials):
        differences, tokens = drawn(random, rows, -0.05)
        interval = ratios(differences[None], tokens, seed=trial)[0]
        hits += interval.low <= -0.05 <= interval.high
    assert least <= hits / trials <= 0.97


@pytest.mark.slow
def test_what_is_detectable_is_detected_four_times_out_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "RESAMPLES", 2_000)
    random = np.random.default_rng(8)
    effect = np.median([detectable(*drawn(random, 60, 0.0)) for _ in range(300)])
    found = 0
    for trial in range(1500):
        differences, tokens = drawn(random, 60, -effect)
        found += verdict(ratios(differences[None], tokens, seed=trial)[0]) == "better"
    assert found / 1500 == pytest.approx(0.80, abs=0.09)  # heavy tails hide their spread from 60 rows
