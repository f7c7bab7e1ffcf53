"""How much the rows differ from each other, over some of them: texts cost memory, and a sample tells it as well."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from sys import intern

from luthier.core.example import Example

MOST = 1000
"""Rows that are looked at, evenly spread over all. A share of half the rows is then known to three percent."""

WORDS = 20_000
"""Words that n-grams are counted over. Their variety falls with the length of a text, so all data get the same."""

WORD = re.compile(r"\w+")

OPENING_WORDS, OPENING_CHARACTERS = 3, 8
"""What counts as the beginning of a text; the second where nothing separates words, as in Chinese."""


@dataclass(frozen=True, slots=True)
class Common:
    """The beginning that most texts share."""

    text: str
    rows: int


@dataclass(frozen=True, slots=True)
class Diversity:
    """What a sample of rows has in common."""

    rows: int
    """How many were looked at."""
    words: int
    """Words of their answers that were counted."""
    distinct: tuple[float, float, float]
    """Different words, pairs and triples of words, each as a share of all (distinct-n of Li et al., arXiv:1510.03055).
    The first is the type-token ratio."""
    answer: Common
    """How most answers begin."""
    prompt: Common
    """How most prompts begin."""
    systems: int
    """Different system prompts."""
    without_system: int
    """Rows that have none."""
    code: int
    """Rows with a fenced block of code in an answer."""
    several_turns: int
    """Rows in which more than one answer is given."""


def spread(count: int, most: int = MOST) -> int:
    """Return the distance of the rows to look at, so that at most `most` of `count` are."""
    return max(1, -(-count // most))


class Looking:
    """Looks at rows one after another and keeps a few words of each.

    Args:
        rows: How many will come.
    """

    def __init__(self, rows: int) -> None:
        self._room = max(1, WORDS // max(1, rows))
        self._rows = self._code = self._several_turns = 0
        self._answers: Counter[str] = Counter()
        self._prompts: Counter[str] = Counter()
        self._systems: Counter[int] = Counter()
        self._words: list[list[str]] = []

    def look(self, example: Example) -> None:
        """Take in a row."""
        answer = example.messages[-1].text
        prompt = next((message.text for message in example.messages if message.role == "user"), "")
        self._rows += 1
        self._code += "```" in answer
        self._several_turns += sum(message.role == "assistant" for message in example.messages) > 1
        self._answers[opening(answer)] += 1
        self._prompts[opening(prompt)] += 1
        if example.messages[0].role == "system":
            self._systems[hash(example.messages[0].text)] += 1
        found = zip(WORD.finditer(answer), range(self._room), strict=False)
        self._words.append([intern(match.group().lower()) for match, _ in found])

    def diversity(self) -> Diversity:
        """Return what the rows, at least one, have in common."""
        return Diversity(
            rows=self._rows,
            words=sum(map(len, self._words)),
            distinct=(_distinct(self._words, 1), _distinct(self._words, 2), _distinct(self._words, 3)),
            answer=Common(*self._answers.most_common(1)[0]),
            prompt=Common(*self._prompts.most_common(1)[0]),
            systems=len(self._systems),
            without_system=self._rows - self._systems.total(),
            code=self._code,
            several_turns=self._several_turns,
        )


def _distinct(texts: Sequence[Sequence[str]], size: int) -> float:
    grams = [gram for words in texts for gram in zip(*(words[n:] for n in range(size)), strict=False)]
    return round(len({*grams}) / len(grams), 4) if grams else 1.0


def opening(text: str) -> str:
    """Return the first words of a text, in lower case."""
    words = text[:200].lower().split(None, OPENING_WORDS)
    if len(words) == 1 and len(words[0]) > 3 * OPENING_CHARACTERS:  # one word without end
        return words[0][:OPENING_CHARACTERS]
    return " ".join(words[:OPENING_WORDS])
