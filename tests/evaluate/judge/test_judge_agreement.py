"""How far a judge's ratings go with people's."""

import math

import numpy as np
import pytest

from luthier.evaluate.judge.agreement import by_criterion, spearman


def test_spearman_is_that_of_ranks() -> None:
    # Ranks 1 2.5 2.5 4 and 1 2 3 4: sum of products of deviations 4.5, sums of squares 4.5 and 5.
    assert spearman(np.array([1, 3, 3, 9]), np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert spearman(np.array([1.0, 2, 5]), np.array([9.0, 4, 1])) == -1
    assert math.isnan(spearman(np.array([1.0, 1]), np.array([1.0, 2])))


def rated(*pairs: tuple[float, float], name: str = "accuracy") -> dict[str, dict[str, dict[str, float]]]:
    return {f"k{n}": {"base": {name: base}, "tuned": {name: tuned}} for n, (base, tuned) in enumerate(pairs)}


def test_only_what_both_rated_counts() -> None:
    judge = rated((1, 5), (2, 4), (1, 3))
    people = rated((1, 4), (2, 5))
    assert by_criterion(judge, people)["accuracy"].value == pytest.approx(0.8)  # ranks 1 4 2 3 and 1 3 2 4
    assert by_criterion(judge, people)["accuracy"].n == 2
    assert by_criterion(judge, rated((1, 4), name="style")) == {}
    assert by_criterion(judge, {}) == {}
    assert by_criterion(rated((3, 3)), rated((1, 4))) == {}


def test_its_interval_is_over_pairs() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(1, 6, (60, 2))
    judge = rated(*(truth + draw.integers(0, 2, (60, 2))).tolist())
    found = by_criterion(judge, rated(*truth.tolist()))["accuracy"]
    assert found.n == 60
    assert 0.5 < found.low < found.value < found.high <= 1
