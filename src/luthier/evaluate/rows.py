"""What held-out rows say one by one: in slices, won and lost, and seen in training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from luthier.core.example import Example, Source
from luthier.core.report import Finding
from luthier.evaluate import contamination, slices
from luthier.evaluate.account import Compared
from luthier.evaluate.held_out import Exam, RowSet, among
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.measure import Likely, Measured
from luthier.evaluate.subject import Told
from luthier.evaluate.wins import wins


@dataclass(frozen=True, slots=True)
class Looked:
    """Every set of rows, looked at once for all models."""

    rows: Sequence[Sequence[Example]]
    """Of each set, in order."""
    parts: Sequence[slices.Slice]
    """Of the held-out rows."""
    missing: Sequence[Finding]
    """Slices that were asked for, and are none."""
    seen: Sequence[Sequence[str]] | None
    """How the rows of each set stand in what was learned; None where nobody says what that was."""


def look(
    sets: Sequence[RowSet],
    exams: Sequence[Exam],
    asked: Literal["auto"] | Sequence[str],
    language: Callable[[Example], str] | None,
    seen: contamination.Seen | None,
) -> Looked:
    """Return what is known of the rows that were measured, or else asked.

    Args:
        sets: The held-out rows, and those of each capability.
        exams: What models did with each.
        asked: The slices, see `slices`.
        language: Tells the language of a row, where something can.
        seen: Says how rows stand in what was learned, where that is known.
    """
    every = [[*among(rows.examples(), _sources(exam))] for rows, exam in zip(sets, exams, strict=True)]
    kinds = None
    if seen is not None:
        flags = iter(seen([row for some in every for row in some]))
        kinds = [[next(flags) for _ in some] for some in every]
    parts = slices.slices(every[0], asked, language)
    return Looked(every, parts, slices.missing(every[0], asked, parts), kinds)


def _sources(exam: Exam) -> tuple[Source, ...]:
    """Return which rows were measured; where nobody tells a likelihood, which were asked."""
    for read in exam.held_out.values():
        return read.conversations
    return tuple(question.example.source for question in exam.questions)


def told(
    looked: Looked,
    found: Compared,
    exam: Exam,
    names: Sequence[tuple[str, Sequence[str]]],
    base: Sequence[Measured],
    tuned: Sequence[Measured],
) -> Iterator[Told]:
    """Yield what the rows add to the report on two models: of likelihood where both read the same tokens.

    Args:
        looked: What is known of the rows.
        found: What the comparison found.
        exam: The held-out rows' questions.
        names: Of the sets of rows, and the files they are from where they are not held back.
        base: What the base did with each.
        tuned: The same of the other.
    """
    likely = [_both(was, now) for was, now in zip(base, tuned, strict=True)]
    sources = [row.source for row in looked.rows[0]]
    place = {source: number for number, source in enumerate(sources)}
    of = [place[question.example.source] for question in exam.questions]
    lines = slices.compared(looked.parts, likely[0], found.answered, of)
    whole = found.paired.verdict if found.paired is not None and likely[0] is not None else None
    why = found.untold or "the two models read other tokens"
    part = slices.report(lines, whole, found.metrics, found.noun, untold=why)
    yield replace(part, findings=(*part.findings, *looked.missing))
    answers = {"base": base[0].answers.texts, "tuned": tuned[0].answers.texts}
    yield wins(sources, exam.questions, likely[0], found.answered, answers)
    if looked.seen is None:
        yield contamination.unknown()
        return
    judged = [
        contamination.Judged(name, kinds, both, files)
        for (name, files), kinds, both in zip(names, looked.seen, likely, strict=True)
    ]
    yield contamination.told(judged, found.paired if likely[0] is not None else None)


def _both(base: Measured, tuned: Measured) -> tuple[RowNll, RowNll] | None:
    """Return how likely both models find each row, where they read the same tokens."""
    was, now = base.likely, tuned.likely
    if isinstance(was, Likely) and isinstance(now, Likely) and was.held_out is now.held_out:
        return was.conversations, now.conversations
    return None
