"""Classifiers and reward models: numbers by hand and by definition."""

import numpy as np
import pytest

from luthier.evaluate.scores import confusions, macro_f1, of_classes, of_pairs, per_class
from luthier.evaluate.stats import mcnemar, smallest_share

CLASSES = ("card", "loan", "rate")
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
ANSWERS = np.array([0, 0, 0, 1, 1, 0, 0, 1])


def scores_of(answers, classes=3):
    return np.eye(classes)[answers]


def metric(found, name):
    (one,) = (entry for entry in found.metrics if entry["name"] == name)
    return one


def test_precision_recall_and_f1_of_each_class() -> None:
    card, loan, rate = per_class(LABELS, ANSWERS, CLASSES)
    assert (card["n"], card["precision"]["value"], card["recall"]["value"]) == (4, 3 / 5, 3 / 4)
    assert card["f1"] == pytest.approx(2 / 3)
    assert (loan["precision"]["value"], loan["recall"]["value"], loan["f1"]) == (1 / 3, 1 / 2, pytest.approx(0.4))
    assert rate["precision"] is None
    assert (rate["recall"]["value"], rate["f1"]) == (0.0, 0.0)


def test_macro_f1_is_the_mean_over_classes_that_occur() -> None:
    assert macro_f1(LABELS, ANSWERS, 3).value == pytest.approx((2 / 3 + 0.4 + 0) / 3)
    assert macro_f1(LABELS, ANSWERS, 5).value == pytest.approx((2 / 3 + 0.4 + 0) / 3)
    many = macro_f1(np.tile(LABELS, 50), np.tile(ANSWERS, 50), 3)
    assert many.low < many.value < many.high


def test_confusions_come_by_size() -> None:
    labels, answers = np.array([2, 2, 2, 0, 1]), np.array([0, 0, 1, 1, 1])
    assert confusions(labels, answers, CLASSES) == [
        {"class": "rate", "taken_for": "card", "n": 2},
        {"class": "card", "taken_for": "loan", "n": 1},
        {"class": "rate", "taken_for": "loan", "n": 1},
    ]


def test_a_classifier_is_compared_with_the_most_frequent_class() -> None:
    labels = np.repeat([0, 1, 2], [40, 30, 30])
    good = of_classes(scores_of(labels), labels, CLASSES, usual=0)
    assert good.verdict == "better"
    assert (metric(good, "accuracy")["value"], metric(good, "accuracy")["base"]["value"]) == (1.0, 0.4)
    assert metric(good, "macro_f1")["base"]["value"] == pytest.approx(0.8 / 1.4 / 3)
    lazy = of_classes(scores_of(np.zeros(100, dtype=int)), labels, CLASSES, usual=0)
    assert lazy.verdict == "undecided"
    assert any("never found: 2 of 3 classes" in finding.text for finding in lazy.findings)
    bad = of_classes(scores_of((labels + 1) % 3), labels, CLASSES, usual=0)
    assert bad.verdict == "worse"


def test_a_reward_model_is_compared_with_chance() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 50, size=400)
    gaps = generator.normal(0.6, 1.0, size=200)
    scores = np.stack([gaps, np.zeros(200)], axis=1).ravel()
    found = of_pairs(scores, lengths)
    assert metric(found, "accuracy")["value"] == (gaps > 0).mean()
    assert metric(found, "margin")["value"] == pytest.approx(gaps.mean())
    assert found.verdict == "better"
    assert of_pairs(-scores, lengths).verdict == "worse"
    assert of_pairs(np.zeros(400), lengths).verdict == "worse"  # ties rank nothing


def test_a_reward_model_that_may_only_count_tokens_is_told() -> None:
    lengths = np.tile([30, 10], 50)
    found = of_pairs(lengths.astype(float), lengths)
    assert any("length may be all it learned" in finding.text for finding in found.findings)


def test_mcnemars_p_is_the_binomials() -> None:
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(2, 8) == mcnemar(8, 2)
    assert mcnemar(5, 5) == 1.0
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(6000, 5000) < 1e-15


def test_the_smallest_share_that_shows() -> None:
    assert smallest_share(0.5, 100) == pytest.approx(2.8016 * 0.05, rel=1e-3)
    assert smallest_share(0.5, 9) is None
