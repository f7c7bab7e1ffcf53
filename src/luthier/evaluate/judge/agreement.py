"""How far a judge's ratings go with people's: Spearman's rank correlation over the answers that both rated.

Shapes: A answers, P pairs.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from luthier.core.report import Number
from luthier.evaluate.metrics.metric import Floats
from luthier.evaluate.stats import resampled

Ratings = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Mean ratings: by the key of the pair, by model, by criterion."""


def mean_ratings(said: Iterable[tuple[str, Mapping[Any, Mapping[str, float]]]]) -> Ratings:
    """Return the mean of all ratings of each answer: of a judge asked in two orders, of several people.

    Args:
        said: Keys of pairs, and what one reply or person gave: by model, by criterion.
    """
    given: dict[str, dict[str, dict[str, list[float]]]] = {}
    for key, models in said:
        for model, scores in models.items():
            for name, score in scores.items():
                given.setdefault(key, {}).setdefault(model, {}).setdefault(name, []).append(score)
    return {
        key: {model: {name: fmean(ones) for name, ones in scores.items()} for model, scores in models.items()}
        for key, models in given.items()
    }


def spearman(first_A: Floats, second_A: Floats) -> float:
    """Return the correlation of ranks, equal values sharing their mean rank; nan where one side says only one thing.

    Source: Spearman 1904, American Journal of Psychology 15, pages 72-101.
    """
    ranks = [_ranks(values_A) - (len(values_A) + 1) / 2 for values_A in (first_A, second_A)]
    spread = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / spread if spread else math.nan


def _ranks(values_A: Floats) -> Floats:
    ordered_A = np.sort(values_A)
    low, high = (np.searchsorted(ordered_A, values_A, side=side) for side in ("left", "right"))
    found: Floats = (low + high + 1) / 2
    return found


def by_criterion(judge: Ratings, people: Ratings) -> dict[str, Number]:
    """Return the correlation by each criterion that both rated the same pairs by, with its interval over pairs.

    Args:
        judge: What the judge gave.
        people: What people gave, the mean of all who rated an answer.
    """
    names = [*dict.fromkeys(name for models in judge.values() for scores in models.values() for name in scores)]
    found = {}
    for name in names:
        pairs = [key for key in judge if key in people and _both(judge[key], name) and _both(people[key], name)]
        number = _measured(*(_table(ratings, pairs, name) for ratings in (judge, people))) if pairs else None
        if number is not None:
            found[name] = number
    return found


def _both(models: Mapping[str, Mapping[str, float]], name: str) -> bool:
    return all(name in models.get(model, {}) for model in ("base", "tuned"))


def _table(ratings: Ratings, pairs: Sequence[str], name: str) -> Floats:
    return np.array([[ratings[key][model][name] for model in ("base", "tuned")] for key in pairs], dtype=np.float64)


def _measured(judge_P2: Floats, people_P2: Floats) -> Number | None:
    value = spearman(judge_P2.ravel(), people_P2.ravel())
    if math.isnan(value):
        return None

    def again(rows: NDArray[np.int64]) -> float:
        found = spearman(judge_P2[rows].ravel(), people_P2[rows].ravel())
        return value if math.isnan(found) else found

    return resampled(again, len(judge_P2))
