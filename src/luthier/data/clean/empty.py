"""Rows in which there is nothing to learn."""

from luthier.core.example import Example
from luthier.data.rows import Refusal


def refusal(example: Example, *, min_answer_chars: int) -> Refusal | None:
    """Return why the example is dropped, or None. A call of a tool is an answer without text."""
    longest = 0
    for message in example.messages:
        if message.role == "assistant":
            if message.extra.get("tool_calls") or message.extra.get("function_call"):
                return None
            longest = max(longest, len(message.text.strip()))
    if longest >= min_answer_chars:
        return None
    if longest == 0:
        return Refusal("empty_answer", "the answer is empty")
    return Refusal(
        "empty_answer", f"the longest answer has {longest} characters, at least {min_answer_chars} are asked"
    )
