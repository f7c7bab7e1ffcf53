"""Answers that go round in a loop, as models do that were sampled badly."""

from luthier.core.example import Example
from luthier.data.clean.step import answers
from luthier.data.rows import Refusal

PROBE = 24
"""Characters that must come again before a text is looked at closer."""

TIMES = 4
"""How often something must be said in a row to be a loop."""

SHARE = 0.5
"""Share of the answer that the loop must be. Verses, tables and lists repeat themselves, but not in a row."""


def find(example: Example) -> Refusal | None:
    """Return why an answer is a loop, or None."""
    for answer in answers(example):
        length, times = _loop(answer)
        if times >= TIMES and length >= SHARE * len(answer):
            share = length / len(answer)
            return Refusal("repetition", f"{share:.0%} of the answer says one thing {times} times in a row")
    return None


def _loop(text: str) -> tuple[int, int]:
    """Return how many characters the longest loop has that passes through the middle or the end, and its rounds."""
    loops = [(0, 0)]
    for at in (len(text) // 2, len(text) - PROBE):
        before = text.rfind(text[at : at + PROBE], 0, at + PROBE - 1) if at >= PROBE else -1
        if before < 0:
            continue
        period = at - before
        start, end = before, at + PROBE
        while start and text[start - 1] == text[start - 1 + period]:
            start -= 1
        while end < len(text) and text[end] == text[end - period]:
            end += 1
        loops.append((end - start, (end - start) // period))
    return max(loops)
