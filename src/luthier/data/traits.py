"""What a row may show that a person should know, each a bit of a number. Looking changes nothing."""

from collections.abc import Callable, Sequence

import numpy as np

from luthier.core.example import Example, Message, Source
from luthier.core.report import Check
from luthier.core.text import plural
from luthier.data import openai_rules
from luthier.data.kept import Kept

HUMAN_TURNS = ("user", "assistant")

SHORT = 5
"""Words. An answer of fewer is rarely what somebody wanted written."""


def _talks(example: Example) -> bool:
    return example.messages[-1].role == "assistant"


def _empty_prompt(example: Example) -> bool:
    return _talks(example) and not any(m.role == "user" and m.text.strip() for m in example.messages)


def _turn_order(example: Example) -> bool:
    return _talks(example) and not (_in_turns(example.messages) and _in_turns(example.rejected))


def _in_turns(messages: Sequence[Message]) -> bool:
    """Say whether user and assistant take turns, the user first, and system prompts stand before both."""
    roles = [message.role for message in messages]
    while roles and roles[0] == "system":
        roles.pop(0)
    if "system" in roles:
        return False
    if "tool" in roles:
        return roles[0] == "user"
    return all(role == HUMAN_TURNS[index % 2] for index, role in enumerate(roles))


def _short_answer(example: Example) -> bool:
    text = example.messages[-1].text
    spaced = text.isascii()  # elsewhere a sentence may have no space
    return _talks(example) and spaced and len(text.split(None, SHORT)) < SHORT and not example.messages[-1].extra


def _longer_chosen(example: Example) -> bool:
    return bool(example.rejected) and len(example.messages[-1].text) > len(example.rejected[-1].text)


TRAITS: dict[str, Callable[[Example], bool]] = {
    "empty_prompts": _empty_prompt,
    "turn_order": _turn_order,
    "short_answers": _short_answer,
    "longer_chosen": _longer_chosen,
    **openai_rules.BROKEN,
}
"""What a row is looked at for; its place is its bit."""


def spot(example: Example) -> int:
    """Return which of `TRAITS` a row has, as bits."""
    return sum(shows(example) << place for place, shows in enumerate(TRAITS.values()))


class Spotted:
    """How many of the kept rows show something, and where it was seen first."""

    def __init__(self, kept: Kept) -> None:
        self.count: dict[str, int] = {}
        self.first: dict[str, Source] = {}
        traits = kept["traits"]
        for place, name in enumerate(TRAITS):
            rows = np.flatnonzero(traits & np.uint64(1 << place))
            self.count[name] = len(rows)
            if len(rows):
                self.first[name] = kept.source(int(rows[0]))

    def check(self, name: str, fine: str, details: str, hint: str) -> Check:
        """Return the check of a trait. In `details`, `{rows}` is how many, `{first}` the first of them."""
        count = self.count[name]
        if not count:
            return Check(name, "ok", fine)
        told = details.format(rows=plural(count, "row"), first=self.first[name])
        return Check(name, "warning", told, hint)
