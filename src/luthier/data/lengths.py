"""How long the rows are, in tokens: by the caller's tokenizer, or estimated from bytes and said so."""

from array import array
from collections.abc import Callable, Sequence
from math import ceil
from statistics import fmean, median
from typing import Any

from luthier.core.example import TEXT, Example, Message

CountTokens = Callable[[list[str]], list[int]]
"""Token counts of texts, in their order."""

BATCH = 256
"""Rows whose texts are counted in one call."""

BYTES_PER_TOKEN = 4
"""Usual for English text and a vocabulary of 50k to 150k; other scripts differ, hence `estimate`."""

PARTS = ("prompt", "answer", "rejected", "total")
"""A preference's `answer` is the better ending, its `total` the prompt with the longer of both."""


class Lengths:
    """Collects the lengths of rows; a number a row and part is kept.

    Args:
        count: Counts tokens. None estimates.
    """

    def __init__(self, count: CountTokens | None) -> None:
        self.estimate = count is None
        self.values = {part: array("L") for part in PARTS}
        self._count = count or _estimated
        self._pairs = False
        self._waiting: list[str] = []

    def add(self, example: Example) -> None:
        """Take in a row: its answer is what the assistant says, or plain text; its prompt everything else."""
        self._pairs |= bool(example.rejected)
        shared = example.shared
        before = [message for message in example.messages[:shared] if _is_answer(message)]
        self._waiting += [
            "\n".join(message.text for message in example.messages if not _is_answer(message)),
            "\n".join(message.text for message in example.messages if _is_answer(message)),
            "\n".join(message.text for message in (*before, *example.rejected[shared:]) if _is_answer(message)),
        ]
        if len(self._waiting) >= 3 * BATCH:
            self.flush()

    def flush(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        counts = self._count(self._waiting)
        assert len(counts) == len(self._waiting), "the tokenizer must return a count for every text"
        prompts, answers, rejected = counts[::3], counts[1::3], counts[2::3]
        self.values["prompt"].extend(prompts)
        self.values["answer"].extend(answers)
        self.values["rejected"].extend(rejected)
        self.values["total"].extend(p + max(a, r) for p, a, r in zip(prompts, answers, rejected, strict=True))
        self._waiting.clear()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return min, max, mean, median and 95th percentile of each part; of `rejected` only where there is one."""
        return {
            part: {**_described(values), "estimate": self.estimate}
            for part, values in self.values.items()
            if part != "rejected" or self._pairs
        }


def _is_answer(message: Message) -> bool:
    return message.role in ("assistant", TEXT)


def _estimated(texts: Sequence[str]) -> list[int]:
    return [
        ceil((len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) / BYTES_PER_TOKEN)
        for text in texts
    ]


def _described(values: Sequence[int]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "max": ordered[-1],
        "mean": round(fmean(ordered), 1),
        "median": median(ordered),
        "p95": ordered[ceil(0.95 * len(ordered)) - 1],
    }
