"""Turns of a conversation, in whichever words a file has for role and text."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
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

CALLING = "function_call"
"""The word for a turn whose text is a call of a function, or a list of them, as JSON: LLaMA-Factory's format."""

CALL_KEYS = frozenset({"name", "arguments", "id", "type"})

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


def said(value: Any, role: str, column: str) -> list[Message] | Refusal:
    """Return what a cell says as turns: a text is one turn by `role`; a turn or a list of turns stay what they are."""
    if isinstance(value, dict):
        value = [value]
    if isinstance(value, list):
        return conversation(value, column)
    text = text_of(value, f"`{column}`")
    return text if isinstance(text, Refusal) else [Message(role, text)]


def conversation(value: Any, column: str) -> list[Message] | Refusal:
    """Return the turns in a list, or in a cell that holds such a list as JSON text."""
    if isinstance(value, str):
        value = parse(value)
    if not isinstance(value, list):
        said = "not a list of turns" if isinstance(value, Refusal) else f"a {kind(value)}, not a list of turns"
        return Refusal("does_not_fit", f"`{column}` is {said}")
    messages = []
    asked = None  # the one call that waits for what its function gives
    for number, turn in enumerate(value, start=1):
        message = _message(turn, number)
        if isinstance(message, Refusal):
            return message
        if message.role == "tool":
            message, asked = _answering(message, asked), None
        else:
            calls = _calls(message, number) if _word(turn) == CALLING else ()
            asked = calls[0] if len(calls) == 1 else None
            message = replace(message, text="", extra={**message.extra, "tool_calls": calls}) if calls else message
        messages.append(message)
    return messages


def tools_of(value: Any) -> tuple[dict[str, Any], ...] | Refusal:
    """Return the functions a row offers the assistant, in the OpenAI shape.

    They come as a list or as JSON text of one, each wrapped (`{"type": "function", "function": {…}}`) or bare.
    """
    if isinstance(value, str):
        value = parse(value) if value.strip() else None
    if value is None:
        return ()
    if not isinstance(value, list):
        said = "no JSON" if isinstance(value, Refusal) else f"a {kind(value)}"
        return Refusal("does_not_fit", f"`tools` is {said}, not a list of functions")
    tools = []
    for number, tool in enumerate(value, start=1):
        wrapped = tool if isinstance(tool, dict) and isinstance(tool.get("function"), dict) else None
        function = wrapped["function"] if wrapped else tool
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return Refusal("does_not_fit", f"tool {number} has no function with a name")
        tools.append(wrapped or {"type": "function", "function": function})
    return tuple(tools)


def _answering(message: Message, call: dict[str, Any] | None) -> Message:
    """Return what a function gave with the id and name of the call it answers, unless it names one itself."""
    if call is None or "tool_call_id" in message.extra:
        return message
    return replace(message, extra={"tool_call_id": call["id"], "name": call["function"]["name"], **message.extra})


def _calls(message: Message, number: int) -> list[dict[str, Any]]:
    """Return the calls that the text of a turn is, in the OpenAI shape; none where any of it is something else."""
    if "tool_calls" in message.extra:
        return []
    value = parse(message.text)
    listed = value if isinstance(value, list) else [value]
    calls = [_call(one, f"{number} {place}") for place, one in enumerate(listed)]
    return [] if None in calls else [call for call in calls if call is not None]


def _call(value: Any, place: str) -> dict[str, Any] | None:
    """Return a call `{"name", "arguments"}` in the OpenAI shape, or None where it is no such thing.

    Args:
        value: What stands there.
        place: Where in the conversation; with the call it decides the id, of the nine letters Mistral asks for.
    """
    if not isinstance(value, dict) or not value.keys() <= CALL_KEYS:
        return None
    name, arguments = value.get("name"), value.get("arguments")
    text = _json_object(arguments)
    if not isinstance(name, str) or not name or text is None:
        return None
    made = hashlib.sha256(f"{place} {name} {text}".encode("utf-8", "surrogatepass")).hexdigest()[:9]
    own = value.get("id")
    return {
        "id": own if isinstance(own, str) and own else made,
        "type": "function",
        "function": {"name": name, "arguments": text},
    }


def _json_object(value: Any) -> str | None:
    """Return an object, or the JSON text of one, as JSON text; None for anything else."""
    if isinstance(value, str):
        return value if isinstance(parse(value), dict) else None
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False) if isinstance(value, dict) else None
    except ValueError:
        return None


def _role_key(turn: Mapping[str, Any]) -> str | None:
    return next((key for key in ROLE_KEYS if key in turn), None)


def _word(turn: Mapping[str, Any]) -> str:
    """Return a file's word for who speaks, in lower case; nothing where it is no text."""
    said = turn.get(_role_key(turn) or "")
    return said.strip().lower() if isinstance(said, str) else ""


def _message(turn: Any, number: int) -> Message | Refusal:
    if not isinstance(turn, dict):
        return Refusal("does_not_fit", f"turn {number} is a {kind(turn)}, not an object")
    role_key = _role_key(turn)
    if role_key is None:
        return Refusal("does_not_fit", f"turn {number} doesn't say who speaks (`role` or `from`)")
    role = ROLES.get(_word(turn))
    if role is None:
        return Refusal("unknown_role", f"turn {number} is by `{one_line(str(turn[role_key]), 40)}`")
    text_key = next((key for key in TEXT_KEYS if key in turn), None)
    # Files padded by Arrow carry null for every key that some other turn has; null says nothing.
    extra = {key: v for key, v in turn.items() if key not in (role_key, text_key) and v is not None}
    if text_key is None and not {"tool_calls", "function_call"} & extra.keys():
        return Refusal("does_not_fit", f"turn {number} has no text (`content` or `value`)")
    if not isinstance(extra.get("tool_calls", []), list):
        return Refusal("does_not_fit", f"`tool_calls` of turn {number} is no list")
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
