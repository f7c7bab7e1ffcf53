"""What cleaning steps saw, as checks: those that found nothing too, for a reader should see what was looked at."""

from collections.abc import Mapping
from typing import NamedTuple

from luthier.core.report import Check, Level
from luthier.core.text import one_line, plural
from luthier.data.clean.step import Notes

MOST = 8
"""Findings of a step that are named, the most frequent ones."""


class Told(NamedTuple):
    """The check of a step."""

    name: str
    fine: str
    """What is said where nothing was found."""
    status: Level
    follows: str
    """What the findings mean, behind their list."""
    hint: str


TOLD = {
    "special_tokens": Told(
        "control_tokens",
        "no control token stands in a text",
        "note",
        "luthier reads them as text, other trainers and servers may take them for real",
        "where the rows go on to those: `--set data.clean.special_tokens=neutralise`, or `remove`, or `drop`",
    ),
    "residue": Told(
        "template_residue",
        "nothing of a prompt template is left in the texts",
        "warning",
        "the model learns to say them",
        "`--set data.clean.residue=remove` takes labels off the ends, `drop` drops the rows",
    ),
    "roles": Told("repaired_turns", "all turns were in order", "note", "put in order where that can be", ""),
    "language": Told("languages", "no language could be told", "note", "", ""),
    "echo": Told(
        "echoes",
        "no answer repeats its prompt",
        "warning",
        "the model learns to repeat what it is asked",
        "`--set data.clean.echo=drop` drops them",
    ),
    "refusals": Told(
        "refusals",
        "no answer begins with a refusal",
        "note",
        "the model learns to refuse likewise",
        "`--set data.clean.refusals=drop` drops them",
    ),
    "repetition": Told(
        "loops",
        "no answer goes round in a loop",
        "warning",
        "the model learns to go round",
        "`--set data.clean.repetition=drop` drops them",
    ),
}
"""The steps that tell what they see."""


def checks(steps: Mapping[str, Notes]) -> list[Check]:
    """Return the checks of the steps that ran, in their order."""
    return [_check(TOLD[name], notes) for name, notes in steps.items() if name in TOLD]


def _check(told: Told, notes: Notes) -> Check:
    if not notes.found:
        return Check(told.name, "ok", told.fine)
    listed = ", ".join(f"{_named(what)}in {plural(count, 'row')}" for what, count in notes.found.most_common(MOST))
    more = f" and {len(notes.found) - MOST:,} others" if len(notes.found) > MOST else ""
    first = notes.first[notes.found.most_common(1)[0][0]]
    details = f"{listed}{more}, first {first}" + (f"; {told.follows}" if told.follows else "")
    return Check(told.name, told.status, details, told.hint)


def _named(what: str) -> str:
    return f"`{one_line(what, 40)}` "
