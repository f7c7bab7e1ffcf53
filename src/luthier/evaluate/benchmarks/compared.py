"""What both models scored: each measure of each benchmark with its interval, and how it changed, item by item.

Shapes: R items.
"""
# ruff: noqa: N803, N806 - names end in the letters of their shape

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from lm_eval.api.group import Group

from luthier.core.report import Number
from luthier.evaluate.benchmarks.problems import Code
from luthier.evaluate.benchmarks.run import MAIN, Answer
from luthier.evaluate.benchmarks.tasks import Ready, Suite
from luthier.evaluate.contrast import Contrast, contrast, holm, judged
from luthier.evaluate.metrics.metric import Floats, Metric
from luthier.evaluate.stats import FEWEST, Verdict, outside
from luthier.recipe.benchmarks import Benchmark

RESAMPLES = 500
"""Of scores that are no mean, such as BLEU or F1 over all items: each takes as long as the score itself."""

Answered = Mapping[str, Sequence[Answer]]
"""What a model answered, by task."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One measure of one benchmark."""

    asked: Benchmark
    """What the user asked for that it is of."""
    task: str
    metric: str
    part_of: str
    """The group whose score it is part of; empty where the user asked for it."""
    shots: int
    items: int
    of: int
    """How many items there are."""
    percent: bool
    better: int
    """Whether more is better (1) or worse (−1)."""
    found: Contrast
    main: bool
    """Whether it is the measure the task is known by."""
    p: float | None = None
    """As it counts among all measures told together (Holm)."""
    verdict: Verdict = "undecided"

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the report's `benchmarks`."""
        numbers = {name: getattr(self.found, name).as_dict() for name in ("base", "tuned", "change")}
        return {
            "task": self.task,
            "part_of": self.part_of or None,
            "metric": self.metric,
            "shots": self.shots,
            "chat": self.asked.chat,
            "items": self.items,
            "of": self.of,
            **numbers,
            "p": self.p,
            "verdict": self.verdict,
            "detectable": self.found.detectable,
        }


def scored(suites: Sequence[Suite], base: Answered, others: Sequence[Answered]) -> list[list[Scored]]:
    """Return of each model every measure of every benchmark: those asked for, each followed by its parts.

    Verdicts count those of all models together, parts of groups apart.
    """
    every = [[one for suite in suites for one in _of_suite(suite, base, other)] for other in others]
    asked = iter(_judged([one for found in every for one in found if not one.part_of]))
    parts = iter(_judged([one for found in every for one in found if one.part_of]))
    return [[next(parts) if one.part_of else next(asked) for one in found] for found in every]


def _judged(found: Sequence[Scored]) -> Iterator[Scored]:
    for one, p in zip(found, holm([one.found.p for one in found]), strict=True):
        yield replace(one, p=p, verdict=judged(one.found, p, better=one.better, percent=one.percent))


def _of_suite(suite: Suite, base: Answered, tuned: Answered) -> Iterator[Scored]:
    if suite.group is None:
        for one in suite.tasks:
            yield from of_task(one, base, tuned)
        return
    ready = {one.leaf.name: one for one in suite.tasks if isinstance(one, Ready)}
    for top in _tops(suite.group):
        if isinstance(top, Group):
            whole = suite.asked.calls(top.name)
            yield from _of_group(top, ready, base, tuned, "")
            for below in top.get_all_groups():
                yield from _of_group(below, ready, base, tuned, whole)
            for task in top.get_all_tasks():
                yield from of_task(ready[task.task_name], base, tuned, whole)
        else:
            yield from of_task(ready[top.task_name], base, tuned)


def _tops(group: Group) -> Iterator[Any]:
    """Yield the group if it has a score of its own, else what it consists of."""
    if group.aggregate_metric_list:
        yield group
        return
    for child in group:
        if isinstance(child, Group):
            yield from _tops(child)
        else:
            yield child


def of_task(one: Ready | Code, base: Answered, tuned: Answered, part_of: str = "") -> Iterator[Scored]:
    """Yield every measure of one task."""
    before, after = base[one.name], tuned[one.name]
    for number, measure in enumerate(before[0].scores):
        values = [[answer.scores[measure] for answer in answers] for answers in (before, after)]
        name = measure.partition(",")[0]
        whole = one.whole(name)
        if whole is None:
            compared = contrast(_mean(name), *(_weighed(column, [1.0] * len(column)) for column in values))
        else:
            compared = _whole(whole, *values, seed=one.asked.seed)
        if compared is None:
            continue
        yield Scored(
            asked=one.asked,
            task=one.name,
            metric=measure,
            part_of=part_of,
            shots=one.shots,
            items=len(one.chosen),
            of=one.of,
            percent=whole is None and _shares(values),
            better=one.better(name),
            found=compared,
            main=number == 0,
        )


