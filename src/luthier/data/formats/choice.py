"""`{"question", "choices", "answer"}`: multiple choice, as MMLU, ARC, HellaSwag and their relatives have it.

The choices are a list, ARC's `{"text": […], "label": […]}`, or columns of their own. The answer is a place counted from
0, a letter, a label, the choice itself, or an answer in words. The user sees the question above the choices, each with
its letter; the answer is letter and choice.
"""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

from luthier.core.example import Message
from luthier.core.text import one_line, plural
from luthier.data.formats import completion
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import columns_of, text_of
from luthier.data.readers.json_text import a_kind, parse
from luthier.data.rows import Refusal

QUESTIONS = ("question", "question_stem", "stem", "ctx", "query", "goal", "prompt", "problem")
CHOICES = ("choices", "options", "endings", "candidates")
OWN = (
    ("a", "b", "c", "d", "e"),
    ("option_a", "option_b", "option_c", "option_d", "option_e"),
    ("opa", "opb", "opc", "opd", "ope"),
    ("choice_a", "choice_b", "choice_c", "choice_d", "choice_e"),
    ("choice1", "choice2", "choice3", "choice4", "choice5"),
    ("option1", "option2", "option3", "option4", "option5"),
    ("ending0", "ending1", "ending2", "ending3"),
    ("sol1", "sol2"),
)
"""Columns of their own that choices stand in: at least two, of single letters three."""

CONTEXTS = (*completion.CONTEXTS, "article")
ANSWERS = (
    "answer",
    "answerkey",
    "answer_key",
    "answer_idx",
    "answer_index",
    "correct",
    "correct_answer",
    "label",
    "gold",
    "cop",
    "target",
)

LETTERED = re.compile(r"\s*\(?([A-Za-z0-9])[).:]\s*(?=\S)")
"""How a choice begins that brings its letter."""


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns of question, choices and answer, and of a text they are about."""
    found = columns_of(names, prompt=QUESTIONS, context=CONTEXTS, choices=CHOICES, answer=ANSWERS)
    if not {"prompt", "answer"} <= found.keys():
        return None
    if "choices" in found:
        return found
    own = next((group for group in OWN if names.keys() >= {*group[: 3 if group[0] == "a" else 2]}), ())
    places = {f"choice {name[-1].upper()}": names[name] for name in own if name in names}
    return {**found, **places} if places else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the question with its choices, and the right one as the answer."""
    before = completion.asked(row, columns)
    if isinstance(before, Refusal):
        return before
    choices = _choices(row, columns)
    if isinstance(choices, Refusal):
        return choices
    column = columns["answer"]
    answer = _answer(row[column], choices, counted=column.strip().lower() == "label")
    if answer is None:
        shown = one_line(str(row[column]), 40)
        return Refusal("does_not_fit", f"`{column}` is `{shown}`, none of the {len(choices)} choices")
    above = before[-1].text if before else ""
    below = "\n\n".join(text for text in (above, "\n".join(map(str, choices))) if text.strip())
    return Parts([*before[:-1], Message("user", below), Message("assistant", answer)])


class Choice(NamedTuple):
    """One of several answers, and the letter or number it goes by."""

    label: str
    text: str

    def __str__(self) -> str:
        return f"{self.label}. {self.text}"


def _choices(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Choice] | Refusal:
    own = {part.split()[1]: row[column] for part, column in columns.items() if part.startswith("choice ")}
    value: Any = own or row[columns["choices"]]
    if isinstance(value, str):
        value = parse(value)
    if has_labels(value):
        value = {"label": [one["label"] for one in value], "text": [one["text"] for one in value]}
    labels: Any = None
    if isinstance(value, dict):
        arcs = value.keys() >= {"label", "text"}
        labels, value = (value["label"], value["text"]) if arcs else ([*value], [*value.values()])
    if not isinstance(value, list) or not 2 <= len(value) <= len(ascii_uppercase):
        said = plural(len(value), "choice") if isinstance(value, list) else a_kind(value)
        return Refusal("does_not_fit", f"`{columns.get('choices')}` holds {said}, not a list of choices")
    texts = []
    for one in value:
        text = text_of(one, "a choice")
        if isinstance(text, Refusal):
            return text
        texts.append(text)
    if isinstance(labels, list) and len(labels) == len(texts) and all(isinstance(label, str) for label in labels):
        return [*map(Choice, labels, texts)]
    begins = [begin for text in texts if (begin := LETTERED.match(text))]
    if len({begin[1] for begin in begins}) == len(texts):
        return [Choice(begin[1], text[begin.end() :]) for begin, text in zip(begins, texts, strict=True)]
    return [*map(Choice, ascii_uppercase, texts)]


def has_labels(value: Any) -> bool:
    """Say whether a value is a list of choices that each bring label and text."""
    return isinstance(value, list) and all(isinstance(one, dict) and one.keys() >= {"label", "text"} for one in value)


def _answer(value: Any, choices: Sequence[Choice], *, counted: bool) -> str | None:
    """Return the right choice, or the answer itself where it says more than which.

    Args:
        value: What the row says: a place from 0, a label, a choice, or an answer in words.
        choices: What there is to choose from.
        counted: Whether digits in a text are a place, not a label.
    """
    if isinstance(value, str):
        word = value.strip().removeprefix("(").removesuffix(")")
        digits = word.isdecimal() and word.isascii() and len(word) < 3
        for choice in choices:
            if value.strip() == choice.text.strip() or (
                not (counted and digits) and word.upper() == choice.label.upper()
            ):
                return str(choice)
        if not digits:
            return value if len(word) > 1 else None
        value = int(word)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(choices[value]) if whole and 0 <= value < len(choices) else None
