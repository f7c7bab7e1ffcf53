"""`{"messages": [{"role", "content"}, …]}`: the OpenAI chat format. A system prompt may stand beside the turns."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats.calls import tools_of
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import cell, columns_of, conversation, text_of
from luthier.data.rows import Refusal

TOOLS = ("tools", "functions")
SYSTEMS = ("system", "system_prompt", "system_instruction", "systeminstruction")
COLUMNS = ("messages", "chat", "dialogue", "dialog", "contents")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the turns, and those with system prompt and tools if they are there."""
    return turns_in(names, COLUMNS)


def turns_in(names: Mapping[str, str], wanted: tuple[str, ...]) -> dict[str, str] | None:
    """Return the first of the wanted columns as that with the turns, and what may stand beside them."""
    found = columns_of(names, messages=wanted, system=SYSTEMS, tools=TOOLS)
    return found if "messages" in found else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the turns, the row's system prompt first unless the turns bring one.

    Calls of tools and other keys of a turn stay in its `extra`.
    """
    column = columns["messages"]
    messages = conversation(row[column], column)
    if isinstance(messages, Refusal):
        return messages
    system = _system(cell(row, columns, "system"), f"`{columns.get('system')}`")
    if isinstance(system, Refusal):
        return system
    if system.strip() and not any(message.role == "system" for message in messages):
        messages = [Message("system", system), *messages]
    tools = tools_of(cell(row, columns, "tools"))
    return tools if isinstance(tools, Refusal) else Parts(messages, tools=tools)


def _system(value: Any, what: str) -> str | Refusal:
    """Return the system prompt, which Gemini's rows have in parts."""
    if isinstance(value, dict) and isinstance(value.get("parts"), list):
        value = "".join(str(part.get("text", "")) for part in value["parts"] if isinstance(part, dict))
    return text_of(value, what)
