"""Rows that are too short or too long: in characters, words or tokens."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from luthier.core.example import TEXT, Example, Message
from luthier.data.clean.step import Notes, Step
from luthier.data.lengths import CountTokens, estimated
from luthier.data.rows import Refusal
from luthier.recipe.data import Length, Lengths

WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"  # a sign of Chinese or Japanese
    "|[\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]{1,5}"  # Thai, Lao, Burmese, Khmer: about five to a word
    r"|\S+?(?=[\s\u3040-\u30ff\u3400-\u9fff\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff]|\Z)"
)


def words(text: str) -> int:
    """Return how many words a text has, those of scripts without spaces among them."""
    return len(text.split()) if text.isascii() else sum(1 for _ in WORD.finditer(text))


class Measured(NamedTuple):
    """A text whose length matters, and the bounds it must keep."""

    name: str
    text: str
    bounds: Length
    may_be_short: bool


def step(options: Lengths, count: CountTokens | None) -> Step:
    """Return the step. `count` is the model's tokenizer; None estimates and says so in the detail."""

    def look(examples: Sequence[Example], notes: Notes) -> list[Example | Refusal]:
        del notes
        measured = [list(_measured(example, options)) for example in examples]
        limited = [one.text for some in measured for one in some if one.bounds.max_tokens]
        tokens = iter((count or estimated)(limited) if limited else ())
        unit = "tokens" if count else "estimated tokens"
        results: list[Example | Refusal] = []
        for example, some in zip(examples, measured, strict=True):
            faults = [_refusal(one, next(tokens) if one.bounds.max_tokens else 0, unit) for one in some]
            results.append(next((fault for fault in faults if fault), example))
        return results

    return look


def _measured(example: Example, options: Lengths) -> Iterator[Measured]:
    turns = example.messages
    if options.prompt and turns[-1].role == "assistant":
        prompt = "\n".join(
            turn.text for turn in turns[: example.shared or None] if turn.role not in ("assistant", TEXT)
        )
        yield Measured("prompt", prompt, options.prompt, may_be_short=False)
    if options.answer and turns[-1].role == "assistant":
        yield _answer("answer", turns[example.shared :] if example.rejected else turns, options.answer)
        if example.rejected:
            yield _answer("rejected answer", example.rejected[example.shared :], options.answer)
    if options.row:
        everything = (*turns, *example.rejected[example.shared :])
        yield Measured("row", "\n".join(turn.text for turn in everything), options.row, may_be_short=False)


def _answer(name: str, turns: Sequence[Message], bounds: Length) -> Measured:
    said = [turn for turn in turns if turn.role == "assistant"]
    calls = any(turn.extra.get("tool_calls") or turn.extra.get("function_call") for turn in said)
    longest = max((turn.text.strip() for turn in said), key=len, default="")
    return Measured(name, longest, bounds, may_be_short=calls)


def _refusal(measured: Measured, tokens: int, unit: str) -> Refusal | None:
    name, text, bounds, may_be_short = measured
    lengths = [("characters", len(text), bounds.min_chars, bounds.max_chars)]
    if bounds.min_words or bounds.max_words:
        lengths.append(("words", words(text), bounds.min_words, bounds.max_words))
    lengths.append((unit, tokens, None, bounds.max_tokens))
    for what, length, least, most in lengths:
        if least and length < least and not may_be_short:
            return Refusal("below_minimum", f"the {name} has {length:,} {what}, at least {least:,} are asked")
        if most and length > most:
            return Refusal("above_maximum", f"the {name} has {length:,} {what}, at most {most:,} are asked")
    return None
