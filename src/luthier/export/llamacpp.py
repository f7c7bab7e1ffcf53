"""What llama.cpp makes of a chat request before its template sees it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any


def refused(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """Return why llama.cpp takes no such messages for a chat that asks for an answer; None where it does."""
    if messages and messages[-1].get("role") == "assistant":
        return "they end with an answer, which llama.cpp continues"
    for message in messages:
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                return "llama.cpp refuses a tool call without a name"
            if not _is_json(function.get("arguments", "")):
                return "llama.cpp refuses a tool call whose arguments are no JSON"
    return None


def _is_json(text: Any) -> bool:
    try:
        json.loads(text)
    except (TypeError, ValueError):
        return False
    return True


def rebuilt(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a chat request as llama.cpp shows it to a template: it takes tools apart and puts them together anew.

    A tool has name, description and parameters, in this order, and nothing else; what is missing is empty. Numbers
    have six digits, and a whole one no decimal point.

    Args:
        messages: As `luthier.export.servers.sent` makes them.
        tools: In the OpenAI shape.
    """
    turns = []
    for message in messages:
        turn = dict(message)
        if turn.get("tool_calls"):
            turn["tool_calls"] = [_rebuilt_call(call) for call in turn["tool_calls"]]
        turns.append(turn)
    functions = [tool.get("function") or {} for tool in tools]
    return turns, [
        {
            "type": "function",
            "function": {
                "name": function.get("name"),
                "description": function.get("description", ""),
                "parameters": _numbers(function.get("parameters", {})),
            },
        }
        for function in functions
    ]


def _rebuilt_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": _numbers(json.loads(function.get("arguments") or "{}"))}}


def _numbers(value: Any) -> Any:
    """Return a JSON value with its numbers as llama.cpp writes them."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    if isinstance(value, int | float):
        written = f"{float(value):g}"
        return int(written) if written.lstrip("-").isdigit() else float(written)
    return value
