"""A prompt column and an answer column, under any of the names people give them."""

from collections.abc import Mapping
from typing import Any

from luthier.core.example import Message
from luthier.data.formats import openai
from luthier.data.formats.calls import tools_of
from luthier.data.formats.parts import Parts
from luthier.data.formats.speakers import spoken
from luthier.data.formats.turns import cell, columns_of, said, text_of
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
    "inputs",
    "request",
    "problem",
    "message",
    "source",
    "src",
    "source_text",
    "text",
)
ANSWERS = (
    "completion",
    "answer",
    "answers",
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
    "ai",
    "output",
    "target",
    "targets",
    "tgt",
    "target_text",
    "solution",
    "canonical_solution",
    "correct_answer",
    "best_answer",
    "code",
    "sql",
)
CONTEXTS = ("context", "passage")

UNNAMED = ("column_1", "column_2")
"""What the columns of a table without a header are called; of two, the second is the answer."""

SHORT = {"prompt": "q", "answer": "a"}
"""Names that say enough together."""


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the first column of each list that is there; of several, the more telling name stands first.

    Where nothing is asked, an answer is one to its context.
    """
    if names.keys() >= {*UNNAMED} and "column_3" not in names:
        return dict(zip(("prompt", "answer"), (names[name] for name in UNNAMED), strict=True))
    found = columns_of(
        names, prompt=PROMPTS, context=CONTEXTS, answer=ANSWERS, system=openai.SYSTEMS, tools=openai.TOOLS
    )
    if names.keys() >= {*SHORT.values()}:
        found = {**{part: names[name] for part, name in SHORT.items()}, **found}
    if "prompt" not in found and "context" in found:
        found["prompt"] = found.pop("context")
    return found if {"prompt", "answer"} <= found.keys() else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return one question with its answer; of several answers, the first."""
    before = asked(row, columns)
    if isinstance(before, Refusal):
        return before
    column = columns["answer"]
    value, left = _first(row.get(column))
    answer = said(value, "assistant", column)
    if isinstance(answer, Refusal):
        return answer
    tools = tools_of(cell(row, columns, "tools"))
    if isinstance(tools, Refusal):
        return tools
    return Parts([*before, *answer], tools=tools, left=(f"other texts in `{column}`",) if left else ())


def asked(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
    """Return what stands before the answer: the system prompt and the prompt, with the context below it."""
    texts = {}
    for part in ("system", "context"):
        text = text_of(cell(row, columns, part), f"`{columns.get(part)}`")
        if isinstance(text, Refusal):
            return text
        texts[part] = text
    system = [Message("system", texts["system"])] if texts["system"].strip() else []
    prompt = said(_before_the_answer(cell(row, columns, "prompt")), "user", columns.get("prompt", ""))
    if isinstance(prompt, Refusal) or not texts["context"].strip():
        return prompt if isinstance(prompt, Refusal) else [*system, *prompt]
    above = prompt[-1].text if prompt else ""
    below = "\n\n".join(text for text in (above, texts["context"]) if text.strip())
    return [*system, *prompt[:-1], Message("user", below)]


def _before_the_answer(value: Any) -> Any:
    """Return the turns of a transcript that stops where the answer begins; anything else as it is."""
    turns = spoken(value) if isinstance(value, str) else []
    stops = bool(turns) and turns[-1] == {"role": "assistant", "content": ""}
    return turns[:-1] if stops else value


def _first(value: Any) -> tuple[Any, bool]:
    """Return the first text of a list of answers, or of SQuAD's `{"text": […]}`, and whether others differ from it."""
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        value = value["text"]
    if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
        return value[0], any(one != value[0] for one in value)
    return (None, False) if value == [] else (value, False)
