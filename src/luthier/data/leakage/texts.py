"""Items to the texts that are looked for: each different one once, those too short to mean anything left out."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from luthier.data.leakage.evaluations import Evaluation
from luthier.data.leakage.items import Item, Part
from luthier.data.leakage.words import CHUNK, Words, words

LEAST = 5
"""Words a text must have to be looked for. A character of a script without spaces counts as half a word."""

ALIKE = 2
"""Items of a file that may ask the same in fewer words than a run has; if more do ("Which of these is true?"), the
choices are part of the question."""

MANY = 10
"""Items of a file that may have the same words; if more have, something else tells them apart, such as brackets."""


LONGEST = 1 << 20
"""Characters of a text that are looked for: half a book. The numbers that are made of them grow with the longest."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text to look for."""

    words: str
    """Its words with a space between: one string takes less memory than many."""
    part: Part
    code: bool
    items: list[int] = field(default_factory=list)
    """The items whose question or answer it is, by number over all files."""
    files: set[int] = field(default_factory=set)


class Spelled(NamedTuple):
    """The words of a text."""

    words: str
    """With a space between."""
    weight: float
    """How many they count for."""


def portions(texts: Sequence[str]) -> Iterator[Words]:
    """Yield the words of texts, some texts at a time; of one longer than `LONGEST`, only of its beginning."""
    texts = [text[:LONGEST] for text in texts]
    size, first = 0, 0
    for last, text in enumerate(texts):
        if size and size + len(text) > CHUNK:
            yield words(texts[first:last])
            size, first = 0, last
        size += len(text)
    if first < len(texts):
        yield words(texts[first:])


def texts_of(evaluations: Sequence[Evaluation], *, ngram: int) -> tuple[list[Text], set[int]]:
    """Return the texts to look for, and the numbers of the items that have no words of their own, or too few.

    The question is looked for; the answer too where it has at least `ngram` words, or twice as many if it is code:
    shorter ones are said by everybody.
    """
    items = [(file, item) for file, evaluation in enumerate(evaluations) for item in evaluation.items]
    found: dict[tuple[Part, str], Text] = {}

    def add(number: int, part: Part, spelled: str) -> None:
        file, item = items[number]
        text = found.setdefault((part, spelled), Text(spelled, part, part in item.code))
        text.items.append(number)
        text.files.add(file)

    questions = _questions(items, ngram)
    same = _different(items, questions, lambda item: (item.question, item.below))
    unchecked = set()
    for number, (spelled, weight) in enumerate(questions):
        if weight < LEAST or same[items[number][0], spelled] > MANY:
            unchecked.add(number)
        else:
            add(number, "question", spelled)
    for number, (spelled, _) in enumerate(_spelled([item.answer for _, item in items])):
        if spelled.count(" ") + 1 >= ngram * (2 if "answer" in items[number][1].code else 1):
            add(number, "answer", spelled)
            unchecked.discard(number)
    return [*found.values()], unchecked


def _questions(items: Sequence[tuple[int, Item]], ngram: int) -> list[Spelled]:
    """Return the words of each question, with what stands below it where that is needed to tell it from others."""
    questions = _spelled([item.question for _, item in items])
    asked = _different(items, questions, lambda item: item.below)
    vague = [
        number
        for number, ((file, _), (spelled, weight)) in enumerate(zip(items, questions, strict=True))
        if weight < LEAST or asked[file, spelled] > (ALIKE if weight < ngram else MANY)
    ]
    longer = _spelled([f"{item.question}\n{item.below}" for _, item in (items[number] for number in vague)])
    for number, question in zip(vague, longer, strict=True):
        questions[number] = question
    return questions


def _different(
    items: Sequence[tuple[int, Item]], questions: Sequence[Spelled], by: Callable[[Item], object]
) -> Counter[tuple[int, str]]:
    """Return how many items of a file have questions of the same words and differ by something."""
    pairs = zip(items, questions, strict=True)
    return Counter(
        (file, spelled) for file, spelled, _ in {(file, said.words, by(item)) for (file, item), said in pairs}
    )


def _spelled(texts: Sequence[str]) -> list[Spelled]:
    """Return the words of each text, and how many they count for."""
    spelled = []
    for found in portions(texts):
        ends = np.searchsorted(found.row, np.arange(found.rows), side="right").tolist()
        for first, last in zip([0, *ends], ends, strict=False):
            weight = last - first - found.alone[first:last].sum() / 2
            spelled.append(Spelled(" ".join(found.spelled(first, last)), float(weight)))
    return spelled
