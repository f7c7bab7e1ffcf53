"""What a cleaning step is, and what it tells of itself.

A step is a function over a batch of examples, each on its own: it gives every one back, as it was or changed, or says
why it is dropped. It keeps nothing between batches, so batches may be cleaned in any number of processes.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from luthier.core.example import Example, Message, Source
from luthier.data.rows import Refusal

MOST_SAMPLES = 3

MOST_FOUND = 200
"""Findings that are counted by name, the first ones: each row may have a control token of its own."""

OTHERS = "others"
"""Stands for the findings beyond."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A text before and after a step, and the row it stands in."""

    before: str
    after: str
    source: str


@dataclass(slots=True)
class Notes:
    """What a step did in one batch or, added up in the order of the rows, in all."""

    changed: int = 0
    """Rows that it changed."""
    dropped: int = 0
    samples: list[Sample] = field(default_factory=list)
    """A few of the changes, the first ones."""
    found: Counter[str] = field(default_factory=Counter)
    """Rows in which it saw something worth telling, by what it was, changed or not."""
    first: dict[str, Source] = field(default_factory=dict)
    """Where each of `found` was seen first."""

    stand_ins: dict[tuple[str, str], str] = field(default_factory=dict)
    """Kind and original of what was pseudonymised, to what stands for it. Only for the vault that the recipe asks for:
    never part of a report."""

    def see(self, what: str, source: Source) -> None:
        """Count a row in which `what` was seen."""
        self.found[what] += 1
        self.first.setdefault(what, source)

    def add(self, later: "Notes") -> None:
        """Take in the notes of the rows that come next."""
        self.changed += later.changed
        self.dropped += later.dropped
        self.samples += later.samples[: MOST_SAMPLES - len(self.samples)]
        for what, count in later.found.items():
            name = what if what in self.found or len(self.found) < MOST_FOUND else OTHERS
            self.found[name] += count
            self.first.setdefault(name, later.first[what])
        self.stand_ins |= later.stand_ins


class Step(Protocol):
    """A cleaning step with its options set."""

    def __call__(self, examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
        """Return what becomes of each example. `notes.see` tells findings; changes and drops are counted outside."""
        ...


def of_texts(apply: Callable[[list[str]], list[str]]) -> Step:
    """Return the step that rewrites texts, given what rewrites a list of them, each on its own.

    A conversation whose turns name characters to learn stays as it is: rewriting would move them.
    """

    def step(examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
        del notes
        movable = [not pinned(example) for example in examples]
        texts = [t.text for example, free in zip(examples, movable, strict=True) if free for t in turns(example)]
        rewritten = apply(texts)
        assert len(rewritten) == len(texts), "a step gives back as many texts as it was given"
        if rewritten == texts:
            return [*examples]
        rest = iter(rewritten)
        return [
            with_texts(example, [next(rest) for _ in turns(example)]) if free else example
            for example, free in zip(examples, movable, strict=True)
        ]

    return step


def each(look: Callable[[Example, Notes], Example | Refusal]) -> Step:
    """Return the step that looks at one example after the other."""
    return lambda examples, notes: [look(example, notes) for example in examples]


def told(find: Callable[[Example], Refusal | None], action: Literal["tell", "drop"]) -> Step:
    """Return the step that looks for a fault nobody can repair, given what finds it: it is told, or the row dropped."""

    def look(example: Example, notes: Notes) -> Example | Refusal:
        fault = find(example)
        if fault is None:
            return example
        if action == "drop":
            return fault
        notes.see(fault.reason, example.source)
        return example

    return each(look)


def answers(example: Example) -> list[str]:
    """Return what the assistant says, turn by turn; of a preference with the better ending."""
    return [turn.text for turn in example.messages if turn.role == "assistant"]


def pinned(example: Example) -> bool:
    """Say whether turns name characters to learn, so that no text may change."""
    return any(message.extra and message.extra.get("learn") is not None for message in turns(example))


def turns(example: Example) -> tuple[Message, ...]:
    """Return all turns: of a preference those with the better ending, then those with the worse."""
    return (*example.messages, *example.rejected) if example.rejected else example.messages


def with_texts(example: Example, texts: Sequence[str]) -> Example:
    """Return the example with other texts in its turns; the same object where they are equal."""
    before = turns(example)
    if all(message.text == text for message, text in zip(before, texts, strict=True)):
        return example
    changed = tuple(
        message if message.text == text else replace(message, text=text)
        for message, text in zip(before, texts, strict=True)
    )
    end = len(example.messages)
    return replace(example, messages=changed[:end], rejected=changed[end:])


def run(
    step: Step, examples: Sequence[Example], notes: Notes, shown: Callable[[str], str] = str
) -> list[Example | Refusal]:
    """Return what a step makes of a batch; changes and drops are counted, and sampled as they may be `shown`."""
    after = step(examples, notes)
    assert len(after) == len(examples), "a step answers for every row"
    for example, result in zip(examples, after, strict=True):
        if isinstance(result, Refusal):
            notes.dropped += 1
        elif result is not example:
            notes.changed += 1
            if len(notes.samples) < MOST_SAMPLES:
                notes.samples.append(_sample(example, result, shown))
    return after


def _sample(before: Example, after: Example, shown: Callable[[str], str]) -> Sample:
    """Return the first turn that differs; where turns came or went, how the roles stood."""
    for old, new in zip(turns(before), turns(after), strict=False):
        if old.text != new.text:
            old_shown, new_shown = shown(old.text), shown(new.text)
            if old_shown == old.text and new_shown != new.text:
                old_shown = "…"  # tags or signs stood within what may not be shown, so it was not found there
            return Sample(*_around_the_change(old_shown, new_shown), source=str(before.source))
    old_roles, new_roles = (", ".join(message.role for message in turns(example)) for example in (before, after))
    return Sample(old_roles, new_roles, source=str(before.source))


def _around_the_change(before: str, after: str, width: int = 160) -> tuple[str, str]:
    """Return the piece of both texts in which they begin to differ."""
    same = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = max(0, same - 40)
    return before[start : start + width], after[start : start + width]
