"""What OpenAI's fine-tuning asks of a file, row by row: would it take these rows as they are?

Source: the API's reference of chat-format training files, and the errors it gives (`invalid_n_examples` below ten).
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from luthier.core.example import Example, Message
from luthier.core.report import Check
from luthier.core.text import human_bytes, plural

if TYPE_CHECKING:
    from luthier.data.evidence import Evidence

FEWEST = 10
"""Examples a file must have."""

LONGEST = 65_536
"""Tokens of training context of the gpt-4o and gpt-4.1 families: longer examples are cut without a word."""

LARGEST = 512 * 10**6
"""Bytes of an upload in one piece; larger files go in parts."""


def _weights(example: Example) -> bool:
    """A `weight` is 0 or 1, stands at answers only, and not every answer has 0."""
    weighed = [message for message in example.messages if "weight" in message.extra]
    answers = [message for message in example.messages if message.role == "assistant"]
    wrong = any(m.role != "assistant" or m.extra["weight"] not in (0, 1) for m in weighed)
    return wrong or (bool(answers) and all(m.extra.get("weight") == 0 for m in answers))


def _tools(example: Example) -> bool:
    """Calls have `id`, `type` and `function{name, arguments}`, and every answer of a tool names an earlier call."""
    called: list[Any] = []
    for message in (*example.messages, *example.rejected):
        calls = message.extra.get("tool_calls") or []
        if not isinstance(calls, list) or not all(map(_is_call, calls)):
            return True
        called += [call["id"] for call in calls]
        if message.role == "tool" and message.extra.get("tool_call_id") not in called:
            return True
    return False


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(call.get("id"), str) or call.get("type") != "function":
        return False
    arguments = function.get("arguments")
    try:
        json.loads(arguments if isinstance(arguments, str) else "")
    except (ValueError, RecursionError):
        return False
    return isinstance(function.get("name"), str)


def _empty(example: Example) -> bool:
    """A message has content, unless it calls tools."""
    return any(_says_nothing(message) for message in (*example.messages, *example.rejected))


def _says_nothing(message: Message) -> bool:
    return not message.text and not message.extra.get("tool_calls") and not message.extra.get("function_call")


def _last(example: Example) -> bool:
    """The last message is the assistant's."""
    return example.messages[-1].role != "assistant"


BROKEN: dict[str, Callable[[Example], bool]] = {
    "last message not the assistant's": _last,
    "wrong weights": _weights,
    "tool calls that don't fit together": _tools,
    "empty messages": _empty,
}
"""The rules a row can break, each with what says whether it does."""


def check(found: "Evidence") -> Check | None:
    """Return whether OpenAI would take the rows to train on; None where it has no such training."""
    if found.rows not in ("conversation", "pair"):
        return None
    faults = [f"{plural(found.spotted.count[rule], 'row')} with {rule}" for rule in BROKEN if found.spotted.count[rule]]
    long = found.lengths.over(LONGEST).rows
    if long:
        words = "estimated tokens" if found.lengths.estimate else "tokens"
        faults.append(f"{plural(long, 'row')} above {LONGEST:,} {words}, cut without a word")
    if found.splits["train"] < FEWEST:
        faults.append(f"{plural(found.splits['train'], 'row')} to train on, and {FEWEST} are the fewest")
    if found.size > LARGEST:
        faults.append(f"{human_bytes(found.size)}, and a file may have {human_bytes(LARGEST)}: send it in parts")
    if not faults:
        return Check("openai_rules", "ok", "OpenAI's fine-tuning would take these rows")
    hint = "nothing to do unless you mean to upload them"
    return Check("openai_rules", "note", f"OpenAI's fine-tuning would not: {'; '.join(faults)}", hint)
