"""Pairs and judged answers: expected values by hand, and intervals that cover the truth."""

import numpy as np
import pytest

from luthier.core.example import Source
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.preferences import of_judged, of_pairs, prompts_of
from luthier.tokens.render import Encoded


def measured(logp: list[float], tokens: list[int] | None = None) -> RowNll:
    counts = np.array(tokens or [1] * len(logp), dtype=np.int64)
    return RowNll(-np.array(logp, dtype=np.float64), counts)


def named(preferred, name):
    (found,) = (metric for metric in preferred.metrics if metric.name == name)
    return found


def test_a_pair_is_ranked_by_the_sum_or_per_token() -> None:
    # Better: 4 tokens, -8 nats; worse: 2 tokens, -6 nats. By sum the worse one wins, per token the better one.
    base = measured([-8.0, -6.0] * 12, [4, 2] * 12)
    tuned = measured([-5.0, -6.0] * 12, [4, 2] * 12)
    found = of_pairs(base, tuned, np.arange(12), per_token=False)
    assert named(found, "ranked_right").base.value == 0.0
    assert named(found, "ranked_right").tuned.value == 1.0
    assert named(found, "ranked_right_per_token").base.value == 1.0
    assert named(found, "margin").base.value == -2.0
    assert named(found, "margin").change.value == 3.0
    assert named(found, "margin_grew").tuned.value == 1.0
    assert found.verdict == "better"
    assert of_pairs(base, tuned, np.arange(12), per_token=True).verdict == "same"
    assert of_pairs(tuned, base, np.arange(12), per_token=False).verdict == "worse"


def test_a_few_pairs_carry_no_verdict() -> None:
    found = of_pairs(measured([-2.0, -1.0] * 5), measured([-1.0, -2.0] * 5), np.arange(5), per_token=False)
    assert found.verdict == "undecided"
    assert "can't carry a verdict" in found.findings[0].text


def test_pairs_of_one_prompt_count_as_one() -> None:
    each = np.random.default_rng(0).normal(size=(20, 1, 2))
    base, tuned = measured([0.0] * 400), measured(np.repeat(each, 10, axis=1).ravel().tolist())
    apart, together = (
        named(of_pairs(base, tuned, prompts, per_token=False), "margin").change
        for prompts in (np.arange(200), np.repeat(np.arange(20), 10))
    )
    assert (apart.n, together.n) == (200, 20)
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(10), rel=0.2)


def test_prompts_are_told_by_their_tokens() -> None:
    def row(prompt: list[int], ending: list[int]) -> Encoded:
        ids = np.array([*prompt, *ending], dtype=np.int32)
        return Encoded(ids, np.arange(len(ids)) >= len(prompt), Source("rows", 1))

    texts = [row([1, 2], [3]), row([1, 2], [4]), row([5], [3]), row([5], [6]), row([1, 2], [7]), row([1, 2], [8])]
    assert prompts_of(texts).tolist() == [0, 1, 0]


def test_good_answers_gain_on_bad_ones() -> None:
    generator = np.random.default_rng(1)
    good = np.arange(200) % 2 == 0
    gains = np.where(good, 2.0, -1.0) + generator.normal(size=200)
    found = of_judged(measured([0.0] * 200), measured(gains.tolist()), good)
    gap = named(found, "gap").tuned
    assert gap.value == pytest.approx(gains[good].mean() - gains[~good].mean())
    error = np.hypot(gains[good].std(ddof=1), gains[~good].std(ddof=1)) / 10
    assert (gap.high - gap.low) / 2 == pytest.approx(1.98 * error, rel=0.1)
    assert found.verdict == "better"
    assert found.detectable["gap_nats"] == pytest.approx((1.984 + 0.845) * error, rel=0.02)
    assert named(found, "moved_right").tuned.value == ((gains > 0) == good).mean()
    assert named(found, "good_logp").tuned.value == pytest.approx(gains[good].mean())
    assert of_judged(measured(gains.tolist()), measured([0.0] * 200), good).verdict == "worse"


def test_without_bad_answers_nothing_is_decided() -> None:
    found = of_judged(measured([0.0] * 20), measured([1.0] * 20), np.ones(20, dtype=bool))
    assert found.verdict == "undecided"
    assert "missing" in found.summary


def test_the_interval_of_the_change_covers_the_truth() -> None:
    """Of 200 sets of 60 pairs, 95 % should hold the true growth of the margin; by chance at least 91 %."""
    generator = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        gains = generator.normal(0.5, 1.0, size=60)
        tuned = np.stack([gains, np.zeros(60)], axis=1).ravel()
        change = named(
            of_pairs(measured([0.0] * 120), measured(tuned.tolist()), np.arange(60), per_token=False), "margin"
        )
        held += change.change.low <= 0.5 <= change.change.high
    assert held >= 182
