"""Which metrics fit the answers that are expected, where nobody named any."""

import importlib.util
import re
from collections.abc import Sequence
from statistics import median

from luthier.evaluate.metrics.metric import Expected
from luthier.evaluate.metrics.structure import read
from luthier.evaluate.metrics.text import NUMBER, namer, number_in
from luthier.recipe.metrics import (
    Chrf,
    Classes,
    ExactMatch,
    Json,
    LastNumber,
    Metric,
    Repetition,
    Rouge,
    TokenF1,
    ToolCalls,
)

MOST = 0.9
"""Share of the answers that must be of a kind."""

SHORT = 10
"""Words up to which an answer is a fact rather than a text: exact matches are to be expected."""

WORDS_OF_A_CLASS = 6

UNSPACED = re.compile("[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
"""A sign of a script without spaces, from Thai to Chinese; two make about a word."""

ROWS_A_CLASS = 3
"""Rows for each different answer, on average, from which on answers are classes."""


def chosen(expected: Sequence[Expected]) -> tuple[tuple[Metric, ...], str]:
    """Return the metrics for these answers, and why, in words."""
    found, why = _of_kind(expected)
    missing = [m.needs[0] for m in found if m.needs and importlib.util.find_spec(m.needs[0]) is None]
    if missing:
        found = tuple(m for m in found if not m.needs or m.needs[0] not in missing)
        why += "; `pip install 'luthier[metrics]'` would add chrF and ROUGE"
    return (*found, Repetition()), why


def _of_kind(expected: Sequence[Expected]) -> tuple[tuple[Metric, ...], str]:
    speaking = [want for want in expected if not want.calls]
    if _most([bool(want.calls) for want in expected]):
        return (ToolCalls(),), "answers call functions"
    if len(speaking) < len(expected):
        found, why = _of_kind(speaking)
        many = 2 * len(speaking) > len(expected)
        both = (*found, ToolCalls()) if many else (ToolCalls(), *found)
        return both, f"some answers call functions; of the others, {why}"
    texts = [want.text for want in expected]
    if _most([isinstance(read(text), dict | list) for text in texts]):
        return (Json(),), "answers are JSON"
    words = median(_words(text) for text in texts)
    different = len({*map(namer(texts), texts)})
    if words <= WORDS_OF_A_CLASS and 1 < different <= len(texts) / ROWS_A_CLASS:
        return (Classes(),), "answers are one of a few"
    if _most([NUMBER.fullmatch(text.strip()) is not None for text in texts]):
        return (LastNumber(),), "answers are numbers"
    if words <= SHORT:
        return (ExactMatch(), TokenF1(), Chrf()), "answers are short"
    # A text whose last line is little more than a number: a worked sum.
    ends = [text.rstrip().rsplit("\n", 1)[-1] for text in texts]
    if _most([_words(end) <= SHORT and number_in(end) is not None for end in ends]):
        return (LastNumber(), Chrf()), "answers end with a number"
    if _most([_is_latin(text) for text in texts]):
        return (Chrf(), Rouge()), "answers are texts"
    return (Chrf(),), "answers are texts, and not in Latin letters, the only ones ROUGE knows"


def _words(text: str) -> int:
    return len(text.split()) + len(UNSPACED.findall(text)) // 2


def _is_latin(text: str) -> bool:
    letters = [sign for sign in text if sign.isalpha()]
    return 2 * sum(sign.isascii() for sign in letters) >= len(letters)


def _most(flags: Sequence[bool]) -> bool:
    return sum(flags) >= MOST * len(flags)
