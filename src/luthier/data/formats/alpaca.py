"""`{"instruction", "input", "output"}`: the Alpaca format, with LLaMA-Factory's `history` and `system`."""

from collections.abc import Mapping, Sequence
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import completion
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import first_of, text_of
from luthier.data.rows import Refusal

ANSWERS = ("output", "response", "answer", "completion", "reply", "target")
CONTEXTS = ("input", "context", "passage")
SYSTEMS = ("system", "system_prompt")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns when there is an instruction and an answer."""
    found = {
        "prompt": first_of(names, ("instruction",)),
        "context": first_of(names, CONTEXTS),
        "answer": first_of(names, ANSWERS),
        "system": first_of(names, SYSTEMS),
        "history": first_of(names, ("history",)),
    }
    if found["prompt"] is None or found["answer"] is None:
        return None
    return {part: column for part, column in found.items() if column}


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return instruction and input as one user turn, the output as the answer, earlier turns before them."""
    found = completion.parts(row, columns)
    if isinstance(found, Refusal):
        return found
    messages = after_history(row, columns, found.messages)
    return messages if isinstance(messages, Refusal) else Parts(messages)


def after_history(
    row: Mapping[str, Any], columns: Mapping[str, str], messages: Sequence[Message]
) -> list[Message] | Refusal:
    """Return the turns with the row's earlier ones before them, and a system prompt before both."""
    earlier = _history(row.get(columns.get("history", "")) or [])
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
