"""A prompt column and an answer column, under any of the names people give them."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats.parts import Parts
from luthier.data.formats.turns import first_of, said, text_of
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


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return one question with its answer."""
    before = asked(row, columns)
    if isinstance(before, Refusal):
        return before
    answer = said(row.get(columns["answer"]), "assistant", columns["answer"])
    return answer if isinstance(answer, Refusal) else Parts([*before, *answer])


def asked(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
    """Return what stands before the answer: the system prompt and the prompt, with the context below it."""
    texts = {}
    for part in ("system", "context"):
        column = columns.get(part)
        text = text_of(row.get(column), f"`{column}`") if column else ""
        if isinstance(text, Refusal):
            return text
        texts[part] = text
    system = [Message("system", texts["system"])] if texts["system"].strip() else []
    column = columns.get("prompt", "")
    prompt = said(row.get(column), "user", column)
    if isinstance(prompt, Refusal) or not texts["context"].strip():
        return prompt if isinstance(prompt, Refusal) else [*system, *prompt]
    above = prompt[-1].text if prompt else ""
    below = "\n\n".join(text for text in (above, texts["context"]) if text.strip())
    return [*system, *prompt[:-1], Message("user", below)]
