"""How long the rows are, in tokens: by the caller's tokenizer, or estimated from bytes and said so."""

from array import array
from collections.abc import Callable, Sequence
from math import ceil
from statistics import fmean, median
from typing import Any

from luthier.core.example import Example

CountTokens = Callable[[list[str]], list[int]]
"""Token counts of texts, in their order."""

BATCH = 256
"""Rows whose texts are counted in one call."""

BYTES_PER_TOKEN = 4
"""Usual for English text and a vocabulary of 50k to 150k; other scripts differ, hence `estimate`."""

PARTS = ("prompt", "answer", "total")


class Lengths:
    """Collects the lengths of rows; three numbers a row are kept.

    Args:
        count: Counts tokens. None estimates.
    """

    def __init__(self, count: CountTokens | None) -> None:
        self.estimate = count is None
        self.values = {part: array("L") for part in PARTS}
        self._count = count or _estimated
        self._waiting: list[str] = []

    def add(self, example: Example) -> None:
        """Take in a row: its answer is what the assistant says, its prompt everything else."""
        answer = [message.text for message in example.messages if message.role == "assistant"]
        prompt = [message.text for message in example.messages if message.role != "assistant"]
        self._waiting += ["\n".join(prompt), "\n".join(answer)]
        if len(self._waiting) >= 2 * BATCH:
            self.flush()

    def flush(self) -> None:
        """Count what waits."""
        if not self._waiting:
            return
        counts = self._count(self._waiting)
        assert len(counts) == len(self._waiting), "the tokenizer must return a count for every text"
        prompts, answers = counts[::2], counts[1::2]
        self.values["prompt"].extend(prompts)
        self.values["answer"].extend(answers)
        self.values["total"].extend(map(sum, zip(prompts, answers, strict=True)))
        self._waiting.clear()

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return min, max, mean, median and 95th percentile of each part."""
        return {part: {**_described(values), "estimate": self.estimate} for part, values in self.values.items()}


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
