"""What makes two rows the same: their words, with case, width and spaces evened out."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

import orjson

from luthier.core.example import Example, Message
from luthier.data.normal_form import normal_form


def evened(text: str) -> str:
    """Return the text in NFKC, case-folded, every run of whitespace one space."""
    if not text.isascii():
        text = normal_form("NFKC", text).casefold()
    return " ".join(text.lower().split())


class Parted(NamedTuple):
    """An example in evened-out lines: a line for the tools and each turn, which says who speaks and what."""

    prompt: list[str]
    """What decides the split: all before the ending; of a text to classify or to learn, the text."""
    endings: tuple[list[str], ...]
    """What is learned: the last turn, of a preference the better and the worse ending."""
    label: bool | str | None

    def key(self) -> bytes:
        """Return 16 bytes that stand for the example; in a billion rows, two meet by chance once in 10^20."""
        return _key(self.prompt, *self.endings, [str(self.label)])

    def opposite(self) -> bytes | None:
        """Return the key of the example that says the contrary: endings swapped, or the other verdict."""
        if len(self.endings) == 2:
            return _key(self.prompt, *reversed(self.endings), [str(self.label)])
        if isinstance(self.label, bool):
            return _key(self.prompt, *self.endings, [str(not self.label)])
        return None


def parted(example: Example) -> Parted:
    """Return the example's prompt, endings and label, evened out."""
    tools = [f"tools\x1f{plain({'tools': [*example.tools]})}"] if example.tools else []
    turns = [_line(message) for message in example.messages]
    if example.rejected:
        shared = example.shared
        worse = [_line(message) for message in example.rejected[shared:]]
        return Parted(tools + turns[:shared], (turns[shared:], worse), example.label)
    if example.messages[-1].role == "assistant":
        return Parted(tools + turns[:-1], (turns[-1:],), example.label)
    return Parted(tools + turns, ([],), example.label)


def prompt_key(prompt: Sequence[str], *, seed: int) -> int:
    """Return a number below 2^64, evenly spread, made of the seed and the prompt."""
    return int.from_bytes(blake2b(_bytes([str(seed), *prompt]), digest_size=8).digest(), "big")


def value_key(value: object, *, seed: int) -> int:
    """Return a number below 2^64, evenly spread, made of the seed and what a cell holds; 0 where it holds nothing."""
    text = value if isinstance(value, str) else "" if value is None else plain({"value": value})
    return prompt_key(["value", text.strip()], seed=seed) if text.strip() else 0


def _key(*groups: Sequence[str]) -> bytes:
    return blake2b(b"\x1d".join(map(_bytes, groups)), digest_size=16).digest()


def _line(message: Message) -> str:
    extra = f"\x1f{plain(message.extra)}" if message.extra else ""
    return f"{message.role}\x1f{evened(message.text)}{extra}"


def _bytes(turns: Sequence[str]) -> bytes:
    return "\x1e".join(turns).encode("utf-8", "surrogatepass")


def plain(value: object) -> str:
    """Return what a cell holds as one text: as JSON, where JSON can say it."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    except orjson.JSONEncodeError:  # half a character, or nested deep
        return repr(value)
