"""How long the rows are, in tokens: by the caller's tokenizer, or estimated from bytes and said so."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from luthier.core.example import TEXT, Example, Message

CountTokens = Callable[[list[str]], list[int]]
"""Token counts of texts, in their order."""


class Tokenizer(NamedTuple):
    """The model's tokenizer, as far as it is known. It reaches other processes, so it must be picklable."""

    counter: Callable[[], CountTokens] | None = None
    """Makes what counts, once in each process that prepares rows. None estimates lengths from bytes."""
    special: tuple[str, ...] = ()
    """Its control tokens, as they are written."""
    how: str = "estimated from bytes"
    """How tokens are counted, for people."""


UNKNOWN = Tokenizer()

BYTES_PER_TOKEN = 4
"""Usual for English text and a vocabulary of 50k to 150k; other scripts differ, hence `estimate`."""

PARTS = ("prompt", "answer", "rejected", "total")
"""A preference's `answer` is the better ending, its `total` the prompt with the longer of both."""


def measure(examples: Sequence[Example], count: CountTokens | None) -> dict[str, NDArray[np.uint32]]:
    """Return the lengths of each part of every row.

    A row's answer is what the assistant says, or plain text; its prompt is everything else.

    Args:
        examples: The rows.
        count: Counts tokens. None estimates.
    """
    texts = [text for example in examples for text in _parts(example)]
    counts = np.array((count or estimated)(texts), np.uint32)
    assert len(counts) == len(texts), "the tokenizer must return a count for every text"
    prompt, answer, rejected = counts[::3], counts[1::3], counts[2::3]
    values = (prompt, answer, rejected, prompt + np.maximum(answer, rejected))
    return dict(zip(PARTS, values, strict=True))


def _parts(example: Example) -> tuple[str, str, str]:
    """Return prompt, answer and rejected ending."""
    shared = example.shared
    before = [message for message in example.messages[:shared] if _is_answer(message)]
    return (
        "\n".join(message.text for message in example.messages if not _is_answer(message)),
        "\n".join(message.text for message in example.messages if _is_answer(message)),
        "\n".join(message.text for message in (*before, *example.rejected[shared:]) if _is_answer(message)),
    )


class Over(NamedTuple):
    """What is longer than a limit."""

    rows: int
    share: float
    """Of the rows."""
    tokens_share: float
    """Of all tokens, those beyond the limit."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of all rows, a number a row and part."""

    values: Mapping[str, NDArray[np.uint32]]
    """Those of each of `PARTS`; `rejected` is missing where rows have none."""
    estimate: bool
    """Whether no tokenizer counted."""

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return min, max, mean, median and 95th percentile of each part."""
        return {part: {**_described(values), "estimate": self.estimate} for part, values in self.values.items()}

    def over(self, limit: int) -> Over:
        """Return how many rows are longer than `limit` tokens in all, and how much of them."""
        totals = self.values["total"].astype(np.int64)
        rows = int((totals > limit).sum())
        beyond = int(np.maximum(totals - limit, 0).sum())
        return Over(rows, rows / len(totals), beyond / max(1, int(totals.sum())))


def _is_answer(message: Message) -> bool:
    return message.role in ("assistant", TEXT)


def estimated(texts: Sequence[str]) -> list[int]:
    """Return token counts guessed from bytes."""
    return [
        ceil((len(text) if text.isascii() else len(text.encode("utf-8", "replace"))) / BYTES_PER_TOKEN)
        for text in texts
    ]


def _described(values: NDArray[np.uint32]) -> dict[str, float]:
    ordered = np.sort(values)
    low, high = (int(ordered[place]) for place in ((len(ordered) - 1) // 2, len(ordered) // 2))
    return {
        "min": int(ordered[0]),
        "max": int(ordered[-1]),
        "mean": round(int(ordered.sum(dtype=np.uint64)) / len(ordered), 1),
        "median": (low + high) / 2 if len(ordered) % 2 == 0 else low,
        "p95": int(ordered[ceil(0.95 * len(ordered)) - 1]),
    }
