"""Examples as rows of other formats: the inverse of `formats`. What a format has no place for is found by reading back.

A format may have several ways to write an example: the usual one first, then those that hold more. The first that
reads back as the same example is taken; of those that don't, the one that loses least.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from luthier.core.example import Example, Message
from luthier.data.convert import Converter
from luthier.data.rows import RawRow, Refusal
from luthier.recipe.data import Data, Output
from luthier.recipe.methods import Rows

Row = dict[str, Any]
Ways = Callable[[Example], Iterator[Row]]

SHAREGPT = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}

WHOLE_ROW = "whole rows"
"""What is lost where a format can't say an example at all."""


class Writer:
    """Writes examples as rows of one format.

    Args:
        output: Which.
        rows: What the examples are.
    """

    def __init__(self, output: Output, rows: Rows) -> None:
        self._ways = WAYS[output]
        self._reader = Converter(Data(sources=("-",)), rows)

    def row(self, example: Example) -> tuple[Row | None, list[str]]:
        """Return the row, and what of the example is lost in it; None where the format can't say it."""
        best: tuple[Row | None, list[str]] = None, [WHOLE_ROW]
        for row in self._ways(example):
            for tagged in ({**example.tags, **row}, row) if example.tags else (row,):
                back = self._reader.convert(RawRow(tagged, example.source))
                if isinstance(back, Refusal):
                    continue
                lost = differences(example, back)
                if not lost:
                    return tagged, []
                if best[0] is None or len(lost) < len(best[1]):
                    best = tagged, lost
        return best


def differences(before: Example, after: Example) -> list[str]:
    """Return what two examples from the same place don't have in common: parts of a row, and keys of turns."""
    found = [part for part in ("tags", "tools", "label", "margin") if getattr(before, part) != getattr(after, part)]
    turns = [(*one.messages, *one.rejected) for one in (before, after)]
    said = [[(message.role, message.text) for message in messages] for messages in turns]
    if said[0] != said[1] or len(before.messages) != len(after.messages):
        return [*found, "turns"]
    keys = {
        key
        for one, other in zip(*turns, strict=True)
        for key in one.extra.keys() | other.extra.keys()
        if one.extra.get(key) != other.extra.get(key)
    }
    return [*found, *sorted(keys)]


def _openai(example: Example) -> Iterator[Row]:
    turns = _plain(example.messages)
    tools: Row = {"tools": [*example.tools]} if example.tools else {}
    if not example.rejected:
        yield {"messages": turns, **tools, **_label(example)}
        return
    shared = example.shared
    endings = {"preferred_output": turns[shared:], "non_preferred_output": _plain(example.rejected)[shared:]}
    yield {"input": {"messages": turns[:shared], **tools}, **endings, **_margin(example)}


def _sharegpt(example: Example) -> Iterator[Row]:
    tools: Row = {"tools": json.dumps(example.tools, ensure_ascii=False)} if example.tools else {}
    for turn in (_said_or_called, _said):
        turns = [turn(message) for message in example.messages]
        if not example.rejected:
            yield {"conversations": turns, **tools, **_label(example, "kto_tag")}
            continue
        shared = example.shared
        worse = [turn(message) for message in example.rejected[shared:]]
        better = turns[shared:]
        single = len(better) == len(worse) == 1
        endings = {"chosen": better[0], "rejected": worse[0]} if single else {"chosen": better, "rejected": worse}
        yield {"conversations": turns[:shared], **endings, **tools, **_margin(example)}


def _said(message: Message) -> Row:
    return {"from": SHAREGPT.get(message.role, message.role), "value": message.text, **message.extra}


def _said_or_called(message: Message) -> Row:
    """Return a turn, one that only calls functions as LLaMA-Factory has it: the calls are its text."""
    calls = message.extra.get("tool_calls")
    try:
        flat = [{"id": call["id"], **call["function"]} for call in calls or ()]
    except (KeyError, TypeError):
        flat = []
    if message.text or not flat:
        return _said(message)
    others = {key: value for key, value in message.extra.items() if key != "tool_calls"}
    return {"from": "function_call", "value": json.dumps(flat, ensure_ascii=False), **others}


def _alpaca(example: Example) -> Iterator[Row]:
    shared = example.shared if example.rejected else len(example.messages) - 1
    asked = _instruction(example.messages[:shared])
    ending, worse = example.messages[shared:], example.rejected[shared:]
    if asked is None or len(ending) != 1 or len(worse) > 1:
        return
    if worse:
        yield {**asked, "chosen": ending[0].text, "rejected": worse[0].text, **_margin(example)}
    else:
        yield {**asked, "output": ending[0].text, **_label(example, "kto_tag")}


def _instruction(turns: Sequence[Message]) -> Row | None:
    """Return what stands before an answer in Alpaca's columns, where user and assistant take turns."""
    system = turns[0].text if turns and turns[0].role == "system" else None
    *earlier, last = turns[system is not None :] or (None,)
    roles = [message.role for message in earlier]
    if last is None or last.role != "user" or roles != ["user", "assistant"] * (len(roles) // 2):
        return None
    texts = [message.text for message in earlier]
    history = [[*pair] for pair in zip(texts[::2], texts[1::2], strict=True)]
    beside = {**({} if system is None else {"system": system}), **({"history": history} if history else {})}
    return {"instruction": last.text, "input": "", **beside}


def _completion(example: Example) -> Iterator[Row]:
    """Return prompt and completion as texts, else as turns, as TRL has them."""
    tools: Row = {"tools": [*example.tools]} if example.tools else {}
    *prompt, answer = example.messages
    if len(prompt) == 1 and prompt[0].role == "user":
        yield {"prompt": prompt[0].text, "completion": answer.text, **_label(example)}
    yield {"prompt": _plain(prompt), "completion": _plain([answer]), **tools, **_label(example)}


def _preference(example: Example) -> Iterator[Row]:
    """Return prompt and both endings as texts, else as turns, as TRL has them."""
    shared = example.shared
    prompt, better, worse = example.messages[:shared], example.messages[shared:], example.rejected[shared:]
    tools: Row = {"tools": [*example.tools]} if example.tools else {}
    if [message.role for message in prompt] == ["user"] and len(better) == len(worse) == 1:
        endings = {"chosen": better[0].text, "rejected": worse[0].text}
        yield {"prompt": prompt[0].text, **endings, **_margin(example)}
    turns = {"prompt": _plain(prompt), "chosen": _plain(better), "rejected": _plain(worse)}
    yield {**turns, **tools, **_margin(example)}


def _classification(example: Example) -> Iterator[Row]:
    if len(example.messages) == 1:
        yield {"text": example.messages[0].text, **_label(example)}


def _text(example: Example) -> Iterator[Row]:
    yield {"text": example.messages[0].text}


def _plain(messages: Sequence[Message]) -> list[Row]:
    return [message.as_dict() for message in messages]


def _label(example: Example, name: str = "label") -> Row:
    return {} if example.label is None else {name: example.label}


def _margin(example: Example) -> Row:
    return {} if example.margin is None else {"margin": example.margin}


WAYS: dict[Output, Ways] = {
    "openai": _openai,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "completion": _completion,
    "kto": _completion,
    "preference": _preference,
    "classification": _classification,
    "text": _text,
}
"""Format to the ways to write an example in it."""
