"""Which texts of an example are compared, and the columns of numbers they become.

Shapes: R rows, V values of a text's signature.
"""

import re
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import Example, Message
from luthier.data.keys import plain
from luthier.data.near.shingles import Shingles, shingles
from luthier.data.near.signatures import banded, minima, shape
from luthier.recipe.data import Clean, NearDuplicates
from luthier.recipe.methods import Rows

KEYS = ("row", "text", "prompt", "answer", "last_user")

CHECKS = "near_checks"
"""Column of eight bits of every value of every text: by them, most pairs that aren't near are told uncounted."""

FEWEST_CHECKS = 48
"""Values of a text, at least: pairs far below the threshold are told by them, and others counted."""

TELLING = 8
"""Words that make an answer tell something. Rows with shorter ones (a label, a number) may be other tasks cut to one
pattern, with the same answer by chance."""

NUMBER = re.compile(r"\d+")
"""Rows with other numbers are other sums, orders, dates, however many words they have in common."""


class Compared:
    """What of an example is compared.

    The prompt always is: rows of near prompts are held back together, whatever becomes of them.

    Args:
        asked: The recipe's options.
        rows: What the objective learns from.
    """

    def __init__(self, asked: NearDuplicates, rows: Rows) -> None:
        whole = rows in ("text", "class")
        endings = 2 if rows == "pair" else 1
        self.key = "prompt" if whole else asked.key
        self.threshold = asked.threshold
        self.drop = asked.action == "drop"
        """Whether rows near an earlier one leave."""
        self.fields = {"row": 1 + endings, "answer": endings}.get(self.key, 1)
        self.first = 0 if self.key in ("row", "prompt") else 1
        """Which of the texts is the first that must be near; the prompt is number 0."""
        self.shape = shape(self.threshold, self.fields)
        self.prompts = shape(self.threshold, 1)
        self.only_prompts = self.key == "prompt" and rows not in ("class", "judged")
        """Whether rows are near exactly if their prompts are."""
        self.values = max(FEWEST_CHECKS, self.shape.values, self.prompts.values)
        self.other_keys = [] if whole else [key for key in KEYS if key != asked.key]

    def bands(self) -> list[str]:
        """Return the columns of which two rows that are near share one."""
        return [f"near_{band}" for band in range(self.shape.bands)]

    def prompt_bands(self) -> list[str]:
        """Return the columns of which two rows with near prompts share one."""
        return [f"near_prompt_{band}" for band in range(self.prompts.bands)]

    def shingles(self) -> list[str]:
        """Return the columns of the shingles of each text."""
        return [f"near_shingles_{text}" for text in range(self.first + self.fields)]

    def texts(self, example: Example) -> tuple[str, ...]:
        """Return the prompt and what else is compared; of a text to learn or to classify, the text."""
        asks = prompt(example)
        match self.key:
            case "prompt":
                return (asks,)
            case "last_user":
                return asks, next((_said(turn) for turn in reversed(example.messages) if turn.role == "user"), "")
            case "text":
                return asks, everything(example)
        return asks, *endings(example)

    def sign(self, examples: Sequence[Example]) -> dict[str, NDArray[Any] | Shingles]:
        """Return the columns of signatures and shingles, each of R rows. A row's don't depend on the rows beside it."""
        texts = [shingles(column) for column in zip(*map(self.texts, examples), strict=True)]
        values = [minima(column, self.values) for column in texts]
        says = np.max([np.diff(column.bounds) for column in texts[self.first + self.fields - 1 :]], axis=0)
        equal = np.fromiter(map(self._must_be_equal, examples, says >= TELLING), np.uint64, len(examples))
        rows = banded(values[self.first :], self.shape, equal)
        prompts = banded(values[:1], self.prompts, np.zeros_like(equal))
        return {
            **dict(zip(self.bands(), rows.T, strict=True)),
            **dict(zip(self.prompt_bands(), prompts.T, strict=True)),
            **dict(zip(self.shingles(), texts, strict=True)),
            CHECKS: np.concatenate(values, axis=1).astype(np.uint8),
        }

    def _must_be_equal(self, example: Example, telling: bool) -> int:
        """Return a number made of what rows that are near must have in common to the letter, 0 of nothing."""
        if self.key != "row":
            return 0 if example.label is None else crc32(plain(example.label).encode())
        system = [turn.text for turn in example.messages if turn.role == "system"]
        numbers = sorted({*NUMBER.findall("\n".join(self.texts(example)))})
        context = (example.tools, system, numbers, "" if telling else prompt(example))
        return crc32(plain((example.label, *context)).encode())


def compared(asked: Clean, rows: Rows) -> Compared | None:
    """Return what is compared, or None where nothing is: rows that are nearly the same stay where equal ones do."""
    return Compared(asked.near_duplicates, rows) if asked.near_duplicates and asked.duplicates else None


def prompt(example: Example) -> str:
    """Return what is said before the ending; not instructions of the system, nor tools, which many rows share."""
    turns = example.messages[: _ending(example)]
    return _joined([turn for turn in turns if turn.role != "system"])


def endings(example: Example) -> tuple[str, ...]:
    """Return the answer, of a preference both; of a text to classify, or to learn, nothing."""
    end = _ending(example)
    return tuple(_joined(turns[end:]) for turns in (example.messages, example.rejected) if turns)


def everything(example: Example) -> str:
    """Return all that is said, of a preference also the worse ending."""
    return _joined([*example.messages, *example.rejected[_ending(example) :]])


def _ending(example: Example) -> int:
    """Return where the ending begins; a text to classify, or to learn, has none."""
    if example.rejected:
        return example.shared
    return len(example.messages) - (example.messages[-1].role == "assistant")


def _joined(turns: Sequence[Message]) -> str:
    return "\n".join([_said(turn) if turn.extra else turn.text for turn in turns])


def _said(turn: Message) -> str:
    calls = [turn.extra[name] for name in ("tool_calls", "function_call") if turn.extra.get(name)]
    return "\n".join([turn.text, *map(plain, calls)])
