"""Cleaning, one file a step. A step rewrites the texts of a conversation, and only what it must.

To add one: an option in `luthier.recipe.schema.Clean`, a file with `apply`, and a line in the table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from luthier.core.example import Example
from luthier.data.clean import control, html, mojibake, whitespace
from luthier.recipe.schema import Clean

STEPS: dict[str, Callable[[list[str]], list[str]]] = {
    "mojibake": mojibake.apply,
    "html": html.apply,
    "control": control.apply,
    "whitespace": whitespace.apply,
}
"""Option to step, in the order in which they run. A step takes and returns the texts of one conversation."""

MOST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """A text before and after a step, and the row it stands in."""

    before: str
    after: str
    source: str


@dataclass(slots=True)
class Done:
    """What a step did so far."""

    name: str
    changed: int = 0
    samples: list[Sample] = field(default_factory=list)


class Cleaner:
    """Runs the steps the recipe asks for and counts what each changed.

    Args:
        options: Which steps run.
    """

    def __init__(self, options: Clean) -> None:
        self.done = [Done(name) for name in STEPS if getattr(options, name)]

    def clean(self, example: Example) -> Example:
        """Return the example with its texts cleaned; the same object when there was nothing to do.

        One whose turns name characters to learn stays as it is: cleaning would move them. Both endings of a
        preference are cleaned as one conversation, so that what they share stays shared.
        """
        turns = [*example.messages, *example.rejected]
        if any(message.extra.get("learn") is not None for message in turns):
            return example
        first = texts = [message.text for message in turns]
        for done in self.done:
            cleaned = STEPS[done.name](texts)
            if cleaned != texts:
                done.changed += 1
                _sample(done, texts, cleaned, example)
                texts = cleaned
        if texts is first:
            return example
        cleaned_turns = [replace(message, text=text) for message, text in zip(turns, texts, strict=True)]
        end = len(example.messages)
        return replace(example, messages=tuple(cleaned_turns[:end]), rejected=tuple(cleaned_turns[end:]))


def _sample(done: Done, before: list[str], after: list[str], example: Example) -> None:
    if len(done.samples) < MOST_SAMPLES:
        pair = next((old, new) for old, new in zip(before, after, strict=True) if old != new)
        done.samples.append(Sample(*_around_the_change(*pair), source=str(example.source)))


def _around_the_change(before: str, after: str, width: int = 160) -> tuple[str, str]:
    """Return the piece of both texts in which they begin to differ."""
    same = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), len(after))
    start = max(0, same - 40)
    return before[start : start + width], after[start : start + width]
