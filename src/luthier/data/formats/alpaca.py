"""`{"instruction", "input", "output"}`: the Alpaca format, with LLaMA-Factory's `history` and `system`."""

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import completion, openai
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import cell, columns_of, text_of
from luthier.data.rows import Refusal

ANSWERS = ("output", "response", "answer", "completion", "reply", "target")
CONTEXTS = ("input", *completion.CONTEXTS)


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns when there is an instruction and an answer."""
    found = columns_of(
        names,
        prompt=("instruction",),
        context=CONTEXTS,
        answer=ANSWERS,
        system=openai.SYSTEMS,
        history=("history",),
        tools=openai.TOOLS,
    )
    return found if {"prompt", "answer"} <= found.keys() else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return instruction and input as one user turn, the output as the answer, earlier turns before them."""
    found = completion.parts(row, columns)
    if isinstance(found, Refusal):
        return found
    messages = after_history(row, columns, found.messages)
    return messages if isinstance(messages, Refusal) else found._replace(messages=messages)


def after_history(
    row: Mapping[str, Any], columns: Mapping[str, str], messages: Sequence[Message]
) -> list[Message] | Refusal:
    """Return the turns with the row's earlier ones before them, and a system prompt before both."""
    earlier = _history(cell(row, columns, "history") or [])
    if isinstance(earlier, Refusal):
        return earlier
    first = 1 if messages and messages[0].role == "system" else 0
    return [*messages[:first], *earlier, *messages[first:]]


def _history(value: Any) -> list[Message] | Refusal:
    """Return the turns of `[[user, assistant], …]`."""
    if not isinstance(value, list):
        return Refusal("does_not_fit", "`history` is not a list of pairs")
    messages = []
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2:
            return Refusal("does_not_fit", "`history` is not a list of pairs")
        for role, said in zip(("user", "assistant"), pair, strict=True):
            text = text_of(said, "a turn in `history`")
            if isinstance(text, Refusal):
                return text
            messages.append(Message(role, text))
    return messages
