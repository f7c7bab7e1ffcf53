"""`{"conversations": [{"from": "human", "value": …}, …]}`: the ShareGPT format, `system` beside or inside."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats.turns import conversation, first_of, text_of
from luthier.data.rows import Refusal

COLUMNS = ("conversations", "conversation")
SYSTEM = ("system", "system_prompt")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the column with the turns, and the one with the system prompt if there is one."""
    turns = first_of(names, COLUMNS)
    system = first_of(names, SYSTEM)
    if turns is None:
        return None
    return {"conversations": turns, "system": system} if system else {"conversations": turns}


def to_messages(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
    """Return the turns, the row's system prompt first unless the turns bring one."""
    column = columns["conversations"]
    messages = conversation(row[column], column)
    if isinstance(messages, Refusal) or "system" not in columns:
        return messages
    system = text_of(row[columns["system"]], f"`{columns['system']}`")
    if isinstance(system, Refusal):
        return system
    if system.strip() and not any(message.role == "system" for message in messages):
        return [Message("system", system), *messages]
    return messages
