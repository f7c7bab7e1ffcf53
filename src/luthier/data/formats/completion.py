"""A prompt column and an answer column, under any of the names people give them."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats.turns import first_of, text_of
from luthier.data.rows import Refusal

PROMPTS = (
    "prompt",
    "question",
    "query",
    "instruction",
    "customer_message",
    "user_message",
    "user_input",
    "customer",
    "user",
    "human",
    "input",
    "request",
    "problem",
    "message",
)
ANSWERS = (
    "completion",
    "answer",
    "response",
    "reply",
    "agent_reply",
    "agent_response",
    "assistant_message",
    "bot_response",
    "support_reply",
    "assistant",
    "agent",
    "bot",
    "gpt",
    "output",
    "target",
    "solution",
)
CONTEXTS = ("context", "passage")
SYSTEMS = ("system", "system_prompt")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the first column of each list that is there; of several, the more telling name stands first."""
    found = {
        "prompt": first_of(names, PROMPTS),
        "context": first_of(names, CONTEXTS),
        "answer": first_of(names, ANSWERS),
        "system": first_of(names, SYSTEMS),
    }
    if found["prompt"] is None or found["answer"] is None:
        return None
    return {part: column for part, column in found.items() if column}


def to_messages(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
    """Return one question with its answer; the context goes below the prompt."""
    texts = {}
    for part in ("system", "prompt", "context", "answer"):
        column = columns.get(part)
        text = text_of(row.get(column), f"`{column}`") if column else ""
        if isinstance(text, Refusal):
            return text
        texts[part] = text
    asked = [texts[part] for part in ("prompt", "context") if texts[part].strip()]
    messages = [Message("user", "\n\n".join(asked)), Message("assistant", texts["answer"])]
    if texts["system"].strip():
        messages.insert(0, Message("system", texts["system"]))
    return messages
