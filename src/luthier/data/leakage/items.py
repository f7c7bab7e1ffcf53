"""Rows of test sets to items: what is asked, and what would be the right answer.

The layouts in which well-known test sets are published are found by their columns; anything else that luthier reads
as data will do too, its prompts being the questions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from luthier.core.example import Example, Source
from luthier.data.convert import Converter
from luthier.data.rows import RawRow
from luthier.recipe.data import Data
from luthier.recipe.methods import Rows

Part = Literal["question", "answer"]
Row = Mapping[str, Any]
Make = Callable[[Row, Source], "Item"]


class Item(NamedTuple):
    """One question of a test."""

    source: Source
    question: str
    answer: str = ""
    """The right answer, as far as the file tells."""
    below: str = ""
    """What stands below the question: choices, or the answer. It tells apart questions that are short or alike."""
    code: frozenset[Part] = frozenset()
    """Which parts are programs: there, long runs of words mean less."""


def _asked(question: str, answer: str, *code: Part) -> Make:
    def make(row: Row, source: Source) -> Item:
        right = _text(row[answer])
        return Item(source, _text(row[question]), right, right, frozenset(code))

    return make


def _chosen(question: str, choices: str, answer: str) -> Make:
    def make(row: Row, source: Source) -> Item:
        texts, labels = _choices(row[choices])
        return Item(source, _text(row[question]), _right(texts, labels, row.get(answer)), "\n".join(texts))

    return make


def _targets(row: Row, source: Source) -> Item:
    """TruthfulQA's choices: `{choice: 1 if right}`, or lists of choices and of such numbers."""
    targets = row["mc1_targets"]
    if isinstance(targets, Mapping) and "choices" not in targets:
        targets = {"choices": [*targets], "labels": [*targets.values()]}
    texts, labels = _choices(targets)
    return Item(source, _text(row["question"]), _right(texts, labels, 1), "\n".join(texts))


LAYOUTS: tuple[tuple[tuple[str, ...], Make], ...] = (
    (("prompt", "canonical_solution"), _asked("prompt", "canonical_solution", "question", "answer")),  # HumanEval
    (("text", "code", "test_list"), _asked("text", "code", "answer")),  # MBPP
    (("prompt", "code", "test_list"), _asked("prompt", "code", "answer")),  # MBPP, sanitised
    (("question", "best answer"), _asked("question", "best answer")),  # TruthfulQA
    (("question", "best_answer"), _asked("question", "best_answer")),
    (("question", "mc1_targets"), _targets),
    (("ctx", "endings"), _chosen("ctx", "endings", "label")),  # HellaSwag
    (("question", "choices", "answerkey"), _chosen("question", "choices", "answerkey")),  # ARC
    (("question", "choices"), _chosen("question", "choices", "answer")),  # MMLU
    (("question", "options"), _chosen("question", "options", "answer")),  # MMLU-Pro
    (("input", "target"), _asked("input", "target")),  # BBH
    (("question", "answer"), _asked("question", "answer")),  # GSM8K
)
"""Columns that tell a layout, and what makes an item of a row. The first whose columns are there counts."""

KINDS: tuple[Rows, ...] = ("conversation", "class", "text")
"""As what rows are read that have no layout of a test set."""


class Recogniser:
    """Makes items of rows.

    Args:
        fields: Columns whose texts are the questions, where the user named them.
    """

    def __init__(self, fields: Sequence[str] = ()) -> None:
        self.fields = fields
        self._converters = [Converter(Data(sources=("-",)), kind) for kind in KINDS]

    def items(self, raw: RawRow) -> list[Item]:
        """Return the items of a row: none when it isn't understood, several when several columns were named."""
        if self.fields:
            return [Item(raw.source, _text(raw.row[field])) for field in self.fields if raw.row.get(field)]
        row = {name.strip().lower(): value for name, value in raw.row.items()}
        for columns, make in LAYOUTS:
            if row.keys() >= {*columns}:
                return [make(row, raw.source)]
        examples = (converter.convert(raw) for converter in self._converters)
        example = next((example for example in examples if isinstance(example, Example)), None)
        return [_of_example(example)] if example else []

    def knows(self, columns: Sequence[str]) -> bool:
        """Say whether rows with these columns are understood."""
        if self.fields:
            return not {*self.fields}.isdisjoint(columns)
        return bool(self.items(RawRow(dict.fromkeys(columns, "word"), Source("", 1))))


def of_cells(cells: Sequence[Any], source: Source) -> Item:
    """Return the item of cells without names: the question first, the answer last, choices between (MMLU, MGSM)."""
    question, *choices, answer = [_text(cell) for cell in (*cells, "")][: max(2, len(cells))]
    right = _right(choices, _letters(choices), answer) or answer
    return Item(source, question, right, "\n".join(choices) or right)


def _of_example(example: Example) -> Item:
    asked = [message.text for message in example.messages if message.role in ("user", "text")]
    answer = example.messages[-1].text if example.messages[-1].role == "assistant" else ""
    return Item(example.source, "\n".join(asked), answer, answer)


def _choices(value: Any) -> tuple[list[str], list[str]]:
    """Return choices and their labels, of `[…]`, `{"text": […], "label": […]}` or `{"choices": […], "labels": […]}`."""
    labels: Any = None
    if isinstance(value, Mapping):
        labels = value.get("label", value.get("labels"))
        value = value.get("text", value.get("choices"))
    texts = [_text(text) for text in value] if isinstance(value, list) else []
    return texts, [str(label) for label in labels] if isinstance(labels, list) else _letters(texts)


def _letters(choices: Sequence[str]) -> list[str]:
    return [chr(ord("A") + place) for place in range(len(choices))]


def _right(texts: Sequence[str], labels: Sequence[str], answer: Any) -> str:
    """Return the choice that `answer` names: by its label or, from 0, by its number."""
    named = str(answer).strip()
    if named in labels[: len(texts)]:
        return texts[labels.index(named)]
    return texts[int(named)] if named.isdecimal() and len(named) < 4 and int(named) < len(texts) else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
