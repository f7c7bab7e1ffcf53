"""Metrics of answers that are one of a few words: a class.

An answer is the class it equals once case, punctuation, articles and spaces are evened out, as far as classes stay
apart (`namer`); anything else is no class, and wrong. Classes are those of the expected answers.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from luthier.core.report import Block, Table
from luthier.core.text import one_line
from luthier.evaluate.metrics.metric import Expected, Floats, Metric
from luthier.evaluate.metrics.text import namer
from luthier.recipe.metrics import Classes

SHOWN = 25
"""Classes and confusions that are shown, the most frequent ones."""

NEITHER = "(none of the classes)"


def classes(_: Classes) -> list[Metric]:
    """Return accuracy and the mean of the classes' F1; micro F1 of one class an answer is the accuracy."""
    return [
        Metric(
            "accuracy",
            "answers with the right class",
            _right,
            details=_details,
        ),
        Metric("macro_f1", "F1, mean over classes", _counts, _macro_f1),
    ]


def _named(expected: Sequence[Expected], answers: Sequence[str]) -> tuple[list[str], list[str]]:
    name = namer(want.text for want in expected)
    return [name(want.text) for want in expected], [name(answer) for answer in answers]


def _right(expected: Sequence[Expected], answers: Sequence[str]) -> Floats:
    wanted, got = _named(expected, answers)
    return np.array([(float(a == b), 1.0) for a, b in zip(wanted, got, strict=True)])


def _counts(expected: Sequence[Expected], answers: Sequence[str]) -> Floats:
    """Return rightly found, found and there, for each class: shape (R, 3C)."""
    wanted, got = _named(expected, answers)
    number = {name: place for place, name in enumerate(sorted(set(wanted)))}
    counts = np.zeros((len(wanted), 3, len(number)))
    for row, (want, found) in enumerate(zip(wanted, got, strict=True)):
        counts[row, 2, number[want]] = 1
        if found in number:
            counts[row, 1, number[found]] = 1
            counts[row, 0, number[found]] = want == found
    return counts.reshape(len(wanted), -1)


def _macro_f1(sums: Floats) -> Floats:
    """Return the mean F1 of the classes that are there or were found (scikit-learn's `macro`)."""
    right, found, there = np.moveaxis(sums.reshape(len(sums), 3, -1), 1, 0)
    seen = found + there > 0
    f1 = np.divide(2 * right, found + there, out=np.zeros_like(right), where=seen)
    mean: Floats = f1.sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return mean


def _details(expected: Sequence[Expected], base: Sequence[str], tuned: Sequence[str]) -> tuple[Block, ...]:
    """Return precision, recall and F1 of each class, and what the tuned model takes for what."""
    wanted, before = _named(expected, base)
    columns = {"base": before, "tuned": _named(expected, tuned)[1]}
    names = {name: one_line(want.text.strip(), 40) for name, want in zip(wanted, expected, strict=True)}
    rows = []
    for name, count in Counter(wanted).most_common(SHOWN):
        cells = [names[name], f"{count:,}"]
        for got in columns.values():
            right = sum(a == b == name for a, b in zip(wanted, got, strict=True))
            found = got.count(name)
            cells += [_share(right, found), _share(right, count), _share(2 * right, found + count)]
        rows.append(tuple(cells))
    head = ("class", "rows", *(f"{model} {what}" for model in columns for what in ("precision", "recall", "F1")))
    missed = Counter(
        (names[want], names.get(got, NEITHER))
        for want, got in zip(wanted, columns["tuned"], strict=True)
        if want != got
    )
    taken = tuple((want, got, f"{count:,}") for (want, got), count in missed.most_common(SHOWN))
    blocks: list[Block] = [Table("Classes", head, tuple(rows))]
    if taken:
        blocks.append(Table("What the tuned model takes for what", ("is", "taken for", "rows"), taken))
    return tuple(blocks)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "–"
