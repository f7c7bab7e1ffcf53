"""`{"messages": [{"role", "content"}, …]}`: the OpenAI chat format."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats.turns import conversation, first_of
from luthier.data.rows import Refusal

TOOLS = ("tools", "functions")
COLUMNS = ("messages", "chat", "dialogue", "dialog")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the turns, and the one with the tools if there is one."""
    found = {"messages": first_of(names, COLUMNS), "tools": first_of(names, TOOLS)}
    return {part: column for part, column in found.items() if column} if found["messages"] else None


def to_messages(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
    """Return the turns; calls of tools and other keys of a turn stay in its `extra`."""
    column = columns["messages"]
    return conversation(row[column], column)
