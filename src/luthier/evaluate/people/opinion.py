"""What people's ballots say together, and how far they agree with each other and with a judge.

A pair is one observation, however many looked at it: what several say of it is averaged. Pairs that both models
answered alike were shown to nobody and count as ties.

Shapes: U pairs that somebody chose in, R raters.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from luthier.core.report import Number
from luthier.evaluate.contrast import Contrast, contrast, holm, judged
from luthier.evaluate.metrics.metric import Floats, Metric, each, ratio
from luthier.evaluate.pairs import Pair
from luthier.evaluate.people.agreement import alpha, cohen, fleiss, measured
from luthier.evaluate.people.book import Ballot, Winner
from luthier.evaluate.stats import Verdict, share

WINNERS: tuple[Winner, ...] = ("base", "tie", "tuned")
"""What a pair can end in, in order; a table of choices holds their numbers."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """Ratings by one criterion."""

    name: str
    found: Contrast
    p: float | None
    """As it counts among all criteria (Holm)."""
    verdict: Verdict
    alpha: Number | None
    """Krippendorff's, of the ratings as numbers."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """All ballots together."""

    pairs: int
    """Pairs that count: looked at by somebody, or answered alike."""
    alike: int
    raters: Mapping[str, int]
    """How many pairs each person chose in."""
    skipped: int
    counts: Mapping[str, int]
    """Single choices for `tuned`, `base` and `tie`."""
    win: Contrast | None
    """Share of the people who prefer each model, averaged over pairs; None where nobody chose."""
    verdict: Verdict
    criteria: tuple[Criterion, ...]
    agreement: Mapping[str, Number | None]
    """By measure; None where it does not apply or there is nothing to agree about."""
    judge: Mapping[str, Number | None] | None
    """Agreement of the pair's majority with a judge: `share` and `kappa`; None where there was none."""
    ratings: Mapping[str, Number] = field(default_factory=dict)
    """Rank correlation of ratings with a judge's, by criterion."""

    @property
    def win_rate(self) -> Number | None:
        """Return the share of people for the tuned model, a tie counting half; the interval is the difference's."""
        if self.win is None:
            return None
        change = self.win.change
        low, high = (None if end is None else (1 + end) / 2 for end in (change.low, change.high))
        return Number((1 + change.value) / 2, change.n, low, high)


def opinion(pairs: Sequence[Pair], ballots: Sequence[Ballot], judge: Mapping[str, Winner] | None = None) -> Opinion:
    """Return what ballots say together.

    Args:
        pairs: Those that were to be looked at.
        ballots: What people said; of other pairs it is passed over.
        judge: Which model a judge prefers, by the key of the pair.
    """
    known = {pair.key for pair in pairs if not pair.alike}
    said = [one for one in ballots if one.key in known]
    chosen = [one for one in said if one.winner is not None]
    keys, raters = sorted({one.key for one in chosen}), sorted({one.rater for one in chosen})
    alike = sum(pair.alike for pair in pairs)
    winners_UR = _table(keys, raters, {(one.key, one.rater): _number(one.winner) for one in chosen})
    win = _win(winners_UR, alike) if chosen else None
    return Opinion(
        pairs=len(keys) + alike,
        alike=alike,
        raters=Counter(one.rater for one in chosen),
        skipped=len(said) - len(chosen),
        counts=Counter(str(one.winner) for one in chosen),
        win=win,
        verdict="undecided" if win is None else judged(win, win.p, better=1, percent=True),
        criteria=tuple(_criteria(chosen, keys, raters)),
        agreement=_agreement(winners_UR),
        judge=_with_judge(dict(zip(keys, winners_UR, strict=True)), judge) if judge else None,
    )


def _number(winner: Winner | None) -> float:
    return float(WINNERS.index(winner)) if winner else np.nan


def _table(keys: Sequence[str], raters: Sequence[str], values: Mapping[tuple[str, str], float]) -> Floats:
    """Return a table of shape (U, R); nan where nothing was said."""
    return np.array([[values.get((key, rater), np.nan) for rater in raters] for key in keys]).reshape(
        len(keys), len(raters)
    )


def _win(winners_UR: Floats, alike: int) -> Contrast | None:
    """Return how many of the people prefer each model, pair by pair."""
    people_U = (~np.isnan(winners_UR)).sum(axis=1)
    tables = [
        np.concatenate([(winners_UR == _number(name)).sum(axis=1) / people_U, np.zeros(alike)])
        for name in ("base", "tuned")
    ]
    metric = Metric("win", "preferred", each(lambda *_: None))
    return contrast(metric, *(np.stack([table, np.ones(len(table))], axis=1) for table in tables))


def _criteria(chosen: Sequence[Ballot], keys: Sequence[str], raters: Sequence[str]) -> Iterator[Criterion]:
    names = list(dict.fromkeys(name for one in chosen for scores in one.scores.values() for name in scores))
    metric = Metric("rating", "rating", each(lambda *_: None), ratio, percent=False)
    found = []
    for name in names:
        given = {
            model: {
                (one.key, one.rater): float(one.scores[model][name])
                for one in chosen
                if name in one.scores.get(model, {})
            }
            for model in ("base", "tuned")
        }
        rated = [key for key in keys if any((key, rater) in given["base"] for rater in raters)]
        tables = [_table(rated, raters, given[model]) for model in ("base", "tuned")]
        # The third figure is nothing: with two, ratings of 1 alone would be taken for right and wrong.
        figures = [
            np.stack([np.nanmean(table_UR, axis=1), np.ones(len(rated)), np.zeros(len(rated))], axis=1)
            for table_UR in tables
        ]
        compared = contrast(metric, *figures)
        if compared is not None:
            agreed = measured(lambda values_UR: alpha(values_UR, nominal=False), np.concatenate(tables))
            found.append((name, compared, agreed))
    ps = holm([compared.p for _, compared, _ in found])
    for (name, compared, agreed), p in zip(found, ps, strict=True):
        yield Criterion(name, compared, p, judged(compared, p, better=1, percent=False), agreed)


def _agreement(winners_UR: Floats) -> dict[str, Number | None]:
    """Return the measures that fit: kappa of pairs that everybody looked at, alpha of all that two did."""
    raters = winners_UR.shape[1]
    whole_UR = winners_UR[~np.isnan(winners_UR).any(axis=1)]
    shared_UR = winners_UR[(~np.isnan(winners_UR)).sum(axis=1) > 1]
    found: dict[str, Number | None] = {}
    if raters > 1:
        found["krippendorff_alpha"] = measured(lambda values_UR: alpha(values_UR, nominal=True), shared_UR)
        found["cohen_kappa" if raters == 2 else "fleiss_kappa"] = measured(cohen if raters == 2 else fleiss, whole_UR)
    return found


def _with_judge(winners: Mapping[str, Floats], judge: Mapping[str, Winner]) -> dict[str, Number | None]:
    """Return how often most people say what the judge says; where no winner has most, they say it is a tie."""
    both = [(_majority(winners_R), _number(judge[key])) for key, winners_R in winners.items() if key in judge]
    if not both:
        return {"share": None, "kappa": None}
    table_U2 = np.array(both)
    agreed = int((table_U2[:, 0] == table_U2[:, 1]).sum())
    return {"share": share(agreed, len(both)), "kappa": measured(cohen, table_U2)}


def _majority(winners_R: Floats) -> float:
    said = winners_R[~np.isnan(winners_R)]
    names, counts = np.unique(said, return_counts=True)
    return float(names[counts.argmax()]) if counts.max() * 2 > len(said) else _number("tie")
