"""What a comparison says of two models holds as often as it claims to."""

import itertools
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from luthier.evaluate import contrast as module
from luthier.evaluate.contrast import Contrast, contrast, holm, judged, rows_for
from luthier.evaluate.metrics.metric import Metric, ratio

SHARE = Metric("right", "right answers", lambda *_: np.zeros((0, 2)))


def figures(values: np.ndarray) -> np.ndarray:
    return np.column_stack([values.astype(float), np.ones(len(values))])


@pytest.mark.slow
@pytest.mark.parametrize("rows", [30, 100])
def test_intervals_of_scores_cover_the_truth_and_alarms_are_false_one_time_in_twenty(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RESAMPLES", 400)
    generator = np.random.default_rng(rows)
    covered, false = [], []
    for seed in range(600):
        base, other = generator.beta(0.6, 0.6, (2, rows))
        tuned = np.where(generator.random(rows) < 0.5, base, other)
        found = contrast(SHARE, figures(base), figures(tuned), seed=seed)
        assert found is not None
        covered.append(found.change.low <= 0 <= found.change.high)
        false.append(found.p < 0.05)
    assert 0.93 <= mean(covered) <= 0.97
    assert mean(false) <= 0.075


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_counts_all_tests_together(ps: list[float]) -> None:
    found = holm([*ps, None])
    assert found[-1] is None
    assert all(before <= after <= 1 for before, after in zip(ps, found, strict=False))
    order = sorted(range(len(ps)), key=ps.__getitem__)
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(order))
    if ps:
        assert found[order[0]] == min(1.0, len(ps) * min(ps))


def test_the_same_answers_are_never_called_better() -> None:
    values = np.random.default_rng(0).random(50)
    for rows in (values, values > 0.5):
        found = contrast(SHARE, figures(rows), figures(rows))
        assert found is not None
        assert judged(found, found.p, better=1, percent=True) in ("same", "undecided")


def test_less_is_better_where_the_metric_says_so() -> None:
    base, tuned = figures(np.full(40, 0.8)), figures(np.linspace(0.1, 0.2, 40))
    found = contrast(SHARE, base, tuned)
    assert found is not None
    assert judged(found, found.p, better=-1, percent=True) == "better"
    assert judged(found, found.p, better=1, percent=True) == "worse"


def test_few_rows_get_no_verdict_and_no_rows_nothing() -> None:
    found = contrast(SHARE, figures(np.zeros(9)), figures(np.ones(9)))
    assert found is not None
    assert (found.p, found.detectable, found.change.low) == (None, None, None)
    assert judged(found, None, better=1, percent=True) == "undecided"
    assert contrast(SHARE, np.zeros((5, 2)), np.zeros((5, 2))) is None


@pytest.mark.parametrize("by", [1.0, 0.7])
def test_a_change_of_every_row_is_seen_though_no_resample_differs(by: float) -> None:
    score = Metric("score", "score", lambda *_: np.zeros((0, 2)), percent=False)
    base = np.full(40, 0.1)
    found = contrast(score, figures(base), figures(base + by))
    assert found is not None
    assert (found.change.low, found.detectable) == (None, None)
    assert judged(found, found.p, better=1, percent=False) == "better"
    assert contrast(score, figures(base), figures(base)).p == 1


def test_rows_that_count_for_one_model_only_are_left_out() -> None:
    base, tuned = figures(np.ones(20)), figures(np.ones(20))
    tuned[:5] = 0
    found = contrast(SHARE, base, tuned)
    assert found is not None
    assert found.change.n == 15


def test_a_smaller_change_takes_more_rows_by_its_square() -> None:
    number = module.Number(0.0, 100)
    assert rows_for(Contrast(number, number, number, 1.0, 0.2), 0.05) == 1600
    assert ratio(np.array([[1.0, 2.0]])).tolist() == [0.5]
