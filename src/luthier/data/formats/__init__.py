"""Shapes of a row. To add one: a module with `columns` and `parts`, a line in the table, and one in the recipe's.

A shape is recognised by the names of a row's columns, so mixed files work and the answer can be remembered; that the
values fit is found out when the row is converted. Where names aren't enough, a format says by `not_mine` that the row
is something else, and the next is tried.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from luthier.data.formats import (
    alpaca,
    choice,
    classification,
    completion,
    kto,
    openai,
    preference,
    qa,
    sharegpt,
    summary,
    text,
    transcript,
    translation,
)
from luthier.data.formats.parts import Parts
from luthier.data.rows import Refusal
from luthier.recipe.data import Format as Name


class Format(Protocol):
    """What a module in this folder offers."""

    def columns(self, names: Mapping[str, str]) -> dict[str, str] | None:
        """Return which column plays which part, or None when rows with these columns aren't of this shape.

        `names` leads from evened-out names (`customer_message`) to the file's own (`Customer Message`).
        """
        ...

    def parts(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
        """Return what the row says, or why it says nothing of use."""
        ...


FORMATS: dict[Name, Format] = {
    "openai": openai,
    "sharegpt": sharegpt,
    "alpaca": alpaca,
    "completion": completion,
    "qa": qa,
    "choice": choice,
    "summary": summary,
    "translation": translation,
    "transcript": transcript,
    "preference": preference,
    "kto": kto,
    "classification": classification,
    "text": text,
}
"""Name in the recipe to module. Which `auto` tries, and in which order, is `luthier.recipe.data.MADE_FROM`."""


def evened_name(column: str) -> str:
    """Return a column's name without case, spaces and dashes: `Customer Message` is `customer_message`."""
    return "_".join(column.strip().lower().replace("-", " ").split())
