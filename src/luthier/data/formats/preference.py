"""`{"prompt", "chosen", "rejected"}`: two endings of one conversation, a better and a worse one.

The endings are texts, last turns, or whole conversations (as `messages`, or as a transcript in one text, `Human: …
Assistant: …`, the way of hh-rlhf), which then need no prompt beside them. OpenAI's `input`, `preferred_output` and
`non_preferred_output` are the same with other names.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from luthier.core.example import Message
from luthier.core.text import one_line
from luthier.data.formats import alpaca, completion, openai, sharegpt
from luthier.data.formats.calls import tools_of
from luthier.data.formats.parts import Parts
from luthier.data.formats.speakers import spoken
from luthier.data.formats.turns import cell, columns_of, has_turns, said
from luthier.data.readers.json_text import parse
from luthier.data.rows import Refusal

CHOSEN = (
    "chosen",
    "chosen_response",
    "response_chosen",
    "accepted",
    "preferred",
    "preferred_output",
    "preferred_completion",
    "preferred_response",
    "better",
    "response_j",
)
REJECTED = (
    "rejected",
    "rejected_response",
    "response_rejected",
    "refused",
    "dispreferred",
    "non_preferred_output",
    "non_preferred_completion",
    "non_preferred",
    "dispreferred_response",
    "worse",
    "response_k",
)
PROMPTS = (*completion.PROMPTS, *sharegpt.COLUMNS, *openai.COLUMNS)
BETTER_SCORES = ("score_chosen", "chosen_score", "chosen_rating", "rating_chosen", "chosen_reward")
WORSE_SCORES = ("score_rejected", "rejected_score", "rejected_rating", "rating_rejected", "rejected_reward")


def columns(names: Mapping[str, str]) -> dict[str, str] | None:
    """Return the columns when there are two endings; whatever else is there belongs to the prompt or the margin."""
    found = columns_of(
        names,
        prompt=PROMPTS,
        context=alpaca.CONTEXTS,
        history=("history",),
        system=openai.SYSTEMS,
        tools=openai.TOOLS,
        chosen=CHOSEN,
        rejected=REJECTED,
        margin=("margin",),
        score_chosen=BETTER_SCORES,
        score_rejected=WORSE_SCORES,
    )
    if found.get("context") == found.get("prompt"):
        found.pop("context", None)
    return found if {"chosen", "rejected"} <= found.keys() else None


def parts(row: Mapping[str, Any], columns: Mapping[str, str]) -> Parts | Refusal:
    """Return the conversation with the better and with the worse ending, and the margin between them."""
    tools, prompt, margin = tools_of(_tools(row, columns)), _prompt(row, columns), _margin(row, columns)
    if isinstance(tools, Refusal):
        return tools
    if isinstance(prompt, Refusal):
        return prompt
    if isinstance(margin, Refusal):
        return margin
    endings = []
    for part in ("chosen", "rejected"):
        ending = said(_unfolded(row[columns[part]]), "assistant", columns[part])
        if not ending:
            return Refusal("empty_answer", f"`{columns[part]}` holds no turn")
        whole = ending if isinstance(ending, Refusal) else _joined(prompt, ending, columns[part])
        if isinstance(whole, Refusal):
            return whole
        endings.append(whole)
    return Parts(endings[0], endings[1], margin=margin, tools=tools)


def _prompt(row: Mapping[str, Any], columns: Mapping[str, str]) -> list[Message] | Refusal:
    """Return the turns before the endings, none where the endings hold them."""
    if "prompt" not in columns and "system" not in columns:
        return []
    unfolded = {columns["prompt"]: _unfolded(row[columns["prompt"]])} if "prompt" in columns else {}
    asked = completion.asked({**row, **unfolded}, columns)
    if isinstance(asked, Refusal):
        return asked
    text = isinstance(cell(row, columns, "prompt"), str | None)
    while text and asked and asked[-1].role != "system" and not asked[-1].text.strip():
        asked.pop()  # an empty cell, or the "Assistant:" at the end of a transcript
    return alpaca.after_history(row, columns, asked)


def _unfolded(value: Any) -> Any:
    """Return the turns that stand in a text (as a transcript or as JSON) or below a key; anything else as it is."""
    if isinstance(value, str):
        if turns := spoken(value):
            return turns
        inside = parse(value) if value.lstrip()[:1] in ("[", "{") else None
        return inside if has_turns(inside if isinstance(inside, list) else [inside]) else value
    if isinstance(value, dict) and "messages" in value:
        return value["messages"]
    return value


def _joined(prompt: Sequence[Message], ending: list[Message], column: str) -> list[Message] | Refusal:
    """Return prompt and ending as one conversation; an ending that is one itself must hold what the prompt asks."""
    if not prompt or not ending or ending[0].role not in ("system", "user"):
        return [*prompt, *ending]
    asked = [message.text.strip() for message in prompt if message.role != "system"]
    spoken = [message.text.strip() for message in ending]
    if asked and asked[-1] not in spoken:
        said = one_line(asked[-1], 40)
        return Refusal("different_prompts", f"`{column}` is a conversation in which `{said}`, the prompt, is not asked")
    above = [message for message in prompt if message.role == "system"] if ending[0].role != "system" else []
    return [*above, *ending]


def _tools(row: Mapping[str, Any], columns: Mapping[str, str]) -> Any:
    """Return the functions the row offers: in a column of their own, or beside the turns as OpenAI has them."""
    if "tools" in columns:
        return row[columns["tools"]]
    beside = cell(row, columns, "prompt")
    return beside.get("tools") if isinstance(beside, dict) else None


def _margin(row: Mapping[str, Any], columns: Mapping[str, str]) -> float | Refusal | None:
    """Return by how much the better ending is better, where a row says so: its margin, or the scores' difference."""
    numbers = {}
    for part in ("margin", "score_chosen", "score_rejected"):
        value = cell(row, columns, part)
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        number = _number(value)
        if number is None:
            return Refusal("does_not_fit", f"`{columns[part]}` is `{one_line(str(value), 40)}`, not a number")
        numbers[part] = number
    if "margin" in numbers:
        return numbers["margin"]
    if len(numbers) < 2:
        return None
    margin = numbers["score_chosen"] - numbers["score_rejected"]
    return margin if isfinite(margin) else Refusal("does_not_fit", "the scores lie too far apart for a number")


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if isfinite(number) else None
