"""Shapes of a row. To add one: a module with `columns` and `to_messages`, and a line in the table.

A shape is recognised by the names of a row's columns, so mixed files work and the answer can be remembered;
that the values fit is found out when the row is converted.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from luthier.core.example import Message
from luthier.data.formats import alpaca, completion, openai, sharegpt
from luthier.data.rows import Refusal


class Format(Protocol):
    """What a module in this folder offers."""

    def columns(self, names: Mapping[str, str]) -> dict[str, str] | None:
        """Return which column plays which part, or None when rows with these columns aren't of this shape.

        `names` leads from evened-out names (`customer_message`) to the file's own (`Customer Message`).
        """
        ...

    def to_messages(self, row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
        """Return the row's conversation, or why it has none."""
        ...


FORMATS: dict[str, Format] = {
    "openai": openai,
    "sharegpt": sharegpt,
    "alpaca": alpaca,
    "completion": completion,
}
"""Name in the recipe to module. `auto` tries them in this order: from the most telling names to the least."""


def evened_name(column: str) -> str:
    """Return a column's name without case, spaces and dashes: `Customer Message` is `customer_message`."""
    return "_".join(column.strip().lower().replace("-", " ").split())
