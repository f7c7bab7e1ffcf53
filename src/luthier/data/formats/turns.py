"""Turns of a conversation, in whichever words a file has for role and text."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from luthier.core.example import Message
from luthier.core.text import one_line
from luthier.data.readers.json_text import kind, parse
from luthier.data.rows import Refusal

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "customer": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "agent": "assistant",
    "function_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
"""A file's word for who speaks, in lower case, to ours."""

ROLE_KEYS = ("role", "from", "speaker", "sender")
TEXT_KEYS = ("content", "value", "text")


def text_of(value: Any, what: str) -> str | Refusal:
    """Return a cell as text: numbers and truth values as JSON writes them, nothing as the empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return json.dumps(value)
    shown = "not a finite number" if isinstance(value, float) else f"a {kind(value)}, not text"
    return Refusal("does_not_fit", f"{what} is {shown}")


def first_of(names: Mapping[str, str], wanted: Sequence[str]) -> str | None:
    """Return the file's own name of the first wanted column that it has."""
    return next((names[name] for name in wanted if name in names), None)


def conversation(value: Any, column: str) -> list[Message] | Refusal:
    """Return the turns in a list, or in a cell that holds such a list as JSON text."""
    if isinstance(value, str):
        value = parse(value)
    if not isinstance(value, list):
        said = "not a list of turns" if isinstance(value, Refusal) else f"a {kind(value)}, not a list of turns"
        return Refusal("does_not_fit", f"`{column}` is {said}")
    messages = []
    for number, turn in enumerate(value, start=1):
        message = _message(turn, number)
        if isinstance(message, Refusal):
            return message
        messages.append(message)
    return messages


def _message(turn: Any, number: int) -> Message | Refusal:
    if not isinstance(turn, dict):
        return Refusal("does_not_fit", f"turn {number} is a {kind(turn)}, not an object")
    role_key = next((key for key in ROLE_KEYS if key in turn), None)
    if role_key is None:
        return Refusal("does_not_fit", f"turn {number} doesn't say who speaks (`role` or `from`)")
    said = turn[role_key]
    role = ROLES.get(said.strip().lower()) if isinstance(said, str) else None
    if role is None:
        return Refusal("unknown_role", f"turn {number} is by `{one_line(str(said), 40)}`")
    text_key = next((key for key in TEXT_KEYS if key in turn), None)
    # Files padded by Arrow carry null for every key that some other turn has; null says nothing.
    extra = {key: v for key, v in turn.items() if key not in (role_key, text_key) and v is not None}
    if text_key is None and not {"tool_calls", "function_call"} & extra.keys():
        return Refusal("does_not_fit", f"turn {number} has no text (`content` or `value`)")
    text = _content(turn[text_key] if text_key else None, number)
    return text if isinstance(text, Refusal) else Message(role, text, extra)


def _content(value: Any, number: int) -> str | Refusal:
    """Return the text of a turn: a text, or a list of text parts as the OpenAI format allows."""
    if not isinstance(value, list):
        return text_of(value, f"the content of turn {number}")
    texts = []
    for part in value:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            named = part.get("type") if isinstance(part, dict) else kind(part)
            return Refusal("does_not_fit", f"turn {number} holds a part that is not text: {one_line(str(named), 40)}")
    return "".join(texts)
