"""Functions an assistant may call and its calls of them, from every way files have to write them to OpenAI's."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from luthier.core.example import Message
from luthier.data.readers.json_text import a_kind, parse
from luthier.data.rows import Refusal

CALLING = "function_call"
"""The word for a turn whose text is a call of a function, or a list of them, as JSON: LLaMA-Factory's format. OpenAI's
older format has a key of this name that holds one call."""

CALL_KEYS = frozenset({"name", "arguments", "id", "type"})


def tools_of(value: Any) -> tuple[dict[str, Any], ...] | Refusal:
    """Return the functions a row offers the assistant, in the OpenAI shape.

    They come as a list or as JSON text of one, each wrapped (`{"type": "function", "function": {…}}`) or bare.
    """
    if isinstance(value, str):
        value = parse(value) if value.strip() else None
    if value is None:
        return ()
    if not isinstance(value, list):
        said = "no JSON" if isinstance(value, Refusal) else a_kind(value)
        return Refusal("does_not_fit", f"`tools` is {said}, not a list of functions")
    tools = []
    for number, tool in enumerate(value, start=1):
        wrapped = tool if isinstance(tool, dict) and isinstance(tool.get("function"), dict) else None
        function = wrapped["function"] if wrapped else tool
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return Refusal("does_not_fit", f"tool {number} has no function with a name")
        tools.append(wrapped or {"type": "function", "function": function})
    return tuple(tools)


def calling(message: Message, word: str, number: int) -> tuple[Message, dict[str, Any] | None]:
    """Return a turn with its calls where the OpenAI format has them, and the call if it makes a single one.

    Args:
        message: The turn as it was read.
        word: The file's word for who speaks.
        number: Which turn of the conversation it is; made ids depend on it.
    """
    calls: list[dict[str, Any]] = []
    if "tool_calls" not in message.extra:
        if word == CALLING:
            calls = _listed(parse(message.text), number)
            message = replace(message, text="") if calls else message
        elif isinstance(message.extra.get(CALLING), dict):
            calls = _listed(message.extra[CALLING], number)
            others = {key: value for key, value in message.extra.items() if key != CALLING}
            message = replace(message, extra=others) if calls else message
    if calls:
        message = replace(message, extra={**message.extra, "tool_calls": calls})
    return message, calls[0] if len(calls) == 1 else None


def answering(message: Message, call: Mapping[str, Any] | None) -> Message:
    """Return what a function gave with the id and name of the call it answers, unless it names one itself."""
    if call is None or "tool_call_id" in message.extra:
        return message
    return replace(message, extra={"tool_call_id": call["id"], "name": call["function"]["name"], **message.extra})


def _listed(value: Any, number: int) -> list[dict[str, Any]]:
    """Return the calls a value holds, in the OpenAI shape; none where any of it is something else."""
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
