"""What one subject does with held-out rows: how likely it finds them, and what it answers.

Shapes: R texts, C conversations.
"""
# ruff: noqa: N806 - names end in the letters of their shape

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from luthier.core.errors import Failed
from luthier.core.example import Source
from luthier.evaluate.held_out import Exam, HeldOut
from luthier.evaluate.likelihood import RowNll
from luthier.evaluate.subject import Absent, Answers, Subject


@dataclass(frozen=True, slots=True)
class Likely:
    """How likely one subject finds held-out rows."""

    texts: RowNll
    """Shape (R,) each."""
    conversations: RowNll
    """Summed over the texts of each conversation. Shape (C,) each."""
    every: RowNll | None
    """Of all tokens of each conversation, where that is more than what is learned. Shape (C,) each."""
    held_out: HeldOut
    """The rows, as it reads them."""
    computed: str
    """What computed it."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one subject did."""

    likely: Likely | Absent
    answers: Answers


def measure(subject: Subject, exam: Exam, *, every: bool = False, of: str = "") -> Measured:
    """Return what a subject does with the rows of an exam.

    Args:
        subject: What is open.
        exam: The rows.
        every: Whether to measure all tokens, beside what is learned.
        of: The name of rows that are not the recipe's own.
    """
    return Measured(_likely(subject, exam, every=every, of=of), subject.answers(exam.questions, of=of))


def _likely(subject: Subject, exam: Exam, *, every: bool, of: str) -> Likely | Absent:
    found = subject.likelihood(exam, every=every, of=of)
    if isinstance(found, Absent):
        return found
    assert subject.reading is not None, "who measures tokens has read them"
    held_out = exam.held_out[subject.reading]
    conversations = by_conversation(found.learned, held_out)
    _is_a_number(conversations, subject.name, held_out.conversations)
    whole = None if found.every is None else by_conversation(found.every, held_out)
    return Likely(found.learned, conversations, whole, held_out, found.computed)


def _is_a_number(measured: RowNll, name: str, conversations: Sequence[Source]) -> None:
    wrong = np.flatnonzero(~np.isfinite(measured.nll_R)).tolist()
    if wrong:
        raise Failed(
            f"the loss of the {name} model is not a number on {len(wrong)} of {len(conversations)} conversations",
            hint="train with a smaller `train.learning_rate`, or with `--set train.precision=fp32`",
            place=str(conversations[wrong[0]]),
        )


def by_conversation(texts: RowNll, held_out: HeldOut) -> RowNll:
    """Return the sums over the texts of each conversation."""
    place_R, count = held_out.conversation_of, len(held_out.conversations)
    nll_C, tokens_C = (np.bincount(place_R, weights=values, minlength=count) for values in texts)
    return RowNll(nll_C.astype(np.float64), tokens_C.astype(np.int64))
