"""How many items of benchmarks stand in what the tuned model learned, and what both models score without them."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from luthier.core.example import Example, Message, Source
from luthier.core.report import Finding, Paragraph, Section, Table
from luthier.core.text import plural
from luthier.evaluate.account import shown
from luthier.evaluate.benchmarks.compared import Answered, Scored, of_task
from luthier.evaluate.benchmarks.run import Answer
from luthier.evaluate.benchmarks.tasks import Suite
from luthier.evaluate.contamination import KINDS, Seen
from luthier.evaluate.stats import share
from luthier.evaluate.subject import Told

COLUMNS = ("benchmark", "looked at", *KINDS.values(), "in all", "change", "change without them")

NOTE = (
    "What of each item, its question and its right answer, also stands, word for word, in a row that was learned. "
    "Other wordings are not found."
)


@dataclass(frozen=True, slots=True)
class Known:
    """The items of one task."""

    task: str
    kinds: Sequence[str]
    """How each stands in what was learned, from `Seen`."""
    whole: Scored
    """What both models score on all items, by the measure the task is known by."""
    without: Scored | None
    """The same on items that were not learned; None where there are none."""

    @property
    def found(self) -> int:
        """Return how many items were learned."""
        return sum(map(bool, self.kinds))

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the report's `learned_items`."""
        counts, clean = Counter(self.kinds), self.without
        names = ("base", "tuned", "change")
        return {
            "task": self.task,
            "metric": self.whole.metric,
            "items": len(self.kinds),
            **{kind: counts[kind] for kind in KINDS},
            "share": share(self.found, len(self.kinds)).as_dict(),
            "without": clean and {name: getattr(clean.found, name).as_dict() for name in names},
        }


def kinds(suites: Sequence[Suite], answers: Answered, seen: Seen) -> dict[str, Sequence[str]]:
    """Return how the items of each task stand in what was learned, all looked for at once."""
    names = [one.name for suite in suites for one in suite.tasks]
    found = iter(seen([_row(name, place, one) for name in names for place, one in enumerate(answers[name])]))
    return {name: [next(found) for _ in answers[name]] for name in names}


def _row(name: str, place: int, answer: Answer) -> Example:
    turns = (Message("user", answer.question), Message("assistant", answer.expected))
    return Example(turns, Source(name, place + 1))


def known(
    suites: Sequence[Suite], base: Answered, tuned: Answered, learned: Mapping[str, Sequence[str]]
) -> list[Known]:
    """Return the items of each task with what both models score on all, and on those that were not learned."""
    found = []
    for one in (one for suite in suites for one in suite.tasks):
        every = next(of_task(one, base, tuned), None)
        if every is None:
            continue
        kept = [place for place, kind in enumerate(learned[one.name]) if not kind]
        clean = None
        if kept:
            less = replace(one, chosen=[one.chosen[place] for place in kept])
            was, now = ({one.name: [answers[one.name][place] for place in kept]} for answers in (base, tuned))
            clean = next(of_task(less, was, now), None)
        found.append(Known(one.name, learned[one.name], every, clean))
    return found


def told(items: Sequence[Known]) -> Told:
    """Return what the check adds to the report."""
    rows = []
    for one in items:
        counts, clean, percent = Counter(one.kinds), one.without, one.whole.percent
        rows.append(
            (
                one.task,
                f"{len(one.kinds):,}",
                *(f"{counts[kind]:,}" for kind in KINDS),
                shown(share(one.found, len(one.kinds)), as_percent=True),
                shown(one.whole.found.change, as_percent=percent),
                shown(clean.found.change, as_percent=percent) if clean and one.found else "",
            )
        )
    section = Section(
        "Benchmark items seen in training",
        (Table("", COLUMNS, tuple(rows)), Paragraph(NOTE)),
        detail=not any(one.found for one in items),
    )
    return Told(
        data={"learned_items": [one.as_dict() for one in items]},
        sections=(section,),
        findings=tuple(_findings(items)),
    )


def _findings(items: Sequence[Known]) -> Iterator[Finding]:
    for one in items:
        if not one.found:
            continue
        text = f"{one.task}: {one.found:,} of {plural(len(one.kinds), 'item')} stand in the training data"
        if one.without is None:
            text += "; none is left"
        else:
            change = shown(one.without.found.change, as_percent=one.whole.percent)
            text += f"; without them the change is {change}"
        serious = any(kind in ("row", "prompt", "near") for kind in one.kinds)
        hint = "take them out of the training data: `data.decontaminate` with `against` and the benchmark's file"
        yield Finding("warning" if serious else "note", text, hint if serious else "")
