"""Answers that say the prompt again instead of answering it."""

from itertools import pairwise

from luthier.core.example import Example
from luthier.data.rows import Refusal

LONG = 40
"""Characters of a prompt from which on an answer that begins with all of it repeats it; a short one is a title."""

HEAD = 6
"""Characters that must agree before the rest is looked at."""


def find(example: Example) -> Refusal | None:
    """Return why an answer is an echo of the turn before it, or None."""
    for before, turn in pairwise(example.messages):
        if turn.role != "assistant" or before.role != "user":
            continue
        head = turn.text[:HEAD].casefold()
        if not head or before.text[:HEAD].casefold() != head:
            continue
        asked, said = " ".join(before.text.casefold().split()), " ".join(turn.text.casefold().split())
        if asked == said:
            return Refusal("echo", "the answer is the prompt, word for word")
        if len(asked) >= LONG and said.startswith(asked):
            return Refusal("echo", "the answer begins by repeating the whole prompt")
    return None
