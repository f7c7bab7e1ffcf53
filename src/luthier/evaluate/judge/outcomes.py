"""From judgements to numbers: who wins, how surely, and whether place or length decide.

An answer wins a pair only where both orders say so; what changes with the order is a tie (Zheng et al. 2023,
arXiv:2306.05685, section 3.4). Shapes: P pairs, K figures.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from luthier.core.report import Number
from luthier.core.text import one_line
from luthier.evaluate.contrast import Contrast, contrast, holm, judged
from luthier.evaluate.judge.ask import Judged
from luthier.evaluate.judge.questions import Question
from luthier.evaluate.judge.replies import Judgement, Winner
from luthier.evaluate.metrics.metric import Metric, each
from luthier.evaluate.pairs import Pair
from luthier.evaluate.stats import Verdict, ratios, share

LONGEST = 300
"""Characters of a reason that are shown."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the judge says of one pair."""

    pair: Pair
    winner: Winner | None
    """None: unscored."""
    flipped: bool
    """Whether the order decided who won."""
    judgements: tuple[Judgement, ...]
    """Base first, then tuned first; or of base and tuned answer alone. Empty where both models answered the same."""
    missing: str = ""
    """Why it is unscored."""

    def mean(self, whose: str, criterion: str) -> float:
        """Return the mean rating of a model's answer by a criterion."""
        scores = [one.scores[whose][criterion] for one in self.judgements if whose in one.scores]  # type: ignore[index]
        return sum(scores) / len(scores)

    @property
    def reason(self) -> str:
        """Return what the judge gave as its reason, each time it was asked."""
        names = ("base", "tuned") if self.judgements[0].better is None else ("base first", "tuned first")
        return "\n".join(
            f"{name}: {one_line(judgement.reason, LONGEST)}"
            for name, judgement in zip(names, self.judgements, strict=False)
        )


@dataclass(frozen=True, slots=True)
class Criterion:
    """Ratings by one criterion."""

    name: str
    found: Contrast
    p: float | None
    """As it counts among all criteria (Holm)."""
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Tally:
    """All pairs together."""

    outcomes: Sequence[Outcome]
    scored: int
    unscored: Mapping[str, int]
    alike: int
    flipped: int
    counts: Mapping[str, int]
    """Pairs that `tuned` or `base` won, and that are a `tie`."""
    win: Contrast | None
    """Pairs the tuned model won, against those the base won; None where nothing is scored."""
    verdict: Verdict
    criteria: tuple[Criterion, ...]
    first: Number | None
    """How often, of single replies that chose, the answer that stood first was chosen; None where it is never known."""
    longer: Number | None
    """How often, of pairs with a winner, the longer answer won."""

    @property
    def win_rate(self) -> Number | None:
        """Return pairs won by the tuned model, a tie counting half; the interval is that of the difference."""
        if self.win is None:
            return None
        change = self.win.change
        low, high = (None if end is None else (1 + end) / 2 for end in (change.low, change.high))
        return Number((1 + change.value) / 2, change.n, low, high)

    @property
    def decided(self) -> Number | None:
        """Return pairs won by the tuned model, of those with a winner."""
        tuned, base = self.counts["tuned"], self.counts["base"]
        return share(tuned, tuned + base) if tuned + base else None


def outcomes(pairs: Sequence[Pair], questions: Sequence[Question], said: Judged) -> list[Outcome]:
    """Return what becomes of every pair."""
    asked: dict[int, list[int]] = {}
    for place, question in enumerate(questions):
        asked.setdefault(question.pair, []).append(place)
    return [_outcome(pair, asked.get(number, []), said) for number, pair in enumerate(pairs)]


def _outcome(pair: Pair, asked: Sequence[int], said: Judged) -> Outcome:
    if not asked:
        return Outcome(pair, "tie", False, ())
    judgements = tuple(one for place in asked if (one := said.judgements[place]) is not None)
    if len(judgements) < len(asked):
        return Outcome(
            pair, None, False, judgements, next(said.missing[place] for place in asked if place in said.missing)
        )
    found = Outcome(pair, None, False, judgements)
    if judgements[0].better is None:
        return Outcome(pair, _higher(found), False, judgements)
    first, second = (one.better for one in judgements)
    winner: Winner = first if first == second and first is not None else "tie"
    return Outcome(pair, winner, {first, second} == {"base", "tuned"}, judgements)


def _higher(found: Outcome) -> Winner:
    """Return whose ratings sum to more."""
    base, tuned = (
        sum(sum(one.scores[whose].values()) for one in found.judgements if whose in one.scores)
        for whose in ("base", "tuned")
    )
    return "tie" if base == tuned else "tuned" if tuned > base else "base"


def tally(found: Sequence[Outcome], rubric: Mapping[str, str]) -> Tally:
    """Return what all pairs say together."""
    scored = [one for one in found if one.winner is not None]
    rated = [one for one in scored if one.judgements]
    won = Metric("win", "pairs won", each(lambda *_: None))
    win = contrast(won, _won(scored, "base"), _won(scored, "tuned")) if scored else None
    return Tally(
        outcomes=found,
        scored=len(scored),
        unscored=Counter(one.missing for one in found if one.winner is None),
        alike=sum(one.pair.alike for one in scored),
        flipped=sum(one.flipped for one in scored),
        counts={name: sum(one.winner == name for one in scored) for name in ("tuned", "base", "tie")},
        win=win,
        verdict="undecided" if win is None else judged(win, win.p, better=1, percent=True),
        criteria=_criteria(rated, rubric),
        first=_first(rated),
        longer=_longer(scored),
    )


def _won(found: Sequence[Outcome], whose: Winner) -> np.ndarray:
    return np.array([(float(one.winner == whose), 1.0) for one in found])


def _criteria(rated: Sequence[Outcome], rubric: Mapping[str, str]) -> tuple[Criterion, ...]:
    if not rated:
        return ()

    def score(sums: np.ndarray) -> np.ndarray:
        found: np.ndarray = sums[:, 0] / sums[:, 1]
        return found

    metric = Metric("rating", "rating", each(lambda *_: None), score, percent=False)
    # The third figure is nothing: with two, ratings of 1 alone would be taken for right and wrong.
    tables = [
        [np.array([(one.mean(whose, name), 1.0, 0.0) for one in rated]) for whose in ("base", "tuned")]
        for name in rubric
    ]
    contrasts = [contrast(metric, *table) for table in tables]
    known = [one for one in contrasts if one is not None]
    ps = holm([one.p for one in known])
    return tuple(
        Criterion(name, one, p, judged(one, p, better=1, percent=False))
        for name, one, p in zip(rubric, known, ps, strict=True)
    )


def _first(rated: Sequence[Outcome]) -> Number | None:
    """Return how often the answer that stood first was chosen, over replies that chose; rows are resampled whole."""
    firsts, chose = [], []
    for one in rated:
        picks = [
            judgement.better == shown
            for judgement, shown in zip(one.judgements, ("base", "tuned"), strict=True)
            if judgement.better in ("base", "tuned")
        ]
        if picks:
            firsts.append(float(sum(picks)))
            chose.append(float(len(picks)))
    return ratios(np.array([firsts]), np.array(chose))[0] if chose else None


def _longer(scored: Sequence[Outcome]) -> Number | None:
    lengths = [
        (len(one.pair.tuned) > len(one.pair.base)) == (one.winner == "tuned")
        for one in scored
        if one.winner in ("base", "tuned") and len(one.pair.tuned) != len(one.pair.base)
    ]
    return share(sum(lengths), len(lengths)) if lengths else None
