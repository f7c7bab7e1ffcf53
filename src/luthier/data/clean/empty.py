"""Rows in which there is nothing to learn."""

from collections.abc import Sequence

from luthier.core.example import Example, Message
from luthier.data.clean.step import Notes, Step
from luthier.data.rows import Refusal


def step(min_answer_chars: int) -> Step:
    """Return the step that drops what holds nothing, or too little."""

    def look(examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
        del notes
        return [refusal(example, min_answer_chars=min_answer_chars) or example for example in examples]

    return look


def refusal(example: Example, *, min_answer_chars: int) -> Refusal | None:
    """Return why the example is dropped, or None."""
    if example.rejected:
        return _of_pair(example, min_answer_chars)
    if example.messages[-1].role != "assistant":  # a text to classify, or to learn
        return None if example.messages[-1].text.strip() else Refusal("empty_text", "the text is empty")
    return _of_answer(example.messages, "answer", min_answer_chars)


def _of_pair(example: Example, least: int) -> Refusal | None:
    if example.messages == example.rejected:
        return Refusal("equal_endings", "the chosen and the rejected ending are the same")
    if "user" not in {message.role for message in example.messages[: example.shared or 1]}:
        return Refusal("no_prompt", "nobody asks anything: no column is a prompt, and no `Human:` begins the endings")
    endings = {"chosen": example.messages[example.shared :], "rejected": example.rejected[example.shared :]}
    for name, ending in endings.items():
        if not example.shared or not ending or ending[0].role != "assistant":
            what = "begin with other turns" if not example.shared or ending else f"share what is all of `{name}`"
            return Refusal("different_prompts", f"chosen and rejected {what}, so they are no two answers to one prompt")
    refusals = (_of_answer(ending, f"{name} answer", least) for name, ending in endings.items())
    return next((refusal for refusal in refusals if refusal), None)


def _of_answer(turns: Sequence[Message], name: str, least: int) -> Refusal | None:
    """Return why nothing in the turns is worth learning. A call of a tool is an answer without text."""
    longest = 0
    for message in turns:
        if message.role == "assistant":
            if message.extra.get("tool_calls") or message.extra.get("function_call"):
                return None
            longest = max(longest, len(message.text.strip()))
    if longest >= least:
        return None
    if longest == 0:
        return Refusal("empty_answer", f"the {name} is empty")
    return Refusal("empty_answer", f"the longest {name} has {longest} characters, at least {least} are asked")
