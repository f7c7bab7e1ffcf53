"""`{"conversations": [{"from": "human", "value": …}, …]}`: the ShareGPT format, `system` beside or inside.

A turn `from` `function_call` is a call as JSON text, and the `observation` behind it what the function gave.
"""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import openai
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import first_of, text_of
from luthier.data.rows import Refusal

COLUMNS = ("conversations", "conversation")
SYSTEM = ("system", "system_prompt")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the turns, and those with system prompt and tools if they are there."""
    turns = first_of(names, COLUMNS)
    if turns is None:
        return None
    found = {"messages": turns, "system": first_of(names, SYSTEM), "tools": first_of(names, openai.TOOLS)}
    return {part: column for part, column in found.items() if column}


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the turns, the row's system prompt first unless the turns bring one."""
    found = openai.parts(row, columns)
    if isinstance(found, Refusal) or "system" not in columns:
        return found
    system = text_of(row[columns["system"]], f"`{columns['system']}`")
    if isinstance(system, Refusal):
        return system
    if system.strip() and not any(message.role == "system" for message in found.messages):
        return found._replace(messages=[Message("system", system), *found.messages])
    return found
