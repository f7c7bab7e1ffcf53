"""Two shares of the same rows: published values, and how often what is said of them holds, counted exactly."""

from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.evaluate.shares import change, detectable, most_lost, power
from luthier.evaluate.stats import mcnemar


def test_the_interval_is_tango_s() -> None:
    # Airway reactivity before and after stem cell transplantation: 1 gained, 7 lost, of 21 (Fagerland, Lydersen & Laake
    # 2014, Statistics in Medicine 33, pages 2850-2875, table VI, turned round).
    found = change(1, 7, 21)
    assert (found.value, found.low, found.high) == pytest.approx((-0.286, -0.517, -0.026), abs=5e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_an_interval_holds_its_value_and_turns_with_the_models(gained: int, lost: int, rest: int) -> None:
    rows = gained + lost + rest
    if not rows:
        return
    there, back = change(gained, lost, rows), change(lost, gained, rows)
    assert -1 <= there.low <= there.value <= there.high <= 1
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-6)


def test_without_a_change_a_share_of_z2_by_n_plus_z2_may_hide() -> None:
    found = change(0, 0, 30)
    assert (found.low, found.high) == pytest.approx((-3.8415 / 33.8415, 3.8415 / 33.8415), abs=1e-4)


@pytest.mark.parametrize("rows", [30, 100, 1000])
@pytest.mark.parametrize(("gained", "lost"), [(0.25, 0.15), (0.2, 0.1), (0.1, 0.1), (0.1, 0.3)])
def test_intervals_cover_the_truth_94_to_96_times_of_100(rows: int, gained: float, lost: float) -> None:
    drawn = np.random.default_rng(rows).multinomial(rows, [gained, lost, 1 - gained - lost], size=4000)
    known = {(up, down): change(up, down, rows) for up, down, _ in {*map(tuple, drawn.tolist())}}
    hits = [known[up, down].low <= gained - lost <= known[up, down].high for up, down, _ in drawn.tolist()]
    assert mean(hits) == pytest.approx(0.95, abs=0.01 + 2 * 0.0034)  # and what 4,000 pairs don't know


@pytest.mark.parametrize(("moved", "rows"), [(0, 30), (9, 30), (20, 200), (60, 200), (150, 1000)])
def test_what_is_called_detectable_mcnemar_s_test_detects_four_times_of_five(moved: int, rows: int) -> None:
    difference = detectable(moved, rows)
    assert difference is not None
    share = max(moved / rows, difference)
    gained, lost = (share + difference) / 2, (share - difference) / 2
    drawn = np.random.default_rng(moved).multinomial(rows, [gained, lost, 1 - share], size=4000)
    found = mean(up > down and mcnemar(up, down) < 0.05 for up, down, _ in drawn.tolist())
    assert found == pytest.approx(0.80, abs=0.03)


def test_fewer_than_six_changes_show_nothing() -> None:
    # 2 · 0.5^5 = 0.0625 and 2 · 0.5^6 = 0.03125.
    assert (most_lost(5), most_lost(6)) == (-1, 0)
    assert power(0.1, 0.1, 10) < 0.001
    assert detectable(3, 9) is None
