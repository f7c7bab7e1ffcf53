"""Who speaks when: a system prompt first, then user and assistant in turns, tool results behind their calls."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from luthier.core.example import Example, Message
from luthier.data.clean.step import Notes, Step, each, pinned
from luthier.data.rows import Refusal

JOINED = "\n\n"
"""What stands between two turns that become one."""

ORDERLY = re.compile(r"s?(?:a|(?:ua(?:t+a)*)+)")
"""First letters of the roles as they should follow each other. Results of tools may follow each other."""
LOST_RESULT = re.compile(r"(?:\A|[su])t")

SYSTEM_LATER = "a system turn behind others"
SYSTEM_TWICE = "several system turns"
LOST = "a tool's result that follows no call"
EMPTY = "an empty turn"
OPENING = "an opening by the assistant"
SAME = "turns of one speaker after each other"


def step(action: Literal["repair", "tell", "drop"]) -> Step:
    """Return the step that sees to the order of turns. Every fault is told by what it is."""

    def look(example: Example, notes: Notes) -> Example | Refusal:
        if _fine(example.messages) and (not example.rejected or _fine(example.rejected)):
            return example
        fixed, faults = repaired(example)
        lost = LOST in faults
        if faults and (action == "drop" or (action == "repair" and lost)):
            return Refusal("wrong_order", LOST if lost else "; ".join(faults))
        for fault in faults:
            notes.see(fault, example.source)
        return example if action == "tell" or pinned(example) else fixed

    return each(look)


def repaired(example: Example) -> tuple[Example, list[str]]:
    """Return the example with its turns in order, and what was wrong. Endings that are compared or judged stay."""
    faults: dict[str, None] = {}
    messages = example.messages
    if any(LOST_RESULT.search(_roles(turns)) for turns in (messages, example.rejected)):
        return example, [LOST]
    if example.rejected or isinstance(example.label, bool):
        shared = example.shared if example.rejected else len(messages) - 1
        begin = _in_order(messages[:shared], faults)
        chosen = (*begin, *messages[shared:])
        rejected = (*begin, *example.rejected[shared:]) if example.rejected else ()
    else:
        chosen, rejected = _in_order(_to_the_last_answer(messages, faults), faults), ()
    if not faults:
        return example, []
    return replace(example, messages=chosen, rejected=rejected), [*faults]


def _fine(turns: Sequence[Message]) -> bool:
    if turns[-1].role != "assistant":  # a text to classify, or to learn
        return True
    return ORDERLY.fullmatch(_roles(turns)) is not None and (len(turns) < 4 or not any(map(_blank, turns)))


def _roles(turns: Sequence[Message]) -> str:
    return "".join([turn.role[0] for turn in turns])


def _blank(turn: Message) -> bool:
    """Say whether a turn says nothing. An empty system prompt does: some templates put one of their own otherwise."""
    return turn.role in ("user", "assistant") and not turn.extra and not turn.text.strip()


def _to_the_last_answer(turns: tuple[Message, ...], faults: dict[str, None]) -> tuple[Message, ...]:
    """Return the turns up to the last answer that says something; all where none does."""
    last = next((i for i in reversed(range(len(turns))) if turns[i].role == "assistant" and not _blank(turns[i])), None)
    if last is None or last == len(turns) - 1:
        return turns
    faults[EMPTY] = None
    return turns[: last + 1]


def _in_order(turns: tuple[Message, ...], faults: dict[str, None]) -> tuple[Message, ...]:
    for fault, fix in ((SYSTEM_LATER, _system_first), (EMPTY, _said), (OPENING, _asked), (SAME, _joined)):
        after = fix(turns)
        if after != turns:
            name = SYSTEM_TWICE if fault == SYSTEM_LATER and not re.search("[^s]s", _roles(turns)) else fault
            faults[name] = None
            turns = after
    return turns


def _system_first(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the turns with all system prompts as one at the front."""
    prompts = [turn for turn in turns if turn.role == "system"]
    others = [turn for turn in turns if turn.role != "system"]
    return (*_joined(tuple(prompts)), *others)


def _said(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the turns without empty ones. The last stays, what a tool answers, and a user who never asks anything."""
    silent = all(_blank(turn) for turn in turns if turn.role == "user")
    left = [
        turn
        for turn, following in pairwise(turns)
        if not _blank(turn) or following.role == "tool" or (silent and turn.role == "user")
    ]
    return (*left, *turns[-1:])


def _asked(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the turns without what the assistant says before the user; all where no user follows."""
    roles = _roles(turns)
    start = roles.count("s")
    first = roles.find("u")
    return turns if first <= start else (*turns[:start], *turns[first:])


def _joined(turns: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return the turns with those of one speaker as one. A turn with a name, a call or a weight stays its own."""
    joined: list[Message] = []
    for turn in turns:
        before = joined[-1] if joined else None
        if before and before.role == turn.role != "tool" and not before.extra and not turn.extra:
            said = [text for text in (before.text, turn.text) if text.strip()]
            joined[-1] = replace(before, text=JOINED.join(said))
        else:
            joined.append(turn)
    return tuple(joined)
