"""`{"messages": [{"role", "content"}, …]}`: the OpenAI chat format."""

from collections.abc import Mapping
from typing import Any

from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import conversation, first_of, tools_of
from luthier.data.rows import Refusal

TOOLS = ("tools", "functions")
COLUMNS = ("messages", "chat", "dialogue", "dialog")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the turns, and the one with the tools if there is one."""
    found = {"messages": first_of(names, COLUMNS), "tools": first_of(names, TOOLS)}
    return {part: column for part, column in found.items() if column} if found["messages"] else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the turns; calls of tools and other keys of a turn stay in its `extra`."""
    column = columns["messages"]
    messages = conversation(row[column], column)
    if isinstance(messages, Refusal):
        return messages
    tools = tools_of(row.get(columns.get("tools", "")))
    return tools if isinstance(tools, Refusal) else Parts(messages, tools=tools)