def _of_group(
    group: Group, ready: Mapping[str, Ready], base: Answered, tuned: Answered, part_of: str
) -> Iterator[Scored]:
    """Yield the scores of a group, as the harness makes them: the mean over items, or over tasks."""
    members = [ready[task.task_name] for task in group.get_all_tasks()]
    for number, (measure, by_size) in enumerate(_measures(group, members, base)):
        those = [one for one in members if measure in base[one.name][0].scores]
        weights = [1.0 if by_size else 1 / len(one.chosen) for one in those for _ in one.chosen]
        values = [[item.scores[measure] for one in those for item in answers[one.name]] for answers in (base, tuned)]
        name = measure.partition(",")[0]
        compared = contrast(_mean(name), *(_weighed(column, weights) for column in values))
        if compared is not None:
            yield Scored(
                asked=members[0].asked,
                task=members[0].asked.calls(group.name),
                metric=measure,
                part_of=part_of,
                shots=max(one.shots for one in those),
                items=len(weights),
                of=sum(one.of for one in those),
                percent=_shares(values),
                better=those[0].better(name),
                found=compared,
                main=number == 0,
            )


def _measures(group: Group, members: Sequence[Ready], base: Answered) -> Iterator[tuple[str, bool]]:
    """Yield the measures a group has a score of, each with whether every item weighs the same."""
    there = dict.fromkeys(measure for one in members for measure in base[one.name][0].scores)
    for asked in group.aggregate_metric_list or ():
        for measure in there:
            name, _, kind = measure.partition(",")
            if name == asked.metric and (asked.filter_list is None or (kind or MAIN) in asked.filter_list):
                yield measure, asked.weight_by_size


def _shares(values: Sequence[Sequence[float]]) -> bool:
    """Say whether every value is a share, or right or wrong."""
    return all(0 <= value <= 1 for column in values for value in column)


def _weighed(values: Sequence[float], weights: Sequence[float]) -> Floats:
    """Return the figures of a mean: shape (R, 2)."""
    found: Floats = np.stack([np.multiply(values, weights), weights], axis=1).astype(np.float64)
    return found


def _mean(name: str) -> Metric:
    return Metric(name, name, lambda _expected, _answers: np.empty((0, 2)))


def _whole(
    aggregate: Callable[[list[Any]], float], base: Sequence[Any], tuned: Sequence[Any], *, seed: int
) -> Contrast | None:
    """Return how a score that is made of all items at once compares: by resampling items of both, and by exchanging.

    Intervals are the expanded percentile bootstrap (`stats`), the test as in `contrast`.
    """
    rows = len(base)
    before, after = float(aggregate([*base])), float(aggregate([*tuned]))
    if rows < FEWEST:
        return Contrast(Number(before, rows), Number(after, rows), Number(after - before, rows), None, None)
    generator = np.random.Generator(np.random.Philox(key=seed))
    drawn = []
    reached = 0
    for _ in range(RESAMPLES):
        places = generator.integers(rows, size=rows)
        drawn.append([float(aggregate([column[place] for place in places])) for column in (base, tuned)])
        moved = generator.integers(2, size=rows)
        one, other = (
            [pair[int(move) ^ side] for pair, move in zip(zip(base, tuned, strict=True), moved, strict=True)]
            for side in (0, 1)
        )
        reached += abs(float(aggregate(other)) - float(aggregate(one))) >= abs(after - before) - 1e-12
    base_S, tuned_S = np.array(drawn, dtype=np.float64).T
    return Contrast(
        _interval(before, base_S, rows),
        _interval(after, tuned_S, rows),
        _interval(after - before, tuned_S - base_S, rows),
        (1 + reached) / (1 + RESAMPLES),
        None,
    )


def _interval(value: float, drawn_S: Floats, rows: int) -> Number:
    low, high = np.quantile(drawn_S, [outside(rows), 1 - outside(rows)])
    return Number(value, rows, float(min(low, value)), float(max(high, value)))
