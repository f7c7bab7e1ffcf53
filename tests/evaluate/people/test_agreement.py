import math

import numpy as np
import pytest

from luthier.evaluate.people.agreement import alpha, cohen, fleiss, measured

N = math.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T
"""Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, section D: 12 units, 4 observers."""

FLEISS = [
    *([0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1]),
    *([7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]),
]
"""How many of 14 raters put each of ten subjects into each of five categories; kappa is 0.210."""


def test_alpha_is_that_of_its_author() -> None:
    assert alpha(KRIPPENDORFF, nominal=True) == pytest.approx(0.743, abs=5e-4)
    assert alpha(KRIPPENDORFF, nominal=False) == pytest.approx(0.849, abs=5e-4)


def test_cohens_kappa_of_a_table_by_hand() -> None:
    both = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert cohen(np.array(both, dtype=float)) == pytest.approx(0.4)  # (0.7 - 0.5) / (1 - 0.5)


def test_fleiss_kappa_of_ten_subjects() -> None:
    rows = [[name for name, count in enumerate(counts) for _ in range(count)] for counts in FLEISS]
    assert fleiss(np.array(rows, dtype=float)) == pytest.approx(0.210, abs=5e-4)


def test_full_agreement_is_one_and_what_never_differs_has_no_number() -> None:
    both = np.array([[0.0, 0.0], [2.0, 2.0]] * 10)
    assert (alpha(both, nominal=True), alpha(both, nominal=False), cohen(both), fleiss(both)) == (1, 1, 1, 1)
    alike = np.ones((12, 2))
    assert [measured(of, alike) for of in (cohen, fleiss)] == [None, None]
    assert math.isnan(alpha(alike, nominal=True))
    assert math.isnan(alpha(np.array([[1.0, N]]), nominal=True))


def test_agreement_by_chance_is_nothing_within_its_interval() -> None:
    found = measured(cohen, np.random.default_rng(0).integers(3, size=(200, 2)).astype(float))
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0 < found.high
    assert found.high - found.low < 0.3
