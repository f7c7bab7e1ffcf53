"""What is left of a prompt template in the texts that were cut out of it."""

import re
from typing import Literal

from luthier.core.example import Example, Message
from luthier.data.clean.prose import CODE_SPAN
from luthier.data.clean.step import Notes, Step, each, pinned, turns, with_texts
from luthier.data.rows import Refusal

HEADING = r"#{2,3} (?:Instruction|Input|Response|Output|Human|Assistant|User|System|Question|Answer|Context):"
"""Of Alpaca's template and its kin (https://github.com/tatsu-lab/stanford_alpaca)."""

PREAMBLE = re.compile(r"Below is an instruction that describes a task[^\n]{0,160}(?:\n+|\Z)")
OF_A_PROMPT = re.compile(
    r"\s{0,9}(?:#{2,3} (?:Instruction|Human|User|Question|Input):|(?:Human|User|USER):)\s{0,9}(?=\S)"
)
OF_AN_ANSWER = re.compile(
    r"\s{0,9}(?:#{2,3} (?:Response|Output|Assistant|Answer):|(?:Assistant|ASSISTANT|AI|Response|GPT):)\s{0,9}(?=\S)"
)
"""A label before a text. A label alone stays: it is all there is."""
NEXT_TURN = re.compile(
    r"\s{0,9}\n(?:#{2,3} (?:Instruction|Response|Human|Assistant|User):|(?:Human|User|USER|Assistant|ASSISTANT):)"
    r"\s{0,9}\Z"
)
"""The label of the turn that came next."""

PLACEHOLDER = re.compile(
    r"\{\{ ?(?:user|char|name|input|instruction|prompt|question|context|response|output|text|system|query|assistant)"
    r"[\w.]{0,20} ?\}\}|\{(?:instruction|prompt|question|user_input|input_text|query)\}"
)
HEADINGS = re.compile(rf"^{HEADING}", re.MULTILINE)

TAIL = 80
WIDEST = 24
"""Characters in which a label begins, or ends."""
BEGIN = ("##", "Human:", "User:", "USER:", "Assistant:", "ASSISTANT:", "AI:", "Response:", "GPT:")
PREAMBLE_BEGINS = "Below is an instruction that describes a task"


def step(action: Literal["tell", "remove", "drop"]) -> Step:
    """Return the step. Placeholders and headings in the middle are told: nobody knows what belongs there."""

    def look(example: Example, notes: Notes) -> Example | Refusal:
        if not any(_may_hold_some(turn.text) for turn in turns(example)):
            return example
        if action == "remove" and not pinned(example):
            example = with_texts(example, [stripped(turn) for turn in turns(example)])
        kinds = {kind for turn in turns(example) for kind in found(turn)}
        if kinds and action == "drop":
            return Refusal("residue", f"a text holds {' and '.join(sorted(kinds))}")
        for kind in sorted(kinds):
            notes.see(kind, example.source)
        return example

    return each(look)


def _may_hold_some(text: str) -> bool:
    """Say whether a closer look is worth its time."""
    return (
        "## " in text
        or "{" in text
        or text[:WIDEST].lstrip().startswith((*BEGIN, PREAMBLE_BEGINS[:9]))
        or text[-1:] in ": \n"
    )


def found(turn: Message) -> list[str]:
    """Return what kinds of residue a turn holds, outside code."""
    text = turn.text
    label = stripped(turn) != text
    heading = not label and "## " in text and HEADINGS.search(text) is not None
    hole = "{" in text and PLACEHOLDER.search(text) is not None
    if heading or hole:
        prose = CODE_SPAN.sub(" ", text)
        heading, hole = heading and HEADINGS.search(prose) is not None, PLACEHOLDER.search(prose) is not None
    told = {"a label of a turn": label, "a heading of a prompt template": heading, "an unfilled placeholder": hole}
    return [kind for kind, there in told.items() if there]


def stripped(turn: Message) -> str:
    """Return the text of a turn without the labels at its ends."""
    text = turn.text
    labels = {"user": OF_A_PROMPT, "assistant": OF_AN_ANSWER}.get(turn.role)
    before = None
    while text != before:
        before = text
        if text.startswith(PREAMBLE_BEGINS):
            text = PREAMBLE.sub("", text, count=1)
        if labels and text[:WIDEST].lstrip().startswith(BEGIN) and (label := labels.match(text)):
            text = text[label.end() :]
        if text[-WIDEST:].rstrip().endswith(":") and (following := NEXT_TURN.search(text, max(0, len(text) - TAIL))):
            text = text[: following.start()]
    return text
