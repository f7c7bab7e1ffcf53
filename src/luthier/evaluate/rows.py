"""What held-out rows say one by one: in slices, won and lost, and seen in training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from luthier.core.example import Example
from luthier.evaluate import contamination, slices
from luthier.evaluate.account import Compared
from luthier.evaluate.held_out import Exam, RowSet, among
from luthier.evaluate.measure import Likely, Measured
from luthier.evaluate.subject import Told
from luthier.evaluate.wins import wins


@dataclass(frozen=True, slots=True)
class Looked:
    """Every set of rows, looked at once for all models."""

    parts: Sequence[slices.Slice]
    """Of the held-out rows."""
    seen: Sequence[Sequence[str]] | None
    """How the rows of each set stand in what was learned; None where nobody says what that was."""


def look(
    sets: Sequence[RowSet],
    base: Sequence[Measured],
    asked: Literal["auto"] | Sequence[str],
    language: Callable[[Example], str] | None,
    seen: contamination.Seen | None,
) -> Looked | None:
    """Return what is known of the rows; None where the base tells no likelihood, so that none was measured.

    Args:
        sets: The held-out rows, and those of each capability.
        base: What the base did with each.
        asked: The slices, see `slices`.
        language: Tells the language of a row, where something can.
        seen: Says how rows stand in what was learned, where that is known.
    """
    every = []
    for rows, measured in zip(sets, base, strict=True):
        if not isinstance(measured.likely, Likely):
            return None
        every.append([*among(rows.examples(), measured.likely.held_out.conversations)])
    kinds = None
    if seen is not None:
        flags = iter(seen([row for some in every for row in some]))
        kinds = [[next(flags) for _ in some] for some in every]
    return Looked(slices.slices(every[0], asked, language), kinds)


def told(
    looked: Looked | None,
    found: Compared,
    exam: Exam,
    names: Sequence[str],
    base: Sequence[Measured],
    tuned: Sequence[Measured],
) -> Iterator[Told]:
    """Yield what the rows add to the report on two models with the same tokens; of others they say nothing.

    Args:
        looked: What is known of the rows.
        found: What the comparison found.
        exam: The held-out rows' questions.
        names: Of the sets of rows.
        base: What the base did with each.
        tuned: The same of the other.
    """
    pairs = [(was.likely, now.likely) for was, now in zip(base, tuned, strict=True)]
    likely = [(was, now) for was, now in pairs if isinstance(was, Likely) and isinstance(now, Likely)]
    if (
        looked is None
        or found.paired is None
        or len(likely) < len(pairs)
        or likely[0][0].held_out is not likely[0][1].held_out
    ):
        return
    before, after = (one.conversations for one in likely[0])
    conversations = likely[0][0].held_out.conversations
    place = {source: number for number, source in enumerate(conversations)}
    of = [place[question.example.source] for question in exam.questions]
    lines = slices.compared(looked.parts, before, after, found.answered, of)
    yield slices.report(lines, found.paired.verdict, found.metrics, found.noun)
    answers = {"base": base[0].answers.texts, "tuned": tuned[0].answers.texts}
    yield wins(conversations, exam.questions, before, after, found.answered, answers)
    if looked.seen is None:
        yield contamination.unknown()
        return
    judged = [
        contamination.Judged(name, kinds, was.conversations, now.conversations)
        for name, kinds, (was, now) in zip(names, looked.seen, likely, strict=True)
    ]
    yield contamination.told(judged, found.paired)
